//! `kvclient completions` and `kvclient man`: what a packager installs beside the program, made from its own flags.
//!
//! Invariant: nothing is written by hand, so that a flag cannot be missing.

use crate::flags::Flags;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Prints the completions of a shell.
pub fn complete(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Flags::command(), "kvclient", &mut script);
    io::stdout().lock().write_all(&script)
}

/// Writes the manual pages of the program and of its tasks to a directory; for `-` the program's to standard output.
pub fn write(place: &Path) -> io::Result<()> {
    let mut command = Flags::command();
    // Gives the tasks their full names, and the flags that are everybody's.
    command.build();
    if place.as_os_str() == "-" {
        let mut text = Vec::new();
        page(&command).render(&mut text)?;
        return io::stdout().lock().write_all(&text);
    }
    fs::create_dir_all(place)?;
    page(&command).generate_to(place)?;
    for task in command.get_subcommands() {
        page(task).generate_to(place)?;
    }
    Ok(())
}

fn page(command: &Command) -> Man {
    Man::new(command.clone()).source(concat!("kvclient ", env!("CARGO_PKG_VERSION"))).manual("kvclient")
}
