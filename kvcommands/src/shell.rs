//! Conversations with the store commands, without a server: a command line goes in, the reply comes out as text.
//!
//! Invariant: time stands still unless a test moves it, so every answer about a deadline is exact.

use std::cell::Cell;
use std::sync::Arc;

use kvcore::hooks::{Txn, Walk};
use kvcore::{Db, Keyspace, LockSet, ManualClock, Options};
use kvproto::{Args, CommandError, OwnedRequest, Reply, Request, Spec};

use crate::command_fn::{AcrossFn, CommandFn, command_fn};
use crate::config::CommandConfig;
use crate::databases::{DATABASES, Databases, Needs};
use crate::outcome::{Failure, Outcome};

/// What the clock shows when a test begins: milliseconds since the Unix epoch.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// A store in memory that obeys command lines.
pub(crate) struct Shell {
    db: Db,
    clock: Arc<ManualClock>,
    /// The database that commands go to.
    selected: Cell<usize>,
}

impl Shell {
    pub(crate) fn new() -> Shell {
        Shell::with_options(Options::new())
    }

    pub(crate) fn with_options(options: Options) -> Shell {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let db = options.clock(clock.clone()).in_memory().unwrap();
        Shell { db, clock, selected: Cell::new(0) }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.clock.advance(ms);
    }

    pub(crate) fn select(&self, database: usize) {
        self.selected.set(database);
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
            CommandFn::Scan(command) => command(args, &self.keyspace(self.selected.get()) as &dyn Walk),
            CommandFn::Across(needs, command) => self.across(needs(args, self.selected.get())?, args, command),
            CommandFn::Pure(command) => command(args, spec),
        }
    }

    fn keyspace(&self, database: usize) -> Keyspace {
        self.db.keyspace(&database.to_string()).unwrap()
    }

    fn across(&self, needs: Needs<'_>, args: Args<'_>, command: AcrossFn) -> Outcome {
        let mut locks = LockSet::new();
        match &needs {
            Needs::Keys(keys) => keys.iter().for_each(|(of, key)| locks.add_keys(&self.keyspace(*of), [*key])),
            Needs::Whole(databases) => databases.iter().for_each(|of| locks.add_whole(&self.keyspace(*of))),
            Needs::Everything => self.db.keyspaces().iter().for_each(|keyspace| locks.add_whole(keyspace)),
        }
        let all: Vec<u32> = self.db.keyspaces().iter().map(|keyspace| keyspace.hooks().id()).collect();
        let ids: Vec<u32> = (0..DATABASES).map(|of| self.keyspace(of).hooks().id()).collect();
        let id_of = |of: usize| Ok(ids[of]);
        let databases = Databases { selected: self.selected.get(), id_of: &id_of, all: &all };
        let mut outcome = Ok(Reply::Nothing);
        let committed = self.db.hooks().commit_across(locks, &mut |txn| {
            outcome = command(args, txn, &databases);
            Ok(())
        });
        committed?;
        outcome
    }

    fn change(&self, spec: &Spec, request: Request<'_>, command: impl Fn(&mut dyn Txn) -> Outcome) -> Outcome {
        let keys: Vec<&[u8]> = spec.keys(request).map(|(_, key)| key).collect();
        let mut outcome = Ok(Reply::Nothing);
        let committed = self.keyspace(self.selected.get()).hooks().commit(&keys, &mut |txn| {
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
