//! Emptying everything at one moment, while keyspaces come into being.

use std::sync::Barrier;
use std::thread;

use kvcore::Db;

/// It once emptied the keyspaces that were there when it was called: a key of one made since stayed, although it was
/// older than another key's end.
#[test]
fn a_keyspace_made_while_everything_is_emptied_is_emptied_too() {
    let db = Db::in_memory();
    for round in 0..50 {
        let name = format!("made-{round}");
        db.set("old", "v").unwrap();
        let called = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                called.wait();
                db.clear_all().unwrap();
            });
            // Under the lock of "old", for which the call above has to wait.
            db.transact(&["old"], |txn| {
                called.wait();
                let made = thread::scope(|scope| scope.spawn(|| db.keyspace(&name)?.set("young", "v")).join());
                made.expect("no panic")?;
                assert!(txn.get(b"old")?.is_some(), "so `young` is there before everything is emptied");
                Ok(())
            })
            .unwrap();
        });
        assert!(!db.exists("old").unwrap());
        assert!(!db.keyspace(&name).unwrap().exists("young").unwrap(), "round {round}");
    }
}
