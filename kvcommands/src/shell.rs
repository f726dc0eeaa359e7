//! Conversations with the store commands, without a server: a command line goes in, the reply comes out as text.
//!
//! Invariant: time stands still unless a test moves it, so every answer about a deadline is exact.

use std::sync::Arc;

use kvcore::hooks::{Txn, Walk};
use kvcore::{Db, ManualClock, Options};
use kvproto::{Args, CommandError, OwnedRequest, Reply, Request, Spec};

use crate::command_fn::{CommandFn, command_fn};
use crate::config::CommandConfig;
use crate::outcome::{Failure, Outcome};

/// What the clock shows when a test begins: milliseconds since the Unix epoch.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// A store in memory that obeys command lines.
pub(crate) struct Shell {
    db: Db,
    clock: Arc<ManualClock>,
}

impl Shell {
    pub(crate) fn new() -> Shell {
        Shell::with_options(Options::new())
    }

    pub(crate) fn with_options(options: Options) -> Shell {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let db = options.clock(clock.clone()).in_memory().unwrap();
        Shell { db, clock }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.clock.advance(ms);
    }

    /// Holds a conversation: each line is a command, an arrow and the reply expected.
    #[track_caller]
    pub(crate) fn converse(&self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, expected) = line.split_once("->").unwrap();
            assert_eq!(self.run(command), expected.trim(), "{}", command.trim());
        }
    }

    /// Expects each command to answer with the error beside it and to change nothing about the key `k`.
    #[track_caller]
    pub(crate) fn refuses(&self, refusals: &[(&str, &str)]) {
        for (command, error) in refusals {
            let before = (self.run("GET k"), self.run("PEXPIRETIME k"), self.run("DBSIZE"));
            assert_eq!(&self.run(command), error, "{command}");
            let after = (self.run("GET k"), self.run("PEXPIRETIME k"), self.run("DBSIZE"));
            assert_eq!(before, after, "{command}");
        }
    }

    /// Carries out a command whose words are separated by blanks; `''` is the empty word. The reply is shown as in
    /// `OK`, `"value"`, `nil`, `7`, `[1, "a"]`, `ERR syntax error`.
    pub(crate) fn run(&self, line: &str) -> String {
        show(&self.reply(line.split_whitespace().map(|word| if word == "''" { "" } else { word })))
    }

    pub(crate) fn reply(&self, words: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Reply {
        let request = OwnedRequest::from_words(words);
        self.carry_out(request.as_request()).unwrap_or_else(Reply::from)
    }

    fn carry_out(&self, request: Request<'_>) -> Outcome {
        let spec = kvproto::spec::lookup(request.name()).unwrap();
        if !spec.arity_ok(request.len()) {
            return Err(CommandError::wrong_arity(spec.name).into());
        }
        let args = Args::new(request);
        match command_fn(spec.name).unwrap() {
            CommandFn::Read(command, _) => self.change(spec, request, |txn| command(args, txn)),
            CommandFn::Write(command) => self.change(spec, request, |txn| command(args, txn)),
            CommandFn::Costly(command, _) => {
                self.change(spec, request, |txn| command(args, txn, &CommandConfig::default()))
            }
            CommandFn::Scan(command) => command(args, &*self.db as &dyn Walk),
        }
    }

    fn change(&self, spec: &Spec, request: Request<'_>, command: impl Fn(&mut dyn Txn) -> Outcome) -> Outcome {
        let keys: Vec<&[u8]> = spec.keys(request).map(|(_, key)| key).collect();
        let mut outcome = Ok(Reply::Nothing);
        let committed = self.db.hooks().commit(&keys, &mut |txn| {
            outcome = command(txn);
            match &outcome {
                // What a refused command has changed must show, as it would inside EXEC.
                Ok(_) | Err(Failure::Command(_)) => Ok(()),
                Err(Failure::Store(_)) => Err(kvcore::Error::aborted("the command failed")),
            }
        });
        assert_eq!(committed.is_err(), matches!(outcome, Err(Failure::Store(_))));
        outcome
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Simple(text) | Reply::Error(text) => text.to_string(),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Reply::Decimal(digits) => digits.clone(),
        Reply::Nil => "nil".to_owned(),
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(", "))
        }
        other => format!("{other:?}"),
    }
}
