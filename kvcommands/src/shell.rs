//! Conversations with the store commands, without a server: a command line goes in, the reply comes out as text. What needs no
//! more than a transaction is also carried out on a [plain](Plain) store, and must come to the same there.
//!
//! Invariant: time stands still unless a test moves it, so every answer about a deadline is exact.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use kvcore::hooks::{Lookup, ReadTxn, Scan, Txn};
use kvcore::{Db, Deadline, Keyspace, LockSet, ManualClock, Options, ValueRef};
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
            CommandFn::Scan(command) => command(args, &self.keyspace(self.selected.get()) as &dyn Scan),
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
        let elsewhere = Plain::of(&keys, &self.keyspace(self.selected.get()), self.db.now_ms()).map(|mut plain| {
            let outcome = command(&mut plain);
            (outcome.map_err(Reply::from), plain)
        });
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
        if let (Some((replied, plain)), false) = (elsewhere, committed.is_err()) {
            let here = outcome.as_ref().map_or_else(|_| "an error".to_owned(), show);
            assert_eq!(
                replied.as_ref().map_or_else(|_| "an error".to_owned(), show),
                here,
                "{} on any store",
                spec.name
            );
            let now = Plain::of(&keys, &self.keyspace(self.selected.get()), self.db.now_ms());
            assert_eq!(Some(plain), now, "{} on any store", spec.name);
        }
        outcome
    }
}

/// A transaction of a store that can do no more than every store must: whatever a command does on the engine, it does here.
#[derive(Debug, PartialEq)]
struct Plain<'k> {
    keys: &'k [&'k [u8]],
    now_ms: u64,
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Option<Deadline>)>,
}

impl<'k> Plain<'k> {
    /// Returns these keys as the engine has them; none if that is too much to copy for each command.
    fn of(keys: &'k [&'k [u8]], keyspace: &Keyspace, now_ms: u64) -> Option<Plain<'k>> {
        const BYTES_MAX: usize = 1024 * 1024;
        let mut entries = BTreeMap::new();
        let view = keyspace.hooks().view(keys, false, &mut |txn| {
            for key in keys {
                if let Some(value) = txn.peek(key)? {
                    entries.insert(key.to_vec(), (value.bytes().to_vec(), value.deadline()));
                }
            }
            Ok(())
        });
        let bytes: usize = entries.values().map(|(value, _)| value.len()).sum();
        (view.is_ok() && bytes <= BYTES_MAX).then_some(Plain { keys, now_ms, entries })
    }

    fn check(&self, key: &[u8]) -> kvcore::Result<()> {
        let named = self.keys.contains(&key);
        if named { Ok(()) } else { Err(kvcore::Error::KeyNotNamed { key: key.escape_ascii().to_string() }) }
    }
}

impl ReadTxn for Plain<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn lookup(&self, key: &[u8], _: Lookup) -> kvcore::Result<Option<ValueRef<'_>>> {
        self.check(key)?;
        Ok(self.entries.get(key).map(|(value, deadline)| ValueRef::new(value, *deadline)))
    }
}

impl Txn for Plain<'_> {
    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> kvcore::Result<()> {
        self.check(key)?;
        self.entries.insert(key.to_vec(), (value.to_vec(), deadline));
        self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| !deadline.has_passed(self.now_ms)));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> kvcore::Result<bool> {
        self.check(key)?;
        Ok(self.entries.remove(key).is_some())
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
