//! Drafts: what runs without locks means what it means under them, and takes effect on what it saw or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::sync::{Arc, Mutex};
use std::thread;

use kvcore::hooks::{Change, CrossTxn, Lookup, Observer, Txn, TxnExt, Usage};
use kvcore::{Db, Deadline, Durability, Error, Keyspace, LockSet, ManualClock, Options, Result};
use proptest::prelude::*;

const START_MS: u64 = 1_700_000_000_000;

/// What is done inside a transaction, to a key of a keyspace.
#[derive(Clone, Debug)]
enum Op {
    Lookup(u8),
    Set(usize, Option<i64>),
    WriteRange(usize, usize),
    /// From this key of the first keyspace or the second.
    Copy(bool, u8, Option<i64>),
    SetDeadline(Option<i64>),
    MarkChanged,
    Delete,
    Evict,
    Usage,
    SetUsage(u32),
    Increment,
    CountChanges(u64),
    Begin(bool),
    /// A key that was not named.
    Stray,
}

#[derive(Clone, Debug)]
struct Step {
    ops: Vec<(bool, u8, Op)>,
    gives_up: bool,
    pass_ms: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![0..20_usize, 8_180..8_200_usize, 20_000..20_010_usize];
    let ms = || prop::option::of(prop_oneof![-20..200_i64, 0..100_000_i64]);
    let op = prop_oneof![
        4 => (0..4_u8).prop_map(Op::Lookup),
        4 => (len(), ms()).prop_map(|(len, ms)| Op::Set(len, ms)),
        3 => (len(), 0..30_usize).prop_map(|(at, len)| Op::WriteRange(at, len)),
        2 => (any::<bool>(), 0..6_u8, ms()).prop_map(|(second, from, ms)| Op::Copy(second, from, ms)),
        2 => ms().prop_map(Op::SetDeadline),
        1 => Just(Op::MarkChanged),
        2 => Just(Op::Delete),
        1 => Just(Op::Evict),
        1 => Just(Op::Usage),
        1 => (0..5_u32).prop_map(Op::SetUsage),
        2 => Just(Op::Increment),
        1 => (0..4_u64).prop_map(Op::CountChanges),
        2 => any::<bool>().prop_map(Op::Begin),
        1 => Just(Op::Stray),
    ];
    let ops = prop::collection::vec((any::<bool>(), 0..6_u8, op), 1..8);
    (ops, prop::bool::weighted(0.3), prop_oneof![Just(0), 0..200_u64, 1_000..5_000_u64])
        .prop_map(|(ops, gives_up, pass_ms)| Step { ops, gives_up, pass_ms })
}

fn key(k: u8) -> Vec<u8> {
    format!("key{k}").into_bytes()
}

/// Carries out the operations and returns what each came to.
fn carry_out(step: &Step, ids: [u32; 2], number: usize, txn: &mut dyn CrossTxn) -> Result<Vec<String>> {
    let mut found = vec![txn.now_ms().to_string()];
    let deadline = |txn: &dyn CrossTxn, ms: Option<i64>| {
        ms.map(|ms| Deadline::at_ms(txn.now_ms().checked_add_signed(ms).unwrap()))
    };
    for (second, k, op) in &step.ops {
        txn.select(ids[usize::from(*second)])?;
        let key = key(*k);
        let came_to = match op {
            Op::Lookup(kind) => {
                let kind = [Lookup::Read, Lookup::Look, Lookup::Write, Lookup::Internal][usize::from(*kind)];
                format!("{:?}", txn.lookup(&key, kind)?.map(|value| (value.to_vec(), value.deadline())))
            }
            Op::Set(len, ms) => format!("{:?}", txn.set(&key, &vec![number as u8; *len], deadline(txn, *ms))),
            Op::WriteRange(at, len) => format!("{:?}", txn.write_range(&key, *at, &vec![number as u8; *len])),
            Op::Copy(from_second, from, ms) => {
                let (from, deadline) = (self::key(*from), deadline(txn, *ms));
                match from_second == second {
                    true => format!("{:?}", txn.copy(&from, &key, deadline)),
                    false => format!("{:?}", txn.copy_from(ids[usize::from(*from_second)], &from, &key, deadline)),
                }
            }
            Op::SetDeadline(ms) => format!("{:?}", txn.set_deadline(&key, deadline(txn, *ms))),
            Op::MarkChanged => format!("{:?}", txn.mark_changed(&key)),
            Op::Delete => format!("{:?}", txn.delete(&key)),
            Op::Evict => format!("{:?}", txn.evict(&key)),
            Op::Usage => format!("{:?}", txn.usage(&key)),
            Op::SetUsage(idle_secs) => {
                let usage = Usage { idle_secs: *idle_secs, frequency: None };
                format!("{:?}", txn.set_usage(&key, usage))
            }
            Op::Increment => format!("{:?}", txn.increment(&key, 1)),
            Op::CountChanges(count) => {
                txn.count_changes(*count);
                String::new()
            }
            Op::Begin(uses_keys) => {
                txn.begin_command(*uses_keys);
                String::new()
            }
            Op::Stray => format!("{:?}", txn.get(b"stray").map(|_| ())),
        };
        found.push(came_to);
    }
    found.push(format!("{:?}", txn.lookups()));
    if step.gives_up { Err(Error::aborted("not now")) } else { Ok(found) }
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn changed(&self, change: &Change<'_>) {
        self.0.lock().unwrap().push(format!("{change:?}"));
    }
}

/// One of the two stores that are compared.
struct Side {
    dir: tempfile::TempDir,
    db: Db,
    second: Keyspace,
    told: Arc<Told>,
    clock: Arc<ManualClock>,
}

impl Side {
    fn new(shards: usize) -> Side {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START_MS));
        let options = Options::new().durability(Durability::Os).clock(clock.clone()).shards(shards);
        let db = options.open(dir.path()).unwrap();
        db.hooks().pause_sweeping(true);
        let second = db.keyspace("second").unwrap();
        let told = Arc::new(Told::default());
        db.hooks().observe(told.clone()).unwrap();
        Side { dir, db, second, told, clock }
    }

    /// Runs a step and returns all that can be seen of it.
    fn run(&self, step: &Step, number: usize, on_a_draft: bool, with_uses: bool) -> String {
        let keys: Vec<Vec<u8>> = (0..6).map(key).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let claims = LockSet::new().keys(&self.db, &keys).keys(&self.second, &keys);
        let ids = [self.db.hooks().id(), self.second.hooks().id()];
        let mut found = None;
        let body = &mut |txn: &mut dyn CrossTxn| {
            found = Some(carry_out(step, ids, number, txn)?);
            Ok(())
        };
        let lsn = match on_a_draft {
            true => self.db.hooks().commit_draft(claims.clone(), &|| true, body),
            false => self.db.hooks().commit_across(claims.clone(), body),
        };
        let stats = self.db.stats();
        let told = std::mem::take(&mut *self.told.0.lock().unwrap());
        let seen = format!(
            "{found:?} {lsn:?} {told:?} {:?} {:?}",
            self.contents(with_uses),
            (stats.entries, stats.entries_with_deadline, stats.expired, stats.snapshot.changes_since),
        );
        self.clock.advance(step.pass_ms);
        self.db.hooks().note_time();
        seen
    }

    /// All values and deadlines, and uses if these can be compared.
    fn contents(&self, with_uses: bool) -> Vec<String> {
        let mut contents = Vec::new();
        for keyspace in [&self.db, &self.second] {
            for k in 0..6 {
                let mut seen = String::new();
                let key = key(k);
                keyspace
                    .hooks()
                    .commit(&[&key], &mut |txn| {
                        let value = txn.peek(&key)?.map(|value| (value.to_vec(), value.deadline()));
                        let usage = if with_uses { txn.usage(&key)? } else { None };
                        seen = format!("{value:?} {usage:?}");
                        Ok(())
                    })
                    .unwrap();
                contents.push(seen);
            }
        }
        contents
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The same results, values, deadlines, uses, lookups, counts, notifications and Lsns; and the log gives the same back.
    #[test]
    fn a_draft_does_what_a_transaction_under_locks_does(
        steps in prop::collection::vec(step(), 1..30),
        shards in prop_oneof![Just(1), Just(16)],
    ) {
        let (locked, drafted) = (Side::new(shards), Side::new(shards));
        let last = steps.len() - 1;
        for (number, mut step) in steps.into_iter().enumerate() {
            // What a transaction under locks has used stays used when it is given up: so at most the last is.
            step.gives_up &= number == last;
            let (step, with_uses) = (&step, !step.gives_up);
            prop_assert_eq!(locked.run(step, number, false, with_uses), drafted.run(step, number, true, with_uses));
        }
        let reopened = [locked, drafted].map(|side| {
            side.db.close().unwrap();
            let db = Options::new().clock(side.clock.clone()).open(side.dir.path()).unwrap();
            let second = db.keyspace("second").unwrap();
            let values = |keyspace: &Keyspace| {
                (0..6).map(|k| (keyspace.get(key(k)).unwrap(), keyspace.ttl(key(k)).unwrap())).collect::<Vec<_>>()
            };
            [values(&db), values(&second)]
        });
        prop_assert_eq!(&reopened[0], &reopened[1]);
    }
}

fn claim<'c>(keyspace: &Keyspace, keys: &'c [&'c [u8]]) -> LockSet<'c> {
    LockSet::new().keys(keyspace, keys)
}

#[test]
fn concurrent_drafts_lose_nothing() {
    let db = Db::in_memory();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let db = db.clone();
            thread::spawn(move || {
                let keys: [&[u8]; 2] = [b"small", b"large"];
                for _ in 0..200 {
                    db.hooks()
                        .commit_draft(claim(&db, &keys), &|| true, &mut |txn| {
                            txn.increment(b"small", 1)?;
                            txn.append(b"large", &[b'x'; 100])?;
                            thread::yield_now();
                            Ok(())
                        })
                        .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(db.get("small").unwrap().unwrap(), "800");
    assert_eq!(db.get("large").unwrap().unwrap().len(), 80_000);
}

/// Runs a draft that appends to `k`, and changes the store before it is committed the first time. Returns how often the
/// body ran.
fn runs_when(db: &Db, change: impl Fn(&Db) + Sync) -> usize {
    let mut runs = 0;
    db.hooks()
        .commit_draft(claim(db, &[b"k"]), &|| true, &mut |txn| {
            runs += 1;
            if runs == 1 {
                // From another thread: this one is inside a transaction.
                thread::scope(|scope| scope.spawn(|| change(db)).join().unwrap());
            }
            txn.append(b"k", b"!").map(|_| ())
        })
        .unwrap();
    runs
}

#[test]
fn a_draft_runs_again_when_its_keys_have_changed() {
    for len in [3, 20_000] {
        let clock = Arc::new(ManualClock::at(START_MS));
        let db = Options::new().clock(clock.clone()).in_memory().unwrap();
        db.keyspace("other").unwrap().set("k", vec![b'o'; len]).unwrap();
        let begin = || db.set("k", vec![b'v'; len]).unwrap();
        type Change<'c> = &'c (dyn Fn(&Db) + Sync);
        let changes: [(&str, Change<'_>, usize); 9] = [
            ("another key is changed", &|db| db.set("l", "1").unwrap(), 1),
            ("it is read", &|db| assert!(db.get("k").unwrap().is_some()), 1),
            ("it is set", &|db| db.set("k", "new").unwrap(), 2),
            (
                "a byte is changed",
                &|db| db.transact(&["k"], |txn| txn.write_range(b"k", 0, b"w").map(|_| ())).unwrap(),
                2,
            ),
            ("it gets a deadline", &|db| assert!(db.expire_at("k", Deadline::at_ms(u64::MAX)).unwrap()), 2),
            ("it is deleted", &|db| assert!(db.delete("k").unwrap()), 2),
            ("its keyspace is emptied", &|db| assert!(db.clear().unwrap() > 0), 2),
            ("its keyspace is exchanged for another", &|db| db.swap("0", "other").unwrap(), 2),
            ("it is exchanged twice", &|db| (0..2).for_each(|_| db.swap("0", "other").unwrap()), 1),
        ];
        for (what, change, expected) in changes {
            begin();
            assert_eq!(runs_when(&db, change), expected, "{what}");
            assert!(db.get("k").unwrap().unwrap().ends_with(b"!"), "{what}");
        }
        // What it saw has expired meanwhile, though nobody has removed it.
        begin();
        db.expire_at("k", Deadline::at_ms(START_MS + 10)).unwrap();
        assert_eq!(runs_when(&db, |_| clock.advance(10)), 2);
        assert_eq!(db.get("k").unwrap().unwrap(), "!");
    }
}

#[test]
fn a_draft_of_a_dropped_keyspace_fails() {
    let db = Db::in_memory();
    let other = db.keyspace("other").unwrap();
    let dropped = db.hooks().commit_draft(claim(&other, &[b"k"]), &|| true, &mut |txn| {
        thread::scope(|scope| scope.spawn(|| db.drop_keyspace("other").unwrap()).join().unwrap());
        txn.set(b"k", b"v", None)
    });
    assert!(matches!(dropped, Err(Error::KeyspaceDropped { .. })), "{dropped:?}");
}

#[test]
fn a_draft_runs_again_when_it_is_no_longer_valid() {
    let db = Db::in_memory();
    let asked = std::cell::Cell::new(0);
    let mut runs = 0;
    let is_valid = || {
        asked.set(asked.get() + 1);
        asked.get() == 3
    };
    db.hooks()
        .commit_draft(claim(&db, &[b"k"]), &is_valid, &mut |txn| {
            runs += 1;
            txn.set(b"k", runs.to_string().as_bytes(), None)
        })
        .unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "3");
}

/// Whoever changes the keys each time cannot keep it from ending.
#[test]
fn a_draft_that_finds_its_keys_changed_each_time_runs_under_the_locks_in_the_end() {
    let db = Db::in_memory();
    let (mut runs, mut locked) = (0, false);
    db.hooks()
        .commit_draft(claim(&db, &[b"k"]), &|| true, &mut |txn| {
            runs += 1;
            // Under the locks the other thread would wait for this one.
            locked = runs > 8;
            if !locked {
                thread::scope(|scope| scope.spawn(|| db.set("k", runs.to_string()).unwrap()).join().unwrap());
            }
            txn.append(b"k", b"!").map(|_| ())
        })
        .unwrap();
    assert!(locked);
    assert_eq!(db.get("k").unwrap().unwrap(), "8!");
}

/// Others read and write the same shard, and the same key, while the body of a draft runs.
#[test]
fn a_draft_holds_no_lock_while_it_runs() {
    let db = Options::new().shards(1).in_memory().unwrap();
    db.set("k", vec![b'v'; 100_000]).unwrap();
    let mut len = 0;
    db.hooks()
        .commit_draft(claim(&db, &[b"k"]), &|| true, &mut |txn| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    db.set("k", "new").unwrap();
                    db.set("l", "new").unwrap();
                    assert_eq!(db.get("k").unwrap().unwrap(), "new");
                });
            });
            // It goes on seeing what it saw, and since it changes nothing it does not run again.
            len = txn.get(b"k")?.map_or(0, |value| value.len());
            Ok(())
        })
        .unwrap();
    assert_eq!(len, 100_000);
}

/// A change of a few bytes of a large value logs these bytes, also on a draft, where the value is copied.
#[test]
fn a_draft_logs_no_more_than_its_changes() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Always).open(dir.path()).unwrap();
    db.set("k", vec![b'v'; 1 << 20]).unwrap();
    let before = db.stats().log_bytes;
    let shared = db.get("k").unwrap();
    let lsn = db
        .hooks()
        .commit_draft(claim(&db, &[b"k"]), &|| true, &mut |txn| txn.write_range(b"k", 1000, b"x").map(|_| ()))
        .unwrap();
    db.hooks().wait(lsn).unwrap();
    assert!(db.stats().log_bytes - before < 1000);
    assert_eq!(shared.unwrap()[1000], b'v');
    assert_eq!(db.get("k").unwrap().unwrap()[1000], b'x');
}

#[test]
fn work_is_limited_only_where_it_is_said() {
    let db = Db::in_memory();
    db.set("k", vec![b'v'; 100_000]).unwrap();
    db.hooks().transact(&["k"], |txn| txn.charge(u64::MAX)).unwrap();
    let limited = |work: u64, body: &dyn Fn(&mut dyn Txn) -> Result<()>| {
        db.hooks().transact(&["k"], |txn| {
            txn.limit_work(work);
            body(txn)
        })
    };
    limited(10, &|txn| txn.charge(10)).unwrap();
    assert!(matches!(limited(10, &|txn| (0..11).try_for_each(|_| txn.charge(1))), Err(Error::TooMuchWork)));
    // A byte is written in place; a shared value is copied, and a gap filled with zeros.
    limited(1_000, &|txn| txn.write_range(b"k", 7, b"x").map(|_| ())).unwrap();
    let shared = db.get("k").unwrap();
    let write = |at: usize| limited(1_000, &|txn| txn.write_range(b"k", at, b"y").map(|_| ()));
    assert!(matches!(write(7), Err(Error::TooMuchWork)));
    drop(shared);
    write(7).unwrap();
    assert!(matches!(write(1_000_000), Err(Error::TooMuchWork)));
    // What the caller has brought along is not charged for.
    limited(1_000, &|txn| txn.set(b"k", &[0; 100_000], None)).unwrap();
    assert_eq!(db.get("k").unwrap().unwrap().len(), 100_000);
}

/// A transaction that only read was not asked whether what it rests on still holds: EXEC of watched keys went on.
#[test]
fn a_draft_that_only_read_runs_again_if_it_is_not_valid() {
    let db = Db::in_memory();
    db.set("k", "v").unwrap();
    let mut runs = 0;
    let asked = std::cell::Cell::new(0);
    let is_valid = || {
        asked.set(asked.get() + 1);
        asked.get() == 3
    };
    db.hooks()
        .commit_draft(claim(&db, &[b"k"]), &is_valid, &mut |txn| {
            runs += 1;
            txn.get(b"k").map(drop)
        })
        .unwrap();
    assert_eq!(runs, 3);
}
