//! What a person sees of a program on a terminal of a given size: letters, their colours, and where the cursor stands.
//!
//! Invariant: a screen shows what the program has written, as a terminal of that size shows it; every wait is bounded.

use std::path::Path;
use std::process::Command;

use crate::program::Program;
use crate::wait;

/// A program on a terminal that is looked at.
#[derive(Debug)]
pub struct Screen {
    program: Program,
    rows: u16,
    columns: u16,
}

/// The colours of ANSI that programs mean something by.
pub mod color {
    pub use vt100::Color;

    /// What is refused.
    pub const RED: Color = Color::Idx(1);
    /// Keys.
    pub const BLUE: Color = Color::Idx(4);
    /// Options.
    pub const MAGENTA: Color = Color::Idx(5);
    /// Commands.
    pub const CYAN: Color = Color::Idx(6);
    /// What is only suggested.
    pub const GREY: Color = Color::Idx(8);
    /// The terminal's own.
    pub const PLAIN: Color = Color::Default;
}

impl Screen {
    /// Starts `client` on a terminal of that size; `words` is the rest of its command line, as in a shell, and `variables` are
    /// set before, as in a shell too: `NO_COLOR=1`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(client: &str, words: &str, history: &Path, (columns, rows): (u16, u16), variables: &str) -> Screen {
        let mut command = Command::new("script");
        let line = format!("stty cols {columns} rows {rows}; unset NO_COLOR; exec env {variables} \"$CLIENT\" {words}");
        command
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .envs([("CLIENT", client), ("TERM", "xterm"), ("SHELL", "/bin/sh"), ("LANG", "C.UTF-8")])
            .env("KVCLIENT_HISTORY", history)
            // Not the file of whoever runs the tests.
            .env("KVCLIENT_CONFIG", "");
        Screen { program: Program::start(&mut command), rows, columns }
    }

    /// Presses keys.
    ///
    /// # Panics
    ///
    /// When the program reads no more.
    pub fn press(&mut self, keys: &str) {
        self.program.say(keys);
    }

    /// The terminal as it is now.
    fn now(&self) -> vt100::Parser {
        let mut terminal = vt100::Parser::new(self.rows, self.columns, 0);
        terminal.process(&self.program.bytes());
        terminal
    }

    /// The rows that are not empty, without the blanks at their ends.
    pub fn rows(&self) -> Vec<String> {
        let terminal = self.now();
        let rows = terminal.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }

    /// How often the program has rung the bell: it does when there is nothing to complete, or more than one way.
    pub fn bells(&self) -> usize {
        self.program.bytes().iter().filter(|byte| **byte == 0x07).count()
    }

    /// Whether the last row that is not empty is `before` and then `expected`; see [`Screen::shows`].
    pub fn is(&self, before: &str, expected: &str) -> bool {
        let wanted = format!("{before}{expected}");
        self.rows().last().is_some_and(|row| match wanted.strip_suffix("...") {
            Some(start) => row.starts_with(start) && row.ends_with("..."),
            None => *row == wanted.trim_end(),
        })
    }

    /// Waits until the last row that is not empty is `expected`, behind the prompt `before`. Where `expected` ends with dots, the
    /// row may hold more before its own.
    ///
    /// # Panics
    ///
    /// When the bound passes; the message shows the screen.
    #[track_caller]
    pub fn shows(&self, before: &str, expected: &str) {
        self.until(&format!("{before}{expected}"), |_| self.is(before, expected));
    }

    /// Waits until the rows are as `is` wants them.
    ///
    /// # Panics
    ///
    /// When the bound passes; the message shows the screen.
    #[track_caller]
    pub fn until(&self, what: &str, is: impl Fn(&[String]) -> bool) {
        let begun = std::time::Instant::now();
        wait::until_true(what, || {
            let rows = self.rows();
            let found = is(&rows);
            let is_late = begun.elapsed() + std::time::Duration::from_secs(5) > wait::PATIENCE;
            assert!(found || !is_late, "not seen: {what}\n{}", rows.join("\n"));
            found
        });
    }

    /// The colour of the first letter of `text` in the last row that holds it.
    ///
    /// # Panics
    ///
    /// When no row holds it.
    #[track_caller]
    pub fn color_of(&self, text: &str) -> color::Color {
        let terminal = self.now();
        let screen = terminal.screen();
        let rows: Vec<String> = screen.rows(0, self.columns).collect();
        let found = rows.iter().enumerate().rev().find_map(|(row, line)| Some((row, line.rfind(text)?)));
        let (row, at) = found.unwrap_or_else(|| panic!("{text:?} is not on the screen:\n{}", rows.join("\n")));
        let column = rows[row][..at].chars().count();
        let cell = screen.cell(u16::try_from(row).expect("a row"), u16::try_from(column).expect("a column"));
        cell.expect("a cell of the screen").fgcolor()
    }

    /// Which row the cursor is in.
    pub fn cursor_row(&self) -> u16 {
        self.now().screen().cursor_position().0
    }
}
