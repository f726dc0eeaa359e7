//! `HELP`, the subcommand that every command with subcommands has.
//!
//! Invariant: it names what the command table has, so it cannot leave anything out.

use kvproto::{Reply, Spec, spec};

/// The subcommands of a command, as `HELP` shows them; `spec` is the command or its `help`.
pub(super) fn help(spec: &'static Spec) -> Reply {
    let top = spec.name.split_once('|').and_then(|(top, _)| spec::lookup(top.as_bytes()));
    let container = top.unwrap_or(spec);
    let name = container.name.to_ascii_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for subcommand in container.subcommands.iter().filter(|sub| sub.own_name() != "help" && !sub.absent) {
        let usage = subcommand.usage();
        lines.push(usage.strip_prefix(&name).unwrap_or(&usage).trim().to_owned());
        lines.push(format!("    {}", subcommand.summary));
    }
    lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
    Reply::Array(lines.into_iter().map(Reply::simple).collect())
}
