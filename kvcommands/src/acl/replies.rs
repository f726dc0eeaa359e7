//! What ACL's subcommands reply that depends on the table of commands, or on one user.
//!
//! Invariant: nothing here changes a user.

use kvproto::spec::{self, COMMANDS, Category};
use kvproto::{Args, CommandError, OwnedRequest, Reply};

use super::{Denial, User, category};
use crate::outcome::Outcome;

/// Returns the error of too many words for a subcommand that takes some or none.
#[must_use]
pub fn too_many_words(args: Args<'_>) -> CommandError {
    let given = args.request().get(1).unwrap_or_default();
    CommandError::quoting_start("ERR unknown subcommand or wrong number of arguments for '", given, "'. Try ACL HELP.")
}

/// `ACL CAT [category]`
///
/// # Errors
///
/// If there is no such category.
pub fn cat(mut args: Args<'_>) -> Outcome {
    let Some(name) = args.next_opt() else {
        return Ok(Reply::bulks(Category::ALL.iter().map(|category| category.name())));
    };
    if !args.is_empty() {
        return Err(too_many_words(args).into());
    }
    let category = category(&name.to_ascii_lowercase())
        .ok_or_else(|| CommandError::quoting_start("ERR Unknown category '", name, "'"))?;
    let rows = COMMANDS.iter().flat_map(|top| std::iter::once(top).chain(top.subcommands));
    Ok(Reply::bulks(rows.filter(|spec| spec.categories().has(category)).map(|spec| spec.name)))
}

/// Returns a user as ACL GETUSER shows it.
#[must_use]
pub fn show_user(user: &User) -> Reply {
    let map = |fields: Vec<(&'static str, Reply)>| {
        Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    };
    let mut selectors = user.selectors().map(|selector| {
        vec![
            ("commands", Reply::bulk(selector.command_rules())),
            ("keys", Reply::bulk(selector.key_rules())),
            ("channels", Reply::bulk(selector.channel_rules())),
        ]
    });
    let mut fields = vec![
        ("flags", Reply::Set(user.flags().into_iter().map(Reply::bulk).collect())),
        ("passwords", Reply::bulks(user.passwords().map(String::into_bytes))),
    ];
    fields.extend(selectors.next().unwrap_or_default());
    fields.push(("selectors", Reply::Array(selectors.map(map).collect())));
    map(fields)
}

/// `ACL DRYRUN username command [arg ...]`, from the command on: whether `user` may run it.
///
/// # Errors
///
/// If there is no such command, or it has the wrong number of words.
pub fn dry_run(mut args: Args<'_>, user: &User) -> Outcome {
    let asked = OwnedRequest::from_words(std::iter::from_fn(|| args.next_opt()));
    let request = asked.as_request();
    let unknown = || CommandError::quoting_start("ERR Command '", request.name(), "' not found");
    let top = spec::lookup(request.name()).ok_or_else(unknown)?;
    let spec = match request.get(1) {
        Some(word) if !top.subcommands.is_empty() => top.subcommand(word).ok_or_else(unknown)?,
        _ => top,
    };
    if !spec.arity_ok(request.len()) {
        return Err(CommandError::wrong_arity(spec.name).into());
    }
    let refused = |before: &str, word: &[u8], after: &str| {
        // A text of Redis ends at a NUL.
        let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
        Reply::bulk(
            [b"This user has no permissions to ", before.as_bytes(), b" '", word, b"' ", after.as_bytes()].concat(),
        )
    };
    let word = |position| request.get(position).unwrap_or_default();
    Ok(match user.check(spec, request) {
        Ok(()) => Reply::Ok,
        Err(Denial::Command) => refused("run the", spec.name.as_bytes(), "command"),
        Err(Denial::Key(position)) => refused("access the", word(position), "key"),
        Err(Denial::Channel(position)) => refused("access the", word(position), "channel"),
    })
}
