//! CONFIG: the parameters of the server under Redis' names.
//!
//! Invariant: CONFIG SET changes all that it names or nothing.

use kvproto::{Args, CommandError, Reply};

use crate::config::parameters::{self, Change, Parameter};
use crate::config::rewrite;
use crate::context::jobs::Work;
use crate::context::{Context, Next};
use crate::state::ServerState;
use kvcommands::glob;
use kvcommands::help;
use kvcommands::outcome::Outcome;

/// `CONFIG GET|SET|RESETSTAT|REWRITE|HELP`
pub(crate) fn config(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "get" => get(args, ctx.server),
        "set" => {
            let reply = set(args, ctx.server)?;
            if names_durability(args) {
                // So that `always` is answered when all that was answered before is durable, too.
                ctx.lsn = ctx.server.newest();
            }
            Ok(reply)
        }
        "resetstat" => {
            ctx.server.reset_statistics(ctx.session.address.loop_index, ctx.txn.is_some());
            Ok(Reply::Ok)
        }
        "rewrite" => rewrite(ctx),
        _ => Ok(help(ctx.spec)),
    }
}

/// Whether `appendfsync` is among what is set.
fn names_durability(args: Args<'_>) -> bool {
    args.request().iter().skip(2).step_by(2).any(|name| name.eq_ignore_ascii_case(b"appendfsync"))
}

/// The file is written elsewhere: no loop waits for a disk.
fn rewrite(ctx: &mut Context<'_>) -> Outcome {
    if ctx.server.config.config_file.is_none() {
        return Err(CommandError::custom("ERR The server is running without a config file").into());
    }
    if ctx.txn.is_some() {
        return Err(CommandError::custom("ERR Command not allowed inside a transaction").into());
    }
    ctx.next = Next::Park(Work::files(|server| match rewrite::rewrite(server) {
        Ok(()) => Reply::Ok,
        Err(why) => Reply::error(format!("ERR {why}")),
    }));
    Ok(Reply::Nothing)
}

/// Every parameter that one of the words names, once under each name. A word without a wildcard names one parameter in any
/// case, and is shown as it was typed; a pattern names all that it matches but the hidden ones.
/// The most patterns and names that CONFIG GET takes: each pattern is compared with every name.
const GET_WORDS_MAX: usize = 1000;

fn get(mut args: Args<'_>, server: &ServerState) -> Outcome {
    if args.remaining() > GET_WORDS_MAX {
        return Err(
            CommandError::custom(format!("ERR at most {GET_WORDS_MAX} parameters or patterns at a time")).into()
        );
    }
    let mut found: Vec<(&[u8], &Parameter)> = Vec::new();
    let mut add = |name, row| {
        if !found.iter().any(|(other, _): &(&[u8], _)| other.eq_ignore_ascii_case(name)) {
            found.push((name, row));
        }
    };
    while let Some(word) = args.next_opt() {
        if !word.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            if let Some(row) = parameters::lookup(word) {
                add(word, row);
            }
            continue;
        }
        for row in parameters::all().filter(|row| !row.hidden) {
            for name in row.names().filter(|name| glob::matches_ignoring_case(word, name.as_bytes())) {
                add(name.as_bytes(), row);
            }
        }
    }
    let shown = found.into_iter().map(|(name, row)| (Reply::bulk(name), Reply::bulk(row.value(server))));
    Ok(Reply::Map(shown.collect()))
}

/// The longest value of a parameter that a client may set, in bytes. It is kept, and shown to others.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Pairs of a name and a value. All are checked before the first is changed; should one fail then, those before it get
/// their old values back.
fn set(mut args: Args<'_>, server: &ServerState) -> Outcome {
    let words: Vec<&[u8]> = std::iter::from_fn(|| args.next_opt()).collect();
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::Syntax.into());
    }
    let mut changes: Vec<(&Parameter, &[u8])> = Vec::new();
    for pair in words.chunks_exact(2) {
        let Some(row) = parameters::lookup(pair[0]) else {
            let before = "ERR Unknown option or number of arguments for CONFIG SET - '";
            return Err(CommandError::quoting(before, pair[0], "'").into());
        };
        match row.change {
            Change::Immutable => return failed(pair[0], "can't set immutable config"),
            Change::Protected => return failed(pair[0], "can't set protected config"),
            _ if changes.iter().any(|(other, _)| other.name == row.name) => {
                return failed(pair[0], "duplicate parameter");
            }
            _ if pair[1].len() > VALUE_BYTES_MAX => {
                return failed(pair[0], &format!("argument must have at most {VALUE_BYTES_MAX} bytes"));
            }
            _ => changes.push((row, pair[1])),
        }
    }
    let mut values = Vec::new();
    for (row, value) in &changes {
        let text = std::str::from_utf8(value).map_err(|_| "argument must be text in UTF-8".to_owned());
        match text.and_then(|text| row.kind.normalize(text)) {
            Ok(value) => values.push(value),
            Err(why) => return failed(row.name.as_bytes(), &why),
        }
    }
    let mut before: Vec<(&Parameter, String)> = Vec::new();
    for ((row, _), value) in changes.into_iter().zip(values) {
        let old = row.value(server);
        if let Err(why) = row.assign(server, &value) {
            for (row, old) in before.iter().rev() {
                if let Err(error) = row.assign(server, old) {
                    tracing::error!(parameter = row.name, error, "a setting could not be taken back");
                }
            }
            return failed(row.name.as_bytes(), &why);
        }
        before.push((row, old));
    }
    for (row, old) in before {
        let (old, new) = if row.sensitive { (String::new(), String::new()) } else { (old, row.value(server)) };
        tracing::info!(parameter = row.name, old, new, "a client changed a setting");
    }
    Ok(Reply::Ok)
}

fn failed(name: &[u8], why: &str) -> Outcome {
    let before = "ERR CONFIG SET failed (possibly related to argument '";
    Err(CommandError::quoting(before, name, &format!("') - {why}")).into())
}

#[cfg(test)]
mod tests {
    use kvproto::{OwnedRequest, Reply};

    use super::VALUE_BYTES_MAX;
    use crate::server::Server;

    /// Replies of a server that listens nowhere.
    fn converse(lines: &[(&[&str], &str)]) {
        let server = Server::builder().store(kvcore::Db::in_memory()).loops(1).start().unwrap();
        for (words, expected) in lines {
            let request = OwnedRequest::from_words([&["config"], *words].concat());
            let mut args = kvproto::Args::new(request.as_request());
            args.next().unwrap();
            let reply = match words[0] {
                "get" => super::get(args, server.state()).unwrap(),
                _ => super::set(args, server.state()).unwrap_or_else(Reply::from),
            };
            let shown = match reply {
                Reply::Map(pairs) => {
                    pairs.iter().map(|(name, value)| format!("{}={} ", text(name), text(value))).collect()
                }
                Reply::Ok => "OK".to_owned(),
                Reply::Error(text) => text.to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(shown.trim_end(), *expected, "{words:?}");
        }
    }

    fn text(reply: &Reply) -> String {
        match reply {
            Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn several_settings_change_together_or_not_at_all() {
        converse(&[
            (&["set", "maxmemory", "100mb", "timeout", "7"], "OK"),
            (
                &["set", "timeout", "8", "replica-announce-ip", &"x".repeat(VALUE_BYTES_MAX + 1)],
                "ERR CONFIG SET failed (possibly related to argument 'replica-announce-ip') - argument must have at most \
                 65536 bytes",
            ),
            (&["get", "MAXMEMORY", "timeout", "maxmemory"], "MAXMEMORY=104857600 timeout=7"),
            (
                &["set", "maxmemory", "1", "maxmemory-clients", "200%", "client-query-buffer-limit", "x"],
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must \
                 be less or equal to 100",
            ),
            (
                &["set", "maxmemory", "1", "port", "1", "timeout", "1"],
                "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. \
                 Listeners are named by --listen when the server starts.",
            ),
            (
                &["set", "maxmemory", "1", "MaxMemory", "2"],
                "ERR CONFIG SET failed (possibly related to argument 'MaxMemory') - duplicate parameter",
            ),
            (
                &["set", "maxmemory", "1", "daemonize", "yes"],
                "ERR CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config",
            ),
            (
                &["set", "maxmemory", "1", "dir", "/"],
                "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config",
            ),
            (
                &["set", "maxmemory", "1", "nonsense", "1", "dir", "/"],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'",
            ),
            (&["set", "maxmemory", "1", "timeout"], "ERR syntax error"),
            (&["get", "maxmemory", "timeout"], "maxmemory=104857600 timeout=7"),
        ]);
    }

    #[test]
    fn save_points_and_output_limits_are_lists() {
        converse(&[
            (&["set", "save", "900 1 300 100"], "OK"),
            (&["get", "save"], "save=900 1 300 100"),
            (
                &["set", "save", "900"],
                "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters",
            ),
            (
                &["set", "save", "0 1"],
                "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters",
            ),
            (&["set", "save", ""], "OK"),
            (&["get", "save"], "save="),
            (&["set", "client-output-buffer-limit", "normal 1mb 512kb 10 replica 1 2 3"], "OK"),
            (
                &["get", "client-output-buffer-limit"],
                "client-output-buffer-limit=normal 1048576 524288 10 slave 1 2 3 pubsub 33554432 8388608 60",
            ),
            (
                &["set", "client-output-buffer-limit", "wrong 10 10 10"],
                "ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Invalid client \
                 class specified in buffer limit configuration.",
            ),
        ]);
    }

    #[test]
    fn hidden_parameters_are_shown_to_who_knows_them_and_aliases_to_all() {
        converse(&[
            (&["get", "Key-load-delay"], "Key-load-delay=0"),
            (&["get", "key-load-*"], ""),
            (&["get", "*of"], "replicaof= slaveof="),
            (&["set", "lua-time-limit", "10"], "OK"),
            (&["get", "busy-reply-threshold", "lua-time*"], "busy-reply-threshold=10 lua-time-limit=10"),
        ]);
    }
}
