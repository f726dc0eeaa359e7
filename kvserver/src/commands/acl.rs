//! ACL: users, what they may do, and who was refused what.
//!
//! Invariant: a refused ACL SETUSER has changed nothing. Connections that may not go on after a change are ended before
//! they can send another request.

use kvproto::spec::{self, COMMANDS, Category};
use kvproto::{Args, CommandError, OwnedRequest, Reply, Text};
use sha2::{Digest, Sha256};

use crate::acl::{self, Account};
use crate::context::jobs::{Finished, Work};
use crate::context::{Context, Next};
use crate::state::ServerState;
use kvcommands::acl::{DEFAULT, Denial, USER_NAME_BYTES_MAX, User, category, has_spaces, hex};
use kvcommands::gather::{Gathered, gather};
use kvcommands::help;
use kvcommands::outcome::Outcome;

/// The longest password ACL GENPASS invents.
const GENPASS_BITS_MAX: i64 = 4096;
const GENPASS_BITS: i64 = 256;
/// Entries ACL LOG shows unless told otherwise.
const LOG_ENTRIES: i64 = 10;

pub(crate) fn acl(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "cat" => cat(args),
        "deluser" => deluser(args, ctx),
        "digest" => Ok(digest(ctx)),
        "dryrun" => dryrun(args, ctx),
        "genpass" => genpass(args),
        "getuser" => {
            let account = ctx.server.acl.find(args.next()?);
            Ok(account.map_or(Reply::Nil, |account| show_user(&account.user())))
        }
        "list" => of_users(ctx, |lines, account| lines.push(Reply::bulk(acl::file::describe(account)))),
        "load" => through_file(load, ctx),
        "log" => log(args, ctx),
        "save" => through_file(save, ctx),
        "setuser" => setuser(args, ctx),
        "users" => of_users(ctx, |names, account| names.bulk(&account.name)),
        "whoami" => Ok(Reply::bulk(ctx.session.user_name())),
        _ => Ok(help(ctx.spec)),
    }
}

/// Too many words for a subcommand that takes some or none.
fn too_many(args: Args<'_>) -> CommandError {
    let given = args.request().get(1).unwrap_or_default();
    CommandError::quoting_start("ERR unknown subcommand or wrong number of arguments for '", given, "'. Try ACL HELP.")
}

/// A list with one element for each user.
fn of_users(ctx: &Context<'_>, add: fn(&mut Gathered, &Account)) -> Outcome {
    let accounts = ctx.server.acl.all();
    Ok(Reply::Array(gather(|list| {
        accounts.iter().for_each(|account| add(list, account));
        Ok(())
    })?))
}

/// `ACL DIGEST`: of the lines of ACL LIST, sorted, so that the order in which users were made is of no account.
fn digest(ctx: &Context<'_>) -> Reply {
    let mut lines: Vec<Vec<u8>> = ctx.server.acl.all().iter().map(|account| acl::file::describe(account)).collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    for line in lines {
        // No line holds the byte that ends it.
        hash.update(line);
        hash.update([b'\n']);
    }
    Reply::bulk(hex(&hash.finalize()))
}

/// `ACL CAT [category]`
fn cat(mut args: Args<'_>) -> Outcome {
    let Some(name) = args.next_opt() else {
        return Ok(Reply::bulks(Category::ALL.iter().map(|category| category.name())));
    };
    if !args.is_empty() {
        return Err(too_many(args).into());
    }
    let category = category(&name.to_ascii_lowercase())
        .ok_or_else(|| CommandError::quoting_start("ERR Unknown category '", name, "'"))?;
    let rows = COMMANDS.iter().flat_map(|top| std::iter::once(top).chain(top.subcommands));
    Ok(Reply::bulks(rows.filter(|spec| spec.categories().has(category)).map(|spec| spec.name)))
}

/// `ACL SETUSER username [rule ...]`
fn setuser(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let name = args.next()?;
    if has_spaces(name) {
        return Err(CommandError::custom("ERR Usernames can't contain spaces or null characters").into());
    }
    if name.len() > USER_NAME_BYTES_MAX {
        let text = format!("ERR Usernames cannot be longer than {USER_NAME_BYTES_MAX} bytes");
        return Err(CommandError::custom(text).into());
    }
    let rules = std::iter::from_fn(|| args.next_opt());
    let changed = ctx.server.acl.set_user(name, rules).map_err(CommandError::custom)?;
    if let Some(account) = changed {
        ctx.server.expel(vec![account], ctx.session.client.id);
    }
    Ok(Reply::Ok)
}

/// `ACL DELUSER username [username ...]`
fn deluser(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let names = args;
    while let Some(name) = args.next_opt() {
        if name == DEFAULT {
            return Err(CommandError::custom("ERR The 'default' user cannot be removed").into());
        }
    }
    let mut names = names;
    let removed: Vec<_> =
        std::iter::from_fn(|| names.next_opt()).filter_map(|name| ctx.server.acl.remove_user(name)).collect();
    let count = removed.len();
    if count > 0 {
        ctx.server.expel(removed, ctx.session.client.id);
    }
    Ok(Reply::count(count))
}

/// What ACL GETUSER tells.
fn show_user(user: &User) -> Reply {
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

/// `ACL DRYRUN username command [arg ...]`
fn dryrun(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let name = args.next()?;
    let Some(account) = ctx.server.acl.find(name) else {
        return Err(CommandError::quoting_start("ERR User '", name, "' not found").into());
    };
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
    Ok(match account.user().check(spec, request) {
        Ok(()) => Reply::Ok,
        Err(Denial::Command) => refused("run the", spec.name.as_bytes(), "command"),
        Err(Denial::Key(position)) => refused("access the", word(position), "key"),
        Err(Denial::Channel(position)) => refused("access the", word(position), "channel"),
    })
}

/// `ACL GENPASS [bits]`
fn genpass(mut args: Args<'_>) -> Outcome {
    let bits = if args.is_empty() { GENPASS_BITS } else { args.integer()? };
    if !args.is_empty() {
        return Err(too_many(args).into());
    }
    if !(1..=GENPASS_BITS_MAX).contains(&bits) {
        return Err(CommandError::custom(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {GENPASS_BITS_MAX}"
        ))
        .into());
    }
    let digits = usize::try_from(bits).unwrap_or_default().div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut random)
        .map_err(|error| CommandError::custom(format!("ERR the system gives no random numbers: {error}")))?;
    let mut password = hex(&random);
    password.truncate(digits);
    Ok(Reply::bulk(password))
}

/// `ACL LOG [count|RESET]`
fn log(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let log = &ctx.server.acl.log;
    let words = args.remaining();
    if words > 1 {
        return Err(too_many(args).into());
    }
    if args.eat("reset") {
        log.reset();
        return Ok(Reply::Ok);
    }
    let count = if words == 0 { LOG_ENTRIES } else { args.integer()? };
    log.show(usize::try_from(count).unwrap_or(0), ctx.server.db.now_ms())
}

/// ACL LOAD and ACL SAVE: no loop waits for a file.
fn through_file<F: Into<Finished> + 'static>(run: fn(&ServerState) -> F, ctx: &mut Context<'_>) -> Outcome {
    if ctx.server.acl.file.is_none() {
        return Err(CommandError::custom(
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL \
             SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order \
             to store users in the Redis configuration.",
        )
        .into());
    }
    if ctx.txn.is_some() {
        return Err(CommandError::custom("ERR Command not allowed inside a transaction").into());
    }
    ctx.next = Next::Park(Work::files(run));
    Ok(Reply::Nothing)
}

fn load(server: &ServerState) -> Finished {
    match server.acl.load() {
        Ok(users) => Finished { users, ..Finished::from(Reply::Ok) },
        Err(why) => Reply::Error(Text::join(&[b"ERR ", why.as_bytes()])).into(),
    }
}

fn save(server: &ServerState) -> Reply {
    match server.acl.save() {
        Ok(()) => Reply::Ok,
        Err(error) => {
            tracing::error!(%error, "the users could not be saved");
            Reply::error(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
            )
        }
    }
}
