//! Many requests in one write, which the server reads at once and executes one after the other.
//!
//! Invariant: each is executed once, after the one before it, under what that one left behind.

#![forbid(unsafe_code)]

use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wire::{bulk, request};

fn launch() -> Launch {
    Launch::bare(server_program!()).arguments(["--memory-only"]).resp()
}

/// `from` bytes are appended, then one more, and so on, so that no request is as long as its neighbour; and what that
/// answers.
fn appends(from: usize, to: usize) -> (Vec<u8>, Vec<u8>) {
    let requests: Vec<_> = (from..=to).map(|n| request(&["APPEND", "n", &"x".repeat(n)])).collect();
    let replies: String = (from..=to).map(|n| format!(":{}\r\n", sum(n))).collect();
    (requests.concat(), replies.into_bytes())
}

/// How many bytes have been appended after `n`.
fn sum(n: usize) -> usize {
    n * (n + 1) / 2
}

#[test]
fn a_pause_in_the_middle_postpones_the_rest_and_repeats_nothing() {
    let server = launch().start();
    let (mut wire, mut admin) = (server.connect(), server.connect());
    let (before, appended_before) = appends(1, 5);
    let (after, appended_after) = appends(6, 60);
    let pause = [request(&["CLIENT", "PAUSE", "100000", "WRITE"]), request(&["STRLEN", "n"])].concat();
    wire.send([before, pause, after].concat());
    wire.expect([&appended_before[..], b"+OK\r\n:15\r\n"].concat());
    admin.ask("STRLEN n", ":15\r\n");
    admin.ask("CLIENT UNPAUSE", "+OK\r\n");
    wire.expect(appended_after);
    admin.ask("STRLEN n", format!(":{}\r\n", sum(60)));
}

#[test]
fn nothing_behind_a_quit_is_executed() {
    let server = launch().start();
    let mut wire = server.connect();
    let (before, appended) = appends(1, 5);
    wire.send([before, request(&["QUIT"]), appends(6, 60).0].concat());
    wire.expect([&appended[..], b"+OK\r\n"].concat());
    wire.expect_closed();
    server.connect().ask("STRLEN n", ":15\r\n");
}

/// Before AUTH a word may have 16 KiB; the one behind it is not judged by that.
#[test]
fn a_large_request_may_follow_the_password_that_allows_it() {
    let server = launch().arguments(["--requirepass", "foobared"]).start();
    let mut wire = server.connect();
    let large = "v".repeat(20_000);
    let auth = request(&["AUTH", "foobared"]);
    wire.send([&request(&["GET", "k"])[..], &auth, &request(&["SET", "k", &large]), &request(&["GET", "k"])].concat());
    wire.expect([b"-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n", &bulk(&large)[..]].concat());
}

/// A command that runs elsewhere stops the rest until it has answered; what is no command, or no RESP, is answered in
/// its place.
#[test]
fn replies_come_in_the_order_of_requests_of_every_kind() {
    let server = launch().start();
    let mut wire = server.connect();
    // So many keys are looked over by another thread.
    let many: Vec<_> = (0..2000).map(|n| request(&["SET", &format!("k:{n}"), "v"])).collect();
    wire.send(many.concat());
    wire.expect("+OK\r\n".repeat(many.len()));
    let (before, appended_before) = appends(1, 20);
    let (after, appended_after) = appends(21, 40);
    let odd =
        [&request(&["KEYS", "n"])[..], b"PING\r\n", b"*0\r\n", &request(&["NOSUCH"]), b"\r\n", b"*2\r\n$03\r\nGET\r\n"];
    wire.send([before, odd[..5].concat(), after, odd[5].to_vec()].concat());
    wire.expect(
        [
            &appended_before[..],
            b"*1\r\n$1\r\nn\r\n+PONG\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n",
            &appended_after,
            b"-ERR Protocol error: invalid bulk length\r\n",
        ]
        .concat(),
    );
    wire.expect_closed();
}
