//! `HELP`: the command, and the subcommand that every command with subcommands has.
//!
//! Invariant: it names what the command table has, so it cannot leave anything out.

use kvproto::{Args, CommandError, Reply, Spec, spec};

use crate::outcome::Outcome;

/// `HELP [command [subcommand]]`: the names of the commands, or how one is typed and what it does, on one line.
pub(crate) fn commands(mut args: Args<'_>, _: &'static Spec) -> Outcome {
    let Some(name) = args.next_opt() else {
        let names = spec::COMMANDS.iter().filter(|spec| !spec.unsupported).map(|spec| spec.name.to_ascii_uppercase());
        return Ok(Reply::bulks(names));
    };
    let unknown = |what: &str, word: &[u8]| {
        CommandError::quoting_start(&format!("ERR unknown {what} '"), word, "'; HELP lists the commands")
    };
    let mut found = spec::lookup(name).ok_or_else(|| unknown("command", name))?;
    if let Some(own_name) = args.next_opt() {
        found = found.subcommand(own_name).ok_or_else(|| unknown("subcommand", own_name))?;
    }
    if !args.is_empty() {
        return Err(CommandError::wrong_arity("help").into());
    }
    if found.unsupported {
        return Err(CommandError::unsupported(found.name).into());
    }
    Ok(Reply::bulk(format!("{}: {}", found.usage(), found.summary)))
}

/// Returns the subcommands of a command, as `HELP` shows them; `spec` is the command or its `help`.
#[must_use]
pub fn help(spec: &'static Spec) -> Reply {
    let top = spec.name.split_once('|').and_then(|(top, _)| spec::lookup(top.as_bytes()));
    let container = top.unwrap_or(spec);
    let name = container.name.to_ascii_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for subcommand in container.subcommands.iter().filter(|sub| sub.own_name() != "help" && !sub.unsupported) {
        let usage = subcommand.usage();
        lines.push(usage.strip_prefix(&name).unwrap_or(&usage).trim().to_owned());
        lines.push(format!("    {}", subcommand.summary));
    }
    lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
    Reply::Array(lines.into_iter().map(Reply::simple).collect())
}
