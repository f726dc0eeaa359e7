//! ACL: users, what they may do, and who was refused what.
//!
//! Invariant: a refused ACL SETUSER has changed nothing. Connections that may not go on after a change are ended before
//! they can send another request.

use kvproto::{Args, CommandError, Reply, Text};
use sha2::{Digest, Sha256};

use crate::acl::Account;
use crate::context::jobs::{Finished, Work};
use crate::context::{Context, Next};
use crate::state::ServerState;
use kvcommands::acl::{self, DEFAULT, USER_NAME_BYTES_MAX, has_spaces, hex, user_line};
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
        "cat" => acl::cat(args),
        "deluser" => deluser(args, ctx),
        "digest" => Ok(digest(ctx)),
        "dryrun" => {
            let name = args.next()?;
            let account = ctx.server.acl.find(name);
            let account = account.ok_or_else(|| CommandError::quoting_start("ERR User '", name, "' not found"))?;
            acl::dry_run(args, &account.user())
        }
        "genpass" => genpass(args),
        "getuser" => {
            let account = ctx.server.acl.find(args.next()?);
            Ok(account.map_or(Reply::Nil, |account| acl::show_user(&account.user())))
        }
        "list" => of_users(ctx, |lines, account| lines.push(Reply::bulk(user_line(&account.name, &account.user())))),
        "load" => through_file(load, ctx),
        "log" => log(args, ctx),
        "save" => through_file(save, ctx),
        "setuser" => setuser(args, ctx),
        "users" => of_users(ctx, |names, account| names.bulk(&account.name)),
        "whoami" => Ok(Reply::bulk(ctx.session.user_name())),
        _ => Ok(help(ctx.spec)),
    }
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
    let mut lines: Vec<Vec<u8>> =
        ctx.server.acl.all().iter().map(|account| user_line(&account.name, &account.user())).collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    for line in lines {
        // No line holds the byte that ends it.
        hash.update(line);
        hash.update([b'\n']);
    }
    Reply::bulk(hex(&hash.finalize()))
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
        ctx.server.disconnect_users(vec![account], ctx.session.client.id);
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
        ctx.server.disconnect_users(removed, ctx.session.client.id);
    }
    Ok(Reply::count(count))
}

/// `ACL GENPASS [bits]`
fn genpass(mut args: Args<'_>) -> Outcome {
    let bits = if args.is_empty() { GENPASS_BITS } else { args.integer()? };
    if !args.is_empty() {
        return Err(acl::too_many_words(args).into());
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
        return Err(acl::too_many_words(args).into());
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
