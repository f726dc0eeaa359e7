//! Commands whose reply depends on their words alone: about replicas, modules and scripts, of which there are none; ECHO and
//! LOLWUT.
//!
//! Invariant: nothing here touches a key, and nothing waits.

use kvproto::{Args, CommandError, Reply, Spec};

use crate::help::help;
use crate::outcome::Outcome;

/// The Redis whose behaviour we promise: clients decide by it what they may send.
pub const REDIS_VERSION: &str = "7.2.4";

/// `ECHO message`
pub(crate) fn echo(mut args: Args<'_>, _: &'static Spec) -> Outcome {
    Ok(Reply::bulk(args.next()?))
}

/// `ROLE`: a master at offset 0 with no replicas.
pub(crate) fn role(_: Args<'_>, _: &'static Spec) -> Outcome {
    Ok(Reply::Array(vec![Reply::bulk("master"), Reply::Integer(0), Reply::Array(Vec::new())]))
}

/// `MODULE LIST|HELP`
pub(crate) fn module(_: Args<'_>, row: &'static Spec) -> Outcome {
    Ok(match row.own_name() {
        "list" => Reply::Array(Vec::new()),
        _ => help(row),
    })
}

/// `FUNCTION FLUSH|KILL|LIST|STATS|HELP`
pub(crate) fn function(mut args: Args<'_>, row: &'static Spec) -> Outcome {
    args.next()?;
    match row.own_name() {
        "flush" => {
            if !args.is_empty() && !args.eat("sync") && !args.eat("async") || !args.is_empty() {
                let text = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
                return Err(CommandError::custom(text).into());
            }
            Ok(Reply::Ok)
        }
        "kill" => Err(CommandError::custom("NOTBUSY No scripts in execution right now.").into()),
        "list" => {
            while let Some(word) = args.next_opt() {
                if word.eq_ignore_ascii_case(b"withcode") {
                    continue;
                }
                if !word.eq_ignore_ascii_case(b"libraryname") {
                    return Err(CommandError::quoting("ERR Unknown argument ", word, "").into());
                }
                if args.next_opt().is_none() {
                    return Err(CommandError::custom("ERR library name argument was not given").into());
                }
            }
            Ok(Reply::Array(Vec::new()))
        }
        "stats" => Ok(Reply::Map(vec![
            (Reply::bulk("running_script"), Reply::Nil),
            (Reply::bulk("engines"), Reply::Map(Vec::new())),
        ])),
        _ => Ok(help(row)),
    }
}

/// `SCRIPT EXISTS|FLUSH|KILL|HELP`
pub(crate) fn script(mut args: Args<'_>, row: &'static Spec) -> Outcome {
    args.next()?;
    match row.own_name() {
        "exists" => Ok(Reply::Array(std::iter::from_fn(|| args.next_opt()).map(|_| Reply::Integer(0)).collect())),
        "flush" => {
            if !args.is_empty() && !args.eat("sync") && !args.eat("async") || !args.is_empty() {
                return Err(CommandError::custom("ERR SCRIPT FLUSH only support SYNC|ASYNC option").into());
            }
            Ok(Reply::Ok)
        }
        "kill" => Err(CommandError::custom("NOTBUSY No scripts in execution right now.").into()),
        _ => Ok(help(row)),
    }
}

/// `LOLWUT [VERSION n] [...]`: a picture and the version. The picture is a rule 30 automaton, the same every time.
pub(crate) fn lolwut(mut args: Args<'_>, _: &'static Spec) -> Outcome {
    // One picture is all there is, whichever version's is asked for.
    if args.remaining() > 1 && args.eat("version") {
        args.integer()?;
    }
    const WIDTH: u32 = 63;
    let mut cells: u64 = 1 << (WIDTH / 2);
    let mut text = String::new();
    for _ in 0..16 {
        let line: String = (0..WIDTH).map(|at| if cells >> at & 1 == 1 { '#' } else { ' ' }).collect();
        text.push_str(line.trim_end());
        text.push('\n');
        cells = ((cells << 1) ^ (cells | cells >> 1)) & ((1 << WIDTH) - 1);
    }
    text.push_str(&format!("\nRedis ver. {REDIS_VERSION}\n"));
    Ok(Reply::text(text))
}

#[cfg(test)]
mod tests {
    use kvproto::spec::lookup;

    #[test]
    fn what_is_answered_here_needs_no_keys() {
        for name in ["role", "module", "function", "script", "lolwut"] {
            let spec = lookup(name.as_bytes()).unwrap();
            assert!(spec.key_specs.is_empty() && spec.subcommands.iter().all(|sub| sub.key_specs.is_empty()), "{name}");
        }
    }
}
