//! Output that is longer than the screen goes through a pager.
//!
//! Invariant: what is shown is shown once, with or without a pager; a pager's end is not the prompt's.

use super::redirect::feed;
use std::env;
use std::path::Path;
use std::process::Command;

/// Whether and how output is paged.
#[derive(Clone, Debug, Default)]
pub struct Pager {
    /// No output is paged.
    pub is_off: bool,
    /// The pager, unless it is the one of the environment.
    pub command: Option<String>,
}

impl Pager {
    /// Shows `text` if it is longer than a screen of so many columns and rows; false if it was not shown.
    pub fn show(&self, text: &[u8], screen: Option<(usize, usize)>) -> bool {
        let Some((columns, rows)) = screen else {
            return false;
        };
        // The next prompt needs a row.
        if self.is_off || rows_of(text, columns) < rows {
            return false;
        }
        let Some(command) = self.command() else {
            return false;
        };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command);
        if env::var_os("LESS").is_none() {
            // Colours as they are, and the text stays on the screen.
            shell.env("LESS", "FRX");
        }
        // 126 and 127: the shell could not run it.
        feed(&mut shell, text).is_ok_and(|status| !matches!(status.code(), Some(126 | 127)))
    }

    /// The pager's command, if there is one.
    pub fn command(&self) -> Option<String> {
        let chosen = self.command.clone().or_else(|| env::var("PAGER").ok());
        match chosen {
            Some(command) => Some(command).filter(|command| !command.trim().is_empty()),
            None => is_installed("less").then(|| "less -R".to_owned()),
        }
    }
}

fn is_installed(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|directory| is_file(&directory.join(program))))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

/// Returns how many rows a text takes on a screen of so many columns.
fn rows_of(text: &[u8], columns: usize) -> usize {
    let columns = columns.max(1);
    let text = String::from_utf8_lossy(text);
    text.lines().map(|line| width(line).div_ceil(columns).max(1)).sum()
}

/// Returns how many columns a line takes. Characters of East Asia and pictures take two, commands of the terminal none.
fn width(line: &str) -> usize {
    let mut width = 0;
    let mut is_command = false;
    for character in line.chars() {
        match character {
            '\x1b' => is_command = true,
            _ if is_command => is_command = !character.is_ascii_alphabetic(),
            '\t' => width = (width / 8 + 1) * 8,
            '\u{1100}'.. => width += 2,
            _ => width += 1,
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_screen() {
        assert_eq!(rows_of(b"", 80), 0);
        assert_eq!(rows_of(b"a\n\nb\n", 80), 3);
        assert_eq!(rows_of("x".repeat(161).as_bytes(), 80), 3);
        assert_eq!(rows_of("世".repeat(41).as_bytes(), 80), 2);
        let red = format!("\x1b[31m{}\x1b[0m", "x".repeat(80));
        assert_eq!(rows_of(red.as_bytes(), 80), 1);
    }

    #[test]
    fn short_output_is_not_paged_nor_any_without_a_screen() {
        let pager = Pager { is_off: false, command: Some("exit 127".to_owned()) };
        assert!(!pager.show(b"a\nb\n", Some((80, 3))));
        assert!(!pager.show(&b"a\n".repeat(100), None));
        // A pager that cannot be run.
        assert!(!pager.show(&b"a\n".repeat(100), Some((80, 3))));
        let pager = Pager { is_off: true, command: Some("true".to_owned()) };
        assert!(!pager.show(&b"a\n".repeat(100), Some((80, 3))));
        let pager = Pager { is_off: false, command: Some("cat >/dev/null".to_owned()) };
        assert!(pager.show(&b"a\n".repeat(100), Some((80, 3))));
    }
}
