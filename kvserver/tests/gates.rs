//! Durability `always`: what could be lost is not shown (design invariant 3), over a disk that syncs when the test says.
//!
//! The cases come from the command table (see [`cases`]), so a new command is tested as soon as it has a row.
//!
//! Invariant: that something is held back is shown by the server itself, which counts the bytes that wait in a client's
//! output (`omem` in CLIENT LIST): no test waits for a while and hopes. A test that fails lets the disk go on first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod gated;
mod support;

use std::io;
use std::thread;

use cases::Case;
use gated::{
    Gated, MARK, MARK_REPLY, Mode, Numbered, Observer, Sync, VALUE_BYTES_MAX, expect_success, expect_untold, get_ready,
    told_later, until,
};

use support::Client;

#[test]
fn every_write_waits_for_itself_and_so_does_all_that_others_are_sent_about_it() {
    let mut gated = Gated::new();
    let dump = gated.dump();
    let mut observers = Observer::all(&mut gated);
    // On the loop, and on a draft whatever may be too much work for the loop.
    let rounds = cases::writing().into_iter().flat_map(|spec| [(spec, "-1"), (spec, "0")]);
    for (spec, loop_work) in rounds {
        gated.controller.ask(&format!("DEBUG LOOP-WORK {loop_work}"), "+OK\r\n");
        for mode in [Mode::Resp, Mode::Exec, Mode::Line] {
            let what = format!("{} by {mode:?}, LOOP-WORK {loop_work}", spec.name);
            let tag = format!("{}.{mode:?}{loop_work}", spec.name.replace('|', "."));
            let case = Case::new(spec, &tag, &dump);
            if mode == Mode::Exec && !case.can_be_queued() {
                continue;
            }
            gated.prepare(&format!("SET another 1\r\n{}", case.fixture()));
            get_ready(&mut observers, &case.keys);
            gated.hold();
            let before = gated.db.hooks().last_lsn();
            let mut who = gated.send(&case, mode);
            gated.expect_held(&mut who, &what);
            expect_untold(&mut gated, &mut observers, &what);
            gated.release();
            expect_success(&mut who, mode, &what);
            assert!(gated.db.hooks().last_lsn() > before, "{what}: changed nothing: give it words in tests/cases");
            for (observer, told) in told_later(&mut observers) {
                let hears = match observer {
                    // Of an EXEC at least that there was one.
                    "a monitor" => mode == Mode::Exec || !spec.flags.has(kvproto::spec::Flag::Admin),
                    "a tracker that redirects" => false,
                    observer if observer.contains("events") => !case.keys.is_empty(),
                    _ => true,
                };
                assert_eq!(!told.is_empty(), hears, "{what}: {observer} was sent {told:?}");
            }
        }
    }
}

/// Changes of some keys, in words.
fn changes(keys: &[String], group: kvproto::spec::Group) -> Vec<String> {
    let each = |request: &dyn Fn(&String) -> String| keys.iter().map(request).collect::<Vec<_>>().concat();
    let add = match group {
        kvproto::spec::Group::HyperLogLog => each(&|key| format!("PFADD {key} other\r\n")),
        _ => format!("MSET{} another 2\r\n", each(&|key| format!(" {key} 7"))),
    };
    let mut changes = vec![add, "FLUSHDB\r\n".into(), "FLUSHALL\r\n".into(), "SWAPDB 0 1\r\n".into()];
    if !keys.is_empty() {
        changes.push(format!("DEL{}\r\n", each(&|key| format!(" {key}"))));
        changes.push(each(&|key| format!("PEXPIRE {key} 3000000\r\n")));
        changes.push(each(&|key| format!("RENAME {key} {key}.moved\r\n")));
        changes.push(each(&|key| format!("MOVE {key} 2\r\n")));
    }
    changes
}

#[test]
fn every_read_waits_for_what_another_client_has_changed() {
    let mut gated = Gated::new();
    let rounds = cases::reading().into_iter().flat_map(|spec| [(spec, "-1"), (spec, "0")]);
    for (spec, loop_work) in rounds {
        gated.controller.ask(&format!("DEBUG LOOP-WORK {loop_work}"), "+OK\r\n");
        gated.choose_policy(spec);
        let mut round = if loop_work == "0" { 1000 } else { 0 };
        for mode in [Mode::Resp, Mode::Exec, Mode::Line] {
            let case = |round: usize| Case::new(spec, &format!("{}.{round}", spec.name.replace('|', ".")), b"");
            let group = spec.group;
            let kinds = if mode == Mode::Resp { changes(&case(0).keys, group).len() } else { 1 };
            for kind in 0..kinds {
                round += 1;
                let case = case(round);
                let change = changes(&case.keys, group).swap_remove(kind);
                let what = format!("{} by {mode:?} behind {change:?}", spec.name);
                gated.prepare(&format!("SET another 1\r\n{}", case.fixture()));
                let mut reader = gated.send(&case, mode);
                expect_success(&mut reader, mode, &what);

                gated.hold();
                let mut changer = gated.client();
                changer.client.send(&change);
                gated.expect_held(&mut changer, &what);
                let mut reader = gated.send(&case, mode);
                gated.expect_held(&mut reader, &what);
                gated.release();
                reader.client.line();
                for reply in changer.client.reply_lines(change.lines().count()) {
                    assert!(!reply.starts_with('-'), "{what}: {reply}");
                }
            }
        }
    }
}

/// That a key has expired is forgotten by a crash before which the time was not logged.
#[test]
fn every_request_waits_for_the_time_at_which_it_found_a_key_expired() {
    let mut gated = Gated::new();
    let dump = gated.dump();
    gated.prepare("FLUSHALL\r\n");
    gated.db.hooks().pause_sweeping(true);
    for spec in cases::reading().into_iter().chain(cases::writing()) {
        let case = Case::new(spec, &format!("{}.expired", spec.name.replace('|', ".")), &dump);
        // It counts, or takes along, what has expired and was not removed yet; so do those that empty a database.
        if matches!(spec.name, "dbsize" | "swapdb" | "flush" | "flushall" | "flushdb") {
            continue;
        }
        gated.choose_policy(spec);
        let mut fixture = case.fixture();
        let keys = if case.sources.is_empty() { vec!["only".to_owned()] } else { case.sources.clone() };
        if case.sources.is_empty() {
            fixture = "SET only 1\r\n".into();
        }
        gated.prepare(&format!("FLUSHALL\r\n{fixture}"));
        let expire: String = keys.iter().map(|key| format!("PEXPIRE {key} 2\r\n")).collect();
        gated.prepare(&expire);
        let passed = gated.db.now_ms() + 3;
        until("the deadline has passed", || gated.db.now_ms() > passed);
        gated.hold();
        let mut who = gated.send(&case, Mode::Resp);
        gated.expect_held(&mut who, &format!("{} of an expired key", spec.name));
        gated.release();
        who.client.line();
    }
}

/// Rows without a flag that says so whose replies show what was written, by anybody.
const SHOW_DATA: &[&str] = &["commandlog|get", "hotkeys|get", "info", "memory|stats", "slowlog|get", "waitaof"];

#[test]
fn what_shows_no_data_is_replied_to_at_once() {
    let mut gated = Gated::new();
    gated.prepare("CONFIG SET slowlog-log-slower-than 0\r\n");
    gated.hold();
    let mut writer = gated.client();
    writer.client.send("SET k v\r\n");
    gated.expect_held(&mut writer, "SET");
    let mut waited = Vec::new();
    for spec in cases::others() {
        // One ends the server; the replies of the others say that something is on the disk.
        if matches!(spec.name, "shutdown" | "save" | "backup|start") {
            continue;
        }
        let case = Case::new(spec, "k", b"");
        if SHOW_DATA.contains(&spec.name) {
            let mut who = gated.send(&case, Mode::Resp);
            gated.expect_held(&mut who, spec.name);
            waited.push((spec.name, who));
        } else {
            let mut who = gated.send(&case, Mode::Resp);
            assert_ne!(who.client.line(), "", "{}", spec.name);
        }
    }
    assert_eq!(waited.len(), SHOW_DATA.len());
    let mut busy = gated.client();
    busy.client.send("MULTI\r\nPING\r\nEXEC\r\n");
    busy.client.expect("+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
    gated.release();
    for (name, mut who) in waited {
        let reply = who.client.line();
        assert!(!reply.starts_with('-'), "{name}: {reply}");
    }
}

#[test]
fn what_debug_and_exec_show_of_data_waits_too() {
    let mut gated = Gated::new();
    gated.prepare("CONFIG SET slowlog-log-slower-than 0\r\nSET k 1\r\n");
    for request in [
        "DEBUG DIGEST",
        "DEBUG DIGEST-VALUE k",
        "DEBUG OBJECT k",
        "DEBUG RELOAD NOSAVE",
        "CONFIG SET appendfsync always",
        "MULTI\r\nINFO\r\nEXEC",
        "MULTI\r\nSLOWLOG GET\r\nEXEC",
    ] {
        gated.prepare("SET k 1\r\n");
        gated.hold();
        let mut writer = gated.client();
        writer.client.send("SET k 2\r\n");
        gated.expect_held(&mut writer, "SET");
        let mut who = gated.client();
        who.client.send(format!("{request}\r\n"));
        if request.starts_with("MULTI") {
            who.client.expect("+OK\r\n+QUEUED\r\n");
        }
        if request.starts_with("DEBUG RELOAD") {
            // It runs on another thread, and itself waits for the log.
            until("the request is parked", || {
                gated.controller.send(format!("CLIENT LIST ID {}\r\n", who.id));
                gated.controller.bulk().contains(" flags=b ")
            });
            assert_eq!(who.client.arrived(), "", "{request}");
        } else {
            gated.expect_held(&mut who, request);
        }
        gated.release();
        assert!(!who.client.line().starts_with('-'), "{request}");
    }
}

/// A reply that names durable keys alone does not wait for others.
#[test]
fn reads_of_durable_keys_do_not_wait_for_another_database() {
    let mut gated = Gated::new();
    let rows = cases::reading().into_iter().filter(|spec| !spec.key_specs.is_empty() && spec.name != "memory|usage");
    let cases: Vec<Case> = rows.map(|spec| Case::new(spec, &spec.name.replace('|', "."), b"")).collect();
    for case in &cases {
        gated.prepare(&case.fixture());
    }
    gated.hold();
    let mut writer = gated.client();
    writer.client.send("SELECT 1\r\nSET k v\r\n");
    writer.client.expect("+OK\r\n");
    gated.expect_held(&mut writer, "SET");
    for case in &cases {
        for mode in [Mode::Resp, Mode::Exec] {
            let mut who = gated.send(case, mode);
            assert_ne!(who.client.line(), "", "{}", case.spec.name);
        }
    }
}

#[test]
fn walks_that_run_on_another_thread_wait_for_what_they_saw() {
    let mut gated = Gated::new();
    gated.prepare("DEBUG POPULATE 1500\r\n");
    for request in ["KEYS *", "PRINT", "SCAN 0 COUNT 20000"] {
        gated.prepare("DEL new\r\n");
        gated.hold();
        let (mut writer, mut walker) = (gated.client(), gated.client());
        writer.client.send("SET new 1\r\n");
        gated.expect_held(&mut writer, request);
        walker.client.send(format!("{request}\r\n"));
        gated.expect_held(&mut walker, request);
        gated.release();
        assert!(walker.client.line().starts_with('*'), "{request}");
    }
}

/// Of what no client did: keys that expire, keys that are evicted, and what the program around the server does.
#[test]
fn what_no_client_did_is_told_when_it_is_durable() {
    let mut gated = Gated::new();
    let mut observers = Observer::all(&mut gated);
    let db = gated.db.clone();
    let mut program = None;
    for origin in ["expired", "evicted", "set"] {
        let keys = [origin.to_owned()];
        gated.prepare(&format!("SET {origin} 1\r\n"));
        let mut admin = gated.client();
        if origin == "expired" {
            // Swept as soon as the syncs are held up.
            gated.db.hooks().pause_sweeping(true);
            gated.prepare("PEXPIRE expired 300\r\n");
        }
        get_ready(&mut observers, &keys);
        gated.hold();
        match origin {
            "expired" => gated.db.hooks().pause_sweeping(false),
            "evicted" => admin.client.send("CONFIG SET maxmemory-policy allkeys-random maxmemory 1\r\n"),
            _ => {
                let db = db.clone();
                program = Some(thread::spawn(move || db.set("set", "2").unwrap()));
            }
        }
        for Observer { what, who, .. } in observers.iter_mut() {
            // The command that evicts is not shown, and the others are none.
            if !matches!(*what, "a monitor" | "a tracker that redirects") {
                gated.expect_held(who, &format!("{what} of what was {origin}"));
            }
        }
        expect_untold(&mut gated, &mut observers, origin);
        gated.release();
        for (observer, told) in told_later(&mut observers) {
            let hears = !matches!(observer, "a monitor" | "a tracker that redirects");
            assert_eq!(told.contains(origin), hears, "{observer} of what was {origin} was sent {told:?}");
        }
        if origin == "evicted" {
            gated.prepare("CONFIG SET maxmemory 0 maxmemory-policy noeviction\r\n");
        }
    }
    program.unwrap().join().unwrap();
}

/// A client that wants no replies has written all the same, and what it publishes may rest on that.
#[test]
fn a_message_waits_for_the_writes_of_a_client_that_wants_no_replies() {
    let mut gated = Gated::new();
    let mut monitor = gated.client();
    monitor.client.ask("MONITOR", "+OK\r\n");
    for (quiet, publish) in [
        ("CLIENT REPLY OFF", "PUBLISH c k"),
        ("CLIENT REPLY SKIP", "PUBLISH c k"),
        ("CLIENT REPLY OFF", "SPUBLISH c k"),
        ("CLIENT REPLY OFF", "MULTI\r\nPUBLISH c k\r\nEXEC"),
    ] {
        let mut subscriber = gated.client();
        let subscribe = if publish.starts_with('S') { "SSUBSCRIBE" } else { "SUBSCRIBE" };
        subscriber.client.send(format!("{subscribe} c\r\n"));
        subscriber.client.reply_lines(6);
        gated.hold();
        let mut writer = gated.client();
        writer.client.send(format!("{quiet}\r\nSET k v\r\n{publish}\r\n"));
        gated.expect_held(&mut subscriber, &format!("{quiet}, {publish}"));
        gated.release();
        subscriber.client.reply_lines(7);
    }
    gated.hold();
    let mut writer = gated.client();
    writer.client.send("CLIENT REPLY SKIP\r\nSET k v\r\nWAIT 0 0\r\n");
    gated.expect_held(&mut writer, "WAIT after a write without a reply");
    gated.release();
    writer.client.expect(":0\r\n");
}

/// It goes before the reply of the end of a subscription, and still not before it is durable.
#[test]
fn a_message_that_is_delivered_early_waits_for_what_it_rests_on() {
    let mut gated = Gated::new();
    for leave in ["UNSUBSCRIBE c", "RESET", "QUIT"] {
        let mut subscriber = gated.client();
        subscriber.client.send("HELLO 3\r\n");
        until("the last line of HELLO's reply", || subscriber.client.line() == "*0");
        subscriber.client.ask("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
        gated.hold();
        subscriber.client.send(format!("CLIENT REPLY OFF\r\nSET k v\r\nPUBLISH c k\r\n{leave}\r\n"));
        gated.expect_held(&mut subscriber, leave);
        gated.release();
        subscriber.client.expect(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nk\r\n");
    }
}

#[test]
fn a_transaction_that_failed_has_subscribed_to_nothing() {
    let mut gated = Gated::new();
    let mut who = gated.client();
    gated.disk.set(Sync::Fails);
    let mut writer = gated.client();
    writer.client.send("SET k v\r\n");
    assert!(writer.client.line().starts_with('-'));
    who.client.send("MULTI\r\nSUBSCRIBE c\r\nSET k v\r\nEXEC\r\n");
    who.client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    assert!(who.client.line().starts_with('-'));
    // A subscriber's would be an array.
    who.client.ask("PING", "+PONG\r\n");
    gated.controller.ask("PUBLISH c m", ":0\r\n");
}

/// An error may tell what a key holds, too.
#[test]
fn an_error_that_tells_of_a_value_waits_for_it() {
    let mut gated = Gated::new();
    gated.hold();
    let mut writer = gated.client();
    let long = "x".repeat(VALUE_BYTES_MAX);
    writer.client.send(format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n${}\r\n{long}\r\nSET word word\r\n", long.len()));
    gated.expect_held(&mut writer, "SET");
    let mut waiting = Vec::new();
    for request in ["APPEND long x", "INCR word", "PFCOUNT word"] {
        let mut who = gated.client();
        who.client.send(format!("{request}\r\n"));
        gated.expect_held(&mut who, request);
        waiting.push(who);
    }
    gated.release();
    for mut who in waiting {
        assert!(who.client.line().starts_with('-'));
    }
}

#[test]
fn that_a_watched_key_has_changed_is_told_when_the_change_is_durable() {
    let mut gated = Gated::new();
    gated.prepare("SET k 1\r\n");
    let mut watcher = gated.client();
    watcher.client.send("WATCH k\r\nMULTI\r\nPING\r\n");
    watcher.client.expect("+OK\r\n+OK\r\n+QUEUED\r\n");
    gated.hold();
    let mut writer = gated.client();
    writer.client.send("SET k 2\r\n");
    gated.expect_held(&mut writer, "SET");
    watcher.client.send("EXEC\r\n");
    gated.expect_held(&mut watcher, "EXEC");
    gated.release();
    watcher.client.expect("*-1\r\n");
}

#[test]
fn a_message_of_a_transaction_waits_for_what_its_client_did_before() {
    let mut gated = Gated::new();
    let (mut subscriber, mut writer) = (gated.client(), gated.client());
    subscriber.client.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    gated.hold();
    writer.client.send("SET k v\r\nMULTI\r\nPUBLISH c k\r\nEXEC\r\n");
    gated.expect_held(&mut writer, "SET");
    gated.expect_held(&mut subscriber, "the message");
    gated.release();
    writer.client.expect("+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    subscriber.client.expect("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nk\r\n");
}

#[test]
fn replies_leave_in_order_and_none_waits_for_what_comes_behind_it() {
    let mut gated = Gated::new();
    gated.prepare("SET settled s\r\n");
    gated.hold();
    let mut writer = gated.client();
    writer.client.send("GET settled\r\nSET k v\r\nGET settled\r\nPING\r\n");
    writer.client.expect("$1\r\ns\r\n");
    gated.expect_held(&mut writer, "SET");
    gated.release();
    writer.client.expect("+OK\r\n$1\r\ns\r\n+PONG\r\n");
}

/// One error stands for all replies that will never come: nothing may follow it, for it would be taken for one of them.
#[test]
fn after_the_log_failed_a_client_is_sent_what_is_durable_one_error_and_nothing_more() {
    const TELLS: &str = "MISCONF ";
    // What is sent at once, and what is received of that although the log fails.
    let requests = [
        ("GET settled\r\nSET a 1\r\nSET b 2\r\nGET a\r\nPING\r\n", "$1\r\ns\r\n"),
        ("PING\r\nMULTI\r\nSET a 1\r\nSET b 2\r\nEXEC\r\nPING\r\n", "+PONG\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n"),
        ("SET a 1\r\nKEYS *\r\nGET settled\r\nPING\r\n", ""),
        ("SET a 1\r\nSAVE\r\nGET settled\r\nPING\r\n", ""),
        ("SET a 1\r\nACL SAVE\r\nGET settled\r\nPING\r\n", ""),
        ("SET a 1\r\nDEBUG RELOAD\r\nPING\r\n", ""),
        ("SET a 1\r\nSUBSCRIBE x y\r\nPING\r\n", ""),
        ("SET a 1\r\nFLUSHALL\r\nSWAPDB 0 1\r\nINFO\r\nDBSIZE\r\n", ""),
        ("SET a 1\r\nQUIT\r\n", ""),
    ];
    for parked in [false, true] {
        for listener in 0..3 {
            let mut gated = Gated::new();
            gated.prepare("SET settled s\r\n");
            if parked {
                gated.prepare("DEBUG POPULATE 1500\r\n");
            }
            gated.hold();
            let mut clients = Vec::new();
            let mut subscribers = Vec::new();
            for hello in ["", "HELLO 3\r\n"] {
                let mut subscriber = gated.client();
                subscriber.client.send(format!("{hello}SUBSCRIBE c\r\n{MARK}"));
                subscriber.client.until(MARK_REPLY);
                subscribers.push((subscriber, "a message"));
            }
            let mut tracker = gated.client();
            tracker.client.send(format!("HELLO 3\r\nCLIENT TRACKING ON BCAST\r\n{MARK}"));
            tracker.client.until(MARK_REPLY);
            subscribers.push((tracker, "an invalidation"));
            for (request, durable) in requests {
                let mut who = gated.client_at(listener);
                who.client.send(request);
                let durable = match (listener, durable) {
                    (0, durable) => durable,
                    (1, "$1\r\ns\r\n") => "s\n",
                    (1, durable) if !durable.is_empty() => "PONG\nOK\nQUEUED\nQUEUED\n",
                    (2, "$1\r\ns\r\n") => "OK s\n",
                    (2, durable) if !durable.is_empty() => "OK PONG\nOK\nOK QUEUED\nOK QUEUED\n",
                    _ => "",
                };
                who.client.expect(durable);
                gated.expect_held(&mut who, request);
                clients.push((who, request));
            }
            let mut publisher = gated.client();
            publisher.client.send("SET a 2\r\nPUBLISH c m\r\n");
            gated.expect_held(&mut publisher, "SET");
            clients.push((publisher, "PUBLISH"));
            for (who, what) in &mut subscribers {
                gated.expect_held(who, what);
            }
            clients.append(&mut subscribers);

            gated.disk.set(Sync::Fails);
            for (mut who, what) in clients {
                let error = who.client.line();
                assert!(error.contains(TELLS) && error.len() < 300, "{what}: {error}");
                who.client.expect_end();
            }
        }
    }
}

/// A job's reply is ready while the loop is busy, and the log fails: the loop learns of both at once. The job's reply used
/// to be sent in the place of the write's, which is lost.
#[test]
fn the_reply_of_a_job_is_not_taken_for_that_of_a_write_that_is_lost() {
    let mut gated = Gated::with_loops(1);
    let (mut before, mut writer, mut beside) = (gated.client(), gated.client(), gated.client());
    let users = gated.dir.path().join("users");
    gated.prepare("ACL SETUSER someone on\r\n");
    gated.hold();
    let mut earlier = gated.client();
    earlier.client.send("SET earlier v\r\n");
    gated.expect_held(&mut earlier, "SET");
    before.client.send("DEBUG SLEEP 0.3\r\n");
    writer.client.send("SET k v\r\nACL SAVE\r\n");
    beside.client.send("DEBUG SLEEP 1\r\n");
    until("the users are saved", || std::fs::read_to_string(&users).unwrap().contains("someone"));
    gated.disk.set(Sync::Fails);
    until("the log has failed", || gated.db.health().is_err());
    let reply = writer.client.line();
    assert!(reply.starts_with("-MISCONF "), "{reply}");
    writer.client.expect_end();
}

#[test]
fn replies_that_are_durable_and_wait_for_a_slow_client_are_kept_when_the_log_fails() {
    // A value that is copied into the output, and one that is shared with it.
    for bytes in [60_000, 100_000] {
        durable_replies_are_kept_when_the_log_fails(&"x".repeat(bytes));
    }
}

fn durable_replies_are_kept_when_the_log_fails(value: &str) {
    let mut gated = Gated::with_loops(1);
    gated.db.set("large", value).unwrap();
    let (mut slow, mut other) = (gated.client(), gated.client());
    // More than the sockets hold, and less than what a client may leave unread before its requests must wait.
    let mut count = 0;
    while gated.waiting_bytes(slow.id) == 0 {
        slow.client.send("GET large\r\n");
        count += 1;
        until("the request is carried out", || {
            gated.controller.send("INFO commandstats\r\n");
            gated.controller.bulk().contains(&format!("cmdstat_get:calls={count},"))
        });
    }
    gated.hold();
    slow.client.send("SET k v\r\nGET large\r\nPING\r\n");
    until("the write is carried out", || gated.db.exists("k").unwrap());
    other.client.send("SET other v\r\n");
    gated.expect_held(&mut other, "SET");
    gated.disk.set(Sync::Fails);
    // The loop has but one look at the failure, for all its clients.
    assert!(other.client.line().starts_with("-MISCONF "));
    other.client.expect_end();
    for _ in 0..count {
        slow.client.expect(format!("${}\r\n{value}\r\n", value.len()));
    }
    let error = slow.client.line();
    assert!(error.starts_with("-MISCONF "), "{error}");
    slow.client.expect_end();
}

#[test]
fn a_client_that_wants_no_replies_is_closed_without_one_when_its_writes_are_lost() {
    let mut gated = Gated::new();
    gated.hold();
    let mut quiet = gated.client();
    quiet.client.send("SET k v\r\nCLIENT REPLY OFF\r\nSET l v\r\n");
    gated.expect_held(&mut quiet, "SET");
    gated.disk.set(Sync::Fails);
    quiet.client.expect_end();
}

#[test]
fn when_the_log_fails_what_waited_is_refused_and_settled_keys_are_still_read() {
    let mut gated = Gated::new();
    gated.prepare("SET settled s\r\n");
    gated.hold();
    let mut waiting = gated.client();
    waiting.client.send("SET k v\r\nPING\r\n");
    gated.expect_held(&mut waiting, "SET");
    gated.disk.set(Sync::Fails);
    let error = waiting.client.line();
    assert!(error.starts_with("-MISCONF "), "{error}");
    waiting.client.expect_end();

    let Numbered { mut client, .. } = gated.client();
    client.send("SET settled 2\r\n");
    assert!(client.line().starts_with("-MISCONF "));
    client.ask("GET settled", "$1\r\ns\r\n");
    client.ask("PING", "+PONG\r\n");
    client.send("INFO\r\n");
    let info = client.bulk();
    assert!(info.contains("aof_last_write_status:err\r\n"), "{info}");
    client.send("GET k\r\n");
    assert!(client.line().starts_with("-MISCONF "), "what was lost is neither shown nor waited for for ever");
    client.expect_end();
}

/// Writes until the log can take no more. Returns the thread that does, which ends when its connection does.
fn fill_the_log(gated: &Gated, writer: &mut Numbered) -> thread::JoinHandle<()> {
    let line = format!("SET k {}\r\n", "v".repeat(4000));
    let mut sender = writer.client.stream().try_clone().unwrap();
    let sending = thread::spawn(move || {
        for _ in 0..200_000 {
            if io::Write::write_all(&mut sender, line.as_bytes()).is_err() {
                break;
            }
        }
    });
    until("the log is full", || gated.db.hooks().is_backlogged());
    sending
}

#[test]
fn a_loop_goes_on_while_the_log_can_take_no_more() {
    // The controller's place and the writer's are all there are.
    let gated = Gated::build(1, 2);
    let mut writer = gated.client();
    gated.hold();
    let sending = fill_the_log(&gated, &mut writer);
    // The loop accepts and refuses again and again, so it does not wait for the log.
    for _ in 0..20 {
        let mut refused = Client::of(&gated.server);
        refused.expect("-ERR max number of clients reached\r\n");
        refused.expect_end();
    }
    assert!(gated.db.hooks().is_backlogged());
    gated.release();
    writer.client.expect("+OK\r\n".repeat(1000));
    writer.client.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
}

/// It was the loop that stopped: nobody could even read, or look who it was that wrote so much.
#[test]
fn only_who_writes_waits_while_the_log_can_take_no_more() {
    let mut gated = Gated::build(1, 8);
    let (mut writer, mut other, mut exec, mut reader) =
        (gated.client(), gated.client(), gated.client(), gated.client());
    // A database of its own, so that it sees nothing of what waits for the log.
    reader.client.ask("SELECT 1", "+OK\r\n");
    reader.client.ask("SET there 1", "+OK\r\n");
    exec.client.ask("MULTI", "+OK\r\n");
    exec.client.ask("SET exec 1", "+QUEUED\r\n");
    gated.hold();
    let sending = fill_the_log(&gated, &mut writer);
    other.client.send("SET other 1\r\nPING\r\n");
    exec.client.send("EXEC\r\nPING\r\n");
    for _ in 0..100 {
        reader.client.ask("GET there", "$1\r\n1\r\n");
        reader.client.ask("PING", "+PONG\r\n");
    }
    for waiting in [&writer, &other, &exec] {
        until("it waits", || {
            gated.controller.send(format!("CLIENT LIST ID {}\r\n", waiting.id));
            let shown = gated.controller.bulk();
            // EXEC waits in a transaction.
            [" flags=b ", " flags=xb "].iter().any(|flags| shown.contains(flags))
        });
    }
    assert!(gated.db.hooks().is_backlogged());
    gated.release();
    other.client.expect("+OK\r\n+PONG\r\n");
    exec.client.expect("*1\r\n+OK\r\n+PONG\r\n");
    writer.client.expect("+OK\r\n".repeat(1000));
    writer.client.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
}

/// To make room for entries waited for the log, on the loop.
#[test]
fn a_lowered_limit_does_not_wait_for_the_log() {
    let mut gated = Gated::build(1, 8);
    let (mut writer, mut reader) = (gated.client(), gated.client());
    gated.prepare(&(0..300).map(|key| format!("SET {key} v\r\n")).collect::<String>());
    gated.prepare("CONFIG SET maxmemory-policy allkeys-lru\r\n");
    gated.hold();
    let sending = fill_the_log(&gated, &mut writer);
    reader.client.ask("CONFIG SET max-entries 10", "+OK\r\n");
    for _ in 0..100 {
        reader.client.ask("PING", "+PONG\r\n");
    }
    assert!(gated.db.hooks().is_backlogged());
    gated.release();
    writer.client.expect("+OK\r\n".repeat(1000));
    writer.client.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
    until("the store is within its limit", || {
        reader.client.send("DBSIZE\r\n");
        reader.client.line().trim_start_matches(':').parse::<u64>().unwrap() <= 10
    });
}

/// BGSAVE CANCEL of Valkey 8.1: the snapshot that is being written is given up, which is no failure, and the next one is written.
#[test]
fn a_snapshot_that_is_being_written_can_be_cancelled() {
    let gated = Gated::new();
    let mut client = Client::of(&gated.server);
    let none = "-ERR Background saving is currently not in progress or scheduled\r\n";
    client.ask("BGSAVE CANCEL", none);
    client.ask("BGSAVE CANCEL NOW", "-ERR syntax error\r\n");
    client.ask("SET a 1", "+OK\r\n");
    gated.hold();
    // A snapshot waits for what is in the log.
    let mut writer = gated.client();
    writer.client.send("SET b 1\r\n");
    until("the write is in the log", || gated.db.hooks().durable_lsn() < gated.db.hooks().last_lsn());
    client.ask("BGSAVE", "+Background saving started\r\n");
    until("the snapshot is being written", || gated.db.snapshot_status().running);
    client.ask("BGSAVE CANCEL", "+Background saving cancelled\r\n");
    client.ask("BGSAVE CANCEL", none);
    gated.release();
    until("the snapshot was given up", || !gated.db.snapshot_status().running);
    let status = gated.db.snapshot_status();
    assert_eq!((status.saves, status.last_error), (0, None));
    let files = std::fs::read_dir(gated.dir.path().join("data")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("snapshot")).collect::<Vec<_>>(), Vec::<String>::new());
    client.ask("BGSAVE", "+Background saving started\r\n");
    until("the next snapshot is written", || gated.db.snapshot_status().saves == 1);
    client.ask("BGSAVE CANCEL", none);
}
