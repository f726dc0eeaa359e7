//! A model of what stands between a write and its reply: log, syncer, [`Mailbox`](crate::notify::mailbox::Mailbox), loop and outbox,
//! under every order of events that a seed draws. Invariant: a reply leaves when what it reveals is durable, never before,
//! and each request is answered or refused once; a loop that is not woken would sleep for ever.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/models -p kvserver --lib models
//! ```

use std::cell::Cell;
use std::sync::Arc;

use kvcore::hooks::Lsn;
use kvcore::{Db, Durability, ManualClock, Options};
use shuttle::rand::Rng;
use shuttle::thread;

use super::Outbox;
use crate::net::sync::Waker;
use crate::notify::mailbox::{LoopMessage, Mailbox, Mailboxes};

#[path = "../../../../kvcore/tests/models/disk.rs"]
mod disk;
#[path = "../../../../kvcore/tests/models/explore.rs"]
mod explore;

use disk::ModelDisk;
use explore::explore;

const LOOPS: usize = 2;
const REQUESTS: usize = 3;

/// As an event loop does it, in the same order: sleep, messages, what became durable, time slices, write.
fn serve(number: usize, db: &Db, mailbox: &Mailbox, disk: &ModelDisk) {
    let mut outbox = Outbox::default();
    let (mut durable_seen, mut messages, mut stopped) = (Lsn::ZERO, Vec::new(), false);
    let (mut asked, mut refused) = (0, 0);
    let answered = Cell::new(0);
    let leave = |reply: &str| {
        assert!(reply == "none" || disk.is_durable(reply), "{reply} was told before it was durable");
        answered.set(answered.get() + 1);
    };
    while !stopped || asked < REQUESTS || !outbox.is_empty() {
        let has_log_advanced =
            || !outbox.is_empty() && (db.hooks().durable_lsn() > durable_seen || db.health().is_err());
        if !mailbox.fall_asleep(!outbox.is_empty(), || asked < REQUESTS || has_log_advanced()) {
            mailbox.sleep();
        }
        mailbox.set_awake();
        mailbox.take(&mut messages);
        stopped |= !messages.is_empty();
        messages.clear();

        let durable = db.hooks().durable_lsn();
        let failed = durable <= durable_seen && db.health().is_err();
        durable_seen = durable;
        let ready = outbox.ready(durable).to_vec();
        for reply in String::from_utf8_lossy(&ready).split_terminator(';') {
            leave(reply);
        }
        outbox.mark_sent(ready.len());
        if failed && outbox.waits_for().is_some() {
            outbox.discard_awaiting();
            refused = asked - answered.get();
        }

        if asked < REQUESTS {
            asked += 1;
            let (own, mut seen) = (format!("<{number}.{asked}>"), "none".to_owned());
            let told = db.hooks().commit(&[b"k"], &mut |txn| {
                if (number + asked) % 2 == 0 {
                    own.clone_into(&mut seen);
                    return txn.set(b"k", own.as_bytes(), None);
                }
                if let Some(value) = txn.get(b"k")? {
                    seen = String::from_utf8_lossy(value.bytes()).into_owned();
                }
                Ok(())
            });
            match told {
                Ok(lsn) if outbox.is_empty() && lsn <= db.hooks().durable_lsn() => leave(&seen),
                Ok(lsn) => {
                    outbox.push(format!("{seen};").as_bytes(), lsn);
                    db.hooks().request_sync(lsn);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert_eq!(answered.get() + refused, REQUESTS, "each is told once");
}

fn model(syncs_fail: bool) {
    explore(move || {
        let disk = ModelDisk::default();
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let options = Options::new().shards(1).segment_bytes(4096).durability(Durability::Always).clock(clock);
        let db = options.disk(Arc::new(disk.clone())).open("model").expect("a store");
        if syncs_fail {
            disk.fail_sync_after(shuttle::rand::thread_rng().gen_range(0..3));
        }
        let mailboxes = Arc::new(Mailboxes::new((0..LOOPS).map(|_| Mailbox::new(Waker::default())).collect()));
        let wakes = Arc::clone(&mailboxes);
        db.hooks().on_durable(Arc::new(move || wakes.all().iter().for_each(Mailbox::wake_for_log)));
        let loops: Vec<_> = (0..LOOPS)
            .map(|number| {
                let (db, mailboxes, disk) = (db.clone(), Arc::clone(&mailboxes), disk.clone());
                thread::spawn(move || serve(number, &db, mailboxes.of(number), &disk))
            })
            .collect();
        mailboxes.post_to_all(|| LoopMessage::Stop);
        for ended in loops {
            ended.join().expect("a loop");
        }
        assert!(db.close().is_ok() || syncs_fail);
    });
}

#[test]
fn a_reply_leaves_when_what_it_reveals_is_durable_and_never_before() {
    model(false);
}

#[test]
fn when_a_sync_fails_each_request_is_still_answered_or_refused() {
    model(true);
}
