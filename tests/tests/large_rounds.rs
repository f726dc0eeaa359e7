//! One event loop that answers much at once: its replies are written before its round is over.
//!
//! Invariant: whatever others are sent in the meantime, a client gets each of its replies, in the order of its requests.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wire::{bulk, request};

/// More than a loop gathers before it writes.
const BIG_BYTES: usize = (1 << 20) + 1;

/// The answer of a command that ran elsewhere waited in the round while its connection was out of its place for a turn.
#[test]
fn an_answer_from_elsewhere_is_not_lost_behind_a_large_neighbour() {
    const ROUNDS: usize = 60;
    let server = Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().start();
    let (mut asking, mut busy) = (server.connect(), server.connect());
    // So many keys are looked over by another thread.
    for number in 0..2000 {
        asking.ask(&format!("SET key:{number} v"), "+OK\r\n");
    }
    asking.ask("SET a 1", "+OK\r\n");
    let value = vec![b'v'; BIG_BYTES];
    asking.send(request(&[b"SET".as_slice(), b"big", &value]));
    asking.expect("+OK\r\n");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let reply = bulk(&value);
            while !over.load(Relaxed) {
                busy.send(request(&["GET", "big"]));
                busy.expect(&reply);
            }
        });
        let mut both = request(&["KEYS", "a"]);
        both.extend(request(&["GET", "a"]));
        let answered = (0..ROUNDS).try_for_each(|_| {
            asking.send(&both);
            asking.compare(b"*1\r\n$1\r\na\r\n$1\r\n1\r\n")
        });
        over.store(true, Relaxed);
        assert_eq!(answered, Ok(()));
    });
}
