//! What concerns the connection itself: PING, ECHO, QUIT, RESET, HELLO, AUTH, SELECT.
//!
//! Invariant: a command that answers with an error has changed nothing of the session. Inside EXEC, SELECT only
//! reaches databases that were opened before anything was locked.

use std::sync::atomic::Ordering::Relaxed;

use kvproto::resp::Version;
use kvproto::spec::Trait;
use kvproto::{Args, CommandError, Reply, Request, Spec, parse_integer};

use crate::context::{Context, Next};
use crate::databases::DATABASES;
use crate::session::Attempt;
use crate::state::server_config::LABEL_BYTES_MAX;
use kvcommands::REDIS_VERSION;
use kvcommands::acl::DEFAULT;
use kvcommands::outcome::Outcome;

pub(crate) fn ping(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let message = args.next_opt();
    if !args.is_empty() {
        return Err(CommandError::wrong_arity("ping").into());
    }
    if ctx.session.is_subscribed() && ctx.session.version == Version::Resp2 {
        return Ok(Reply::Array(vec![Reply::bulk("pong"), Reply::bulk(message.unwrap_or_default())]));
    }
    Ok(message.map_or(Reply::simple("PONG"), Reply::bulk))
}

/// Returns the database that a well-formed SELECT names; none of any other command.
pub(super) fn selected(spec: &Spec, request: Request<'_>) -> Option<usize> {
    let index = request.get(1).filter(|_| spec.traits.has(Trait::Selects)).and_then(parse_integer)?;
    usize::try_from(index).ok().filter(|index| *index < DATABASES)
}

pub(crate) fn quit(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    ctx.session.depart(ctx.server);
    ctx.deliver_posted();
    ctx.next = Next::Close;
    Ok(Reply::Ok)
}

pub(crate) fn select(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if i32::try_from(args.integer()?).is_err() {
        let (min, max) = (i32::MIN, i32::MAX);
        return Err(
            CommandError::custom(format!("ERR value is out of range, value must between {min} and {max}")).into()
        );
    }
    let index = selected(ctx.spec, args.request()).ok_or(CommandError::DbIndexOutOfRange)?;
    let keyspace = match &mut ctx.txn {
        Some(txn) => {
            // EXEC has opened it before it locked anything.
            let keyspace = ctx
                .server
                .databases
                .opened(index)
                .ok_or_else(|| kvcore::Error::KeyspaceNotNamed { name: index.to_string() })?;
            txn.select(keyspace.hooks().id())?;
            keyspace
        }
        None => ctx.server.databases.open(index)?,
    };
    ctx.session.database = index;
    ctx.session.keyspace = keyspace;
    ctx.session.client.shown.database.store(index, Relaxed);
    debug_assert!(index < DATABASES);
    Ok(Reply::Ok)
}

pub(crate) fn auth(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let user = match args.remaining() {
        1 if ctx.server.acl.default_takes_any_password() => {
            return Err(CommandError::custom(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            )
            .into());
        }
        1 => DEFAULT,
        2 => args.next()?,
        _ => return Err(CommandError::Syntax.into()),
    };
    authenticate(user, args.next()?, args.request(), ctx)?;
    Ok(Reply::Ok)
}

fn authenticate(user: &[u8], password: &[u8], request: Request<'_>, ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let attempt = Attempt { command: request.name(), in_multi: ctx.txn.is_some() };
    ctx.session.authenticate(user, password, attempt, ctx.server)?;
    if !ctx.session.may_keep_what_it_is_sent(ctx.server) {
        super::pubsub::leave_all(ctx);
        ctx.session.stop_monitoring(ctx.server);
        ctx.session.stop_tracking(ctx.server);
        ctx.deliver_posted();
    }
    Ok(())
}

pub(crate) fn hello(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let version = match args.next_opt().map(parse_integer) {
        None => None,
        Some(None) => {
            return Err(CommandError::custom("ERR Protocol version is not an integer or out of range").into());
        }
        Some(Some(2)) => Some(Version::Resp2),
        Some(Some(3)) => Some(Version::Resp3),
        Some(Some(_)) => return Err(CommandError::custom("NOPROTO unsupported protocol version").into()),
    };
    let (mut login, mut name) = (None, None);
    while let Some(option) = args.next_opt() {
        if option.eq_ignore_ascii_case(b"auth") && args.remaining() >= 2 {
            login = Some((args.next()?, args.next()?));
        } else if option.eq_ignore_ascii_case(b"setname") && !args.is_empty() {
            name = Some(label("Client names", args.next()?)?);
        } else {
            return Err(CommandError::quoting("ERR Syntax error in HELLO option '", option, "'").into());
        }
    }
    if let Some((user, password)) = login {
        authenticate(user, password, args.request(), ctx)?;
    }
    if !ctx.session.access.is_authenticated(&ctx.server.acl) {
        return Err(CommandError::custom(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        )
        .into());
    }
    if let Some(name) = name {
        ctx.session.client.label(|labels| labels.name = name);
    }
    if let Some(version) = version {
        ctx.session.version = version;
        ctx.session.client.shown.resp3.store(version == Version::Resp3, Relaxed);
    }
    let protocol = if ctx.session.version == Version::Resp3 { 3 } else { 2 };
    let mut fields = vec![
        ("server", Reply::bulk("redis")),
        ("version", Reply::bulk(REDIS_VERSION)),
        ("proto", Reply::Integer(protocol)),
        ("id", Reply::count(ctx.session.client.id)),
        ("mode", Reply::bulk("standalone")),
        ("role", Reply::bulk("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    // Of Valkey 8.1, and as there only where one was set.
    let zone = ctx.server.runtime.availability_zone();
    if !zone.is_empty() {
        fields.push(("availability_zone", Reply::bulk(zone)));
    }
    Ok(Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect()))
}

/// Reads a name that a client gives itself: printable, without blanks, so that CLIENT LIST can be split at blanks, and of at
/// most [`LABEL_BYTES_MAX`] bytes. `what` begins the text of the error.
pub(super) fn label(what: &str, word: &[u8]) -> Result<Box<str>, CommandError> {
    let refuse = |why: &str| Err(CommandError::quoting_start("ERR ", what.as_bytes(), why));
    if word.len() > LABEL_BYTES_MAX {
        return refuse(&format!(" cannot be longer than {LABEL_BYTES_MAX} bytes"));
    }
    match std::str::from_utf8(word) {
        Ok(text) if word.iter().all(u8::is_ascii_graphic) => Ok(text.into()),
        _ => refuse(" cannot contain spaces, newlines or special characters."),
    }
}

pub(crate) fn reset(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    ctx.session.reset(ctx.server);
    ctx.deliver_posted();
    Ok(Reply::simple("RESET"))
}
