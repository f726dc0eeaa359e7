//! Client-side caching: what clients are told, in RESP2 and RESP3, and when.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kvcore::{Db, ManualClock, Options, SetOptions};
use support::{Client, serve};

const LINES_OF_HELLO: usize = 26;

/// A client that speaks RESP3 and tracks as told.
fn tracking(server: &kvserver::Server, options: &str) -> Client {
    let mut client = Client::of(server);
    client.send("HELLO 3\r\n");
    client.reply_lines(LINES_OF_HELLO);
    client.ask(&format!("CLIENT TRACKING ON {options}"), "+OK\r\n");
    client
}

fn stale(keys: &[&str]) -> String {
    let keys: String = keys.iter().map(|key| format!("${}\r\n{key}\r\n", key.len())).collect::<Vec<_>>().concat();
    let count = keys.matches('$').count();
    format!(">2\r\n$10\r\ninvalidate\r\n*{count}\r\n{keys}")
}

const ALL_STALE: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// The number the server gave a client.
fn id_of(client: &mut Client) -> u64 {
    client.send("CLIENT ID\r\n");
    client.line().trim_start_matches(':').parse().unwrap()
}

#[test]
fn a_reader_hears_of_changes_of_every_origin_once() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut other = Client::of(&server);
    // One a loop.
    for mut reader in [tracking(&server, ""), tracking(&server, "")] {
        for (change, reply) in [
            ("SET k 1", "+OK\r\n"),
            ("INCR k", ":2\r\n"),
            ("EXPIRE k 100", ":1\r\n"),
            ("PERSIST k", ":1\r\n"),
            ("RENAME k k2", "+OK\r\n"),
            ("RENAME k2 k", "+OK\r\n"),
            ("DEL k", ":1\r\n"),
            ("MSET k 1 l 2", "+OK\r\n"),
        ] {
            reader.send("EXISTS k\r\n");
            reader.line();
            other.ask(change, reply);
            reader.expect(stale(&["k"]));
            other.ask("APPEND unread x", format!("{}\r\n", append_reply(&db)));
        }
        reader.ask("GET k", "$1\r\n1\r\n");
        db.set("k", "embedded").unwrap();
        reader.expect(stale(&["k"]));
        reader.ask("GET k", "$8\r\nembedded\r\n");
        db.set_with("k", "1", SetOptions::new().expires_in(Duration::from_secs(1))).unwrap();
        reader.expect(stale(&["k"]));
        // Long before: who reads what has expired already is told by the answer, and no more.
        reader.ask("GET k", "$1\r\n1\r\n");
        // Its deadline passes, and the sweep tells.
        reader.expect(stale(&["k"]));
        reader.ask("PING", "+PONG\r\n");
    }
}

/// How long the value of `unread` is about to become.
fn append_reply(db: &Db) -> String {
    format!(":{}", db.get("unread").unwrap().map_or(0, |value| value.len()) + 1)
}

#[test]
fn a_flush_makes_everything_stale() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut other = Client::of(&server);
    let mut reader = tracking(&server, "");
    for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
        // What is not there is read, too.
        reader.ask("GET k", "_\r\n");
        other.ask(flush, "+OK\r\n");
        reader.expect(ALL_STALE);
        other.ask("SET k v", "+OK\r\n");
        other.ask("DEL k", ":1\r\n");
    }
    reader.ask("FLUSHALL", format!("+OK\r\n{ALL_STALE}"));
    db.set("k", "v").unwrap();
    db.clear_all().unwrap();
    reader.expect(ALL_STALE);
    reader.ask("PING", "+PONG\r\n");
}

#[test]
fn what_a_client_did_itself_is_told_behind_the_reply() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = tracking(&server, "");
    client.ask("MSET a 1 b 2", "+OK\r\n");
    client.ask("MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    client.ask("INCR a", format!(":2\r\n{}", stale(&["a"])));
    client.send("MULTI\r\nINCR b\r\nGET a\r\nEXEC\r\nPING\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:3\r\n$1\r\n2\r\n");
    client.expect(stale(&["b"]));
    client.expect("+PONG\r\n");
    // It read `c` only after it had written it, so it holds what it wrote; it read `d` before.
    client.send("MULTI\r\nSET c 1\r\nGET c\r\nGET d\r\nSET d 1\r\nEXEC\r\nPING\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n$1\r\n1\r\n_\r\n+OK\r\n");
    client.expect(stale(&["d"]) + "+PONG\r\n");
    client.ask("SET c 2", format!("+OK\r\n{}", stale(&["c"])));
    let mut silent = tracking(&server, "NOLOOP");
    silent.ask("GET a", "$1\r\n2\r\n");
    silent.ask("INCR a", ":3\r\n");
    silent.ask("GET b", "$1\r\n3\r\n");
    client.ask("PING", format!("{}+PONG\r\n", stale(&["a"])));
    client.ask("INCR b", ":4\r\n");
    silent.expect(stale(&["b"]));
    silent.ask("PING", "+PONG\r\n");
}

#[test]
fn broadcasts_go_by_prefix_whoever_read() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut other = Client::of(&server);
    let mut client = tracking(&server, "BCAST PREFIX a: PREFIX b:");
    other.ask("MSET a:2 1 c 1 b:1 1 a:1 1", "+OK\r\n");
    client.expect(stale(&["a:1", "a:2"]) + &stale(&["b:1"]));
    client.ask("CLIENT TRACKING ON BCAST PREFIX c", "+OK\r\n");
    client.ask("INCR c", format!(":2\r\n{}", stale(&["c"])));
    client.ask("CLIENT TRACKING OFF", "+OK\r\n");
    client.ask("CLIENT TRACKING ON BCAST NOLOOP", "+OK\r\n");
    client.ask("INCR c", ":3\r\n");
    other.ask("INCR c", ":4\r\n");
    client.expect(stale(&["c"]));
    client.ask(
        "CLIENT TRACKINGINFO",
        "%3\r\n$5\r\nflags\r\n~3\r\n$2\r\non\r\n$5\r\nbcast\r\n$6\r\nnoloop\r\n$8\r\nredirect\r\n:0\r\n\
         $8\r\nprefixes\r\n*1\r\n$0\r\n\r\n",
    );
}

#[test]
fn clients_choose_which_reads_count() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut other = Client::of(&server);
    let (mut opt_in, mut opt_out) = (tracking(&server, "OPTIN"), tracking(&server, "OPTOUT"));
    other.ask("MSET a 1 b 1", "+OK\r\n");
    opt_in.ask("GET a", "$1\r\n1\r\n");
    opt_in.ask("CLIENT CACHING YES", "+OK\r\n");
    opt_in.ask("GET b", "$1\r\n1\r\n");
    opt_out.ask("GET a", "$1\r\n1\r\n");
    opt_out.ask("CLIENT CACHING NO", "+OK\r\n");
    opt_out.ask("GET b", "$1\r\n1\r\n");
    other.ask("MSET a 2 b 2", "+OK\r\n");
    opt_in.expect(stale(&["b"]));
    opt_out.expect(stale(&["a"]));
    // It announces a whole transaction.
    opt_in.send("CLIENT CACHING YES\r\nMULTI\r\nGET a\r\nGET b\r\nEXEC\r\nGET c\r\n");
    opt_in.expect("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$1\r\n2\r\n$1\r\n2\r\n_\r\n");
    other.ask("MSET c 1 a 1", "+OK\r\n");
    opt_in.expect(stale(&["a"]));
    opt_in
        .ask("CLIENT CACHING NO", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.\r\n");
}

#[test]
fn messages_can_be_redirected_until_the_receiver_is_gone() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut other = Client::of(&server);
    let mut receivers = [Client::of(&server), Client::of(&server)];
    for receiver in &mut receivers {
        let id = id_of(receiver);
        receiver
            .ask("SUBSCRIBE __redis__:invalidate", "*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n");
        let mut client = tracking(&server, &format!("REDIRECT {id}"));
        client.ask("CLIENT GETREDIR", format!(":{id}\r\n"));
        client.ask("GET k", "_\r\n");
        other.ask("SET k 1", "+OK\r\n");
        receiver.expect("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
        other.ask("FLUSHALL", "+OK\r\n");
        receiver.expect("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
        client.ask("GET k", "_\r\n");
        receiver.ask("QUIT", "+OK\r\n");
        receiver.expect_end();
        other.ask("SET k 1", "+OK\r\n");
        client.expect(format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
        client.send("CLIENT TRACKINGINFO\r\n");
        assert!(client.reply_lines(14).contains(&"broken_redirect".to_owned()));
        client.ask("CLIENT TRACKING OFF", "+OK\r\n");
        client.ask("CLIENT GETREDIR", ":-1\r\n");
        other.ask("DEL k", ":1\r\n");
    }
}

#[test]
fn tracking_refuses_what_does_not_go_together() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    let not_tracking =
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";
    let switch = |what: &str| {
        format!(
            "ERR You can't switch {what} before disabling tracking for this client, and then re-enabling it with a \
             different mode."
        )
    };
    for (request, error) in [
        ("tracking maybe", "ERR syntax error".to_owned()),
        ("tracking on nope", "ERR syntax error".to_owned()),
        ("tracking on redirect", "ERR syntax error".to_owned()),
        ("tracking on redirect x", "ERR value is not an integer or out of range".to_owned()),
        ("tracking on redirect 999", "ERR The client ID you want redirect to does not exist".to_owned()),
        ("tracking on redirect 1 redirect 1", "ERR A client can only redirect to a single other client".to_owned()),
        ("tracking on prefix a", "ERR PREFIX option requires BCAST mode to be enabled".to_owned()),
        ("tracking on bcast optin", "ERR OPTIN and OPTOUT are not compatible with BCAST".to_owned()),
        ("tracking on optin optout", "ERR You can't specify both OPTIN mode and OPTOUT mode".to_owned()),
        (
            "tracking on bcast prefix ab prefix a",
            "ERR Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap."
                .to_owned(),
        ),
        ("caching yes", not_tracking.to_owned()),
        ("tracking on bcast prefix b", String::new()),
        (
            "tracking on bcast prefix bc",
            "ERR Prefix 'bc' overlaps with an existing prefix 'b'. Prefixes for a single client must not overlap."
                .to_owned(),
        ),
        ("tracking on", switch("BCAST mode on/off")),
        ("caching yes", "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.".to_owned()),
        ("tracking off", String::new()),
        ("tracking on optin", String::new()),
        ("tracking on optout", switch("OPTIN/OPTOUT mode")),
        ("caching maybe", "ERR syntax error".to_owned()),
    ] {
        let reply = if error.is_empty() { "+OK\r\n".to_owned() } else { format!("-{error}\r\n") };
        client.ask(&format!("client {request}"), reply);
    }
}

#[test]
fn the_table_is_bounded_and_its_figures_are_shown() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut admin = Client::of(&server);
    let mut client = tracking(&server, "");
    let mut leaving = tracking(&server, "BCAST PREFIX p");
    for number in 0..20 {
        client.ask(&format!("GET key{number}"), "_\r\n");
    }
    let figures = |admin: &mut Client| {
        admin.send("INFO everything\r\n");
        let info = admin.bulk();
        let mut lines: Vec<String> =
            info.lines().filter(|line| line.starts_with("tracking_")).map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(
        figures(&mut admin),
        "tracking_clients:2 tracking_total_items:20 tracking_total_keys:20 tracking_total_prefixes:1"
    );
    admin.ask("CONFIG SET tracking-table-max-keys 5", "+OK\r\n");
    // A message for each key that is forgotten: five lines and the key's two.
    let told = client.reply_lines(15 * 6);
    assert_eq!(told.iter().filter(|line| line.starts_with("key")).count(), 15);
    client.ask("PING", "+PONG\r\n");
    leaving.ask("RESET", "+RESET\r\n");
    client.ask("CLIENT TRACKING OFF", "+OK\r\n");
    assert_eq!(
        figures(&mut admin),
        "tracking_clients:0 tracking_total_items:0 tracking_total_keys:0 tracking_total_prefixes:0"
    );
}

/// That a key expires is nobody's doing, not even of the client whose command finds it so.
#[test]
fn a_client_without_loops_hears_of_keys_that_expire_in_its_own_commands() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let db = Options::new().clock(clock.clone()).in_memory().unwrap();
    let server = serve(&db);
    let mut client = tracking(&server, "NOLOOP");
    for (read, missing) in [("GET k", "_\r\n"), ("EXISTS k", ":0\r\n"), ("GETDEL k", "_\r\n")] {
        client.ask("SET k v PX 1000", "+OK\r\n");
        client.ask("GET k", "$1\r\nv\r\n");
        clock.advance(2_000);
        client.ask(read, missing);
        client.expect(stale(&["k"]));
        client.ask("PING", "+PONG\r\n");
    }
}

#[test]
fn a_change_between_reads_on_other_loops_is_never_missed() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut readers = [tracking(&server, ""), tracking(&server, "")];
    let writer = {
        let db = db.clone();
        std::thread::spawn(move || {
            for number in 0..2000 {
                db.set("k", number.to_string()).unwrap();
            }
        })
    };
    for reader in &mut readers {
        // As a cache does: it reads when it is told that what it holds is stale, and never otherwise.
        loop {
            reader.send("GET k\r\n");
            let mut line = reader.line();
            while line.starts_with('>') {
                reader.reply_lines(5);
                line = reader.line();
            }
            let value = if line == "_" { String::new() } else { reader.line() };
            if value == "1999" {
                break;
            }
            assert_eq!(reader.line(), ">2", "told of the change of {value:?}");
            reader.reply_lines(5);
        }
    }
    writer.join().unwrap();
}

/// Each server looks up what the other changes, too, and names the events of it: a store may serve several.
#[test]
fn two_servers_of_one_store_notify_their_own_clients() {
    let db = Db::in_memory();
    let servers = [serve(&db), serve(&db)];
    let mut trackers = servers.each_ref().map(|server| tracking(server, ""));
    let mut subscribers = servers.each_ref().map(|server| {
        let mut subscriber = Client::of(server);
        subscriber.ask("CONFIG SET notify-keyspace-events EA", "+OK\r\n");
        subscriber.send("PSUBSCRIBE __keyevent@0__:*\r\n");
        subscriber.reply_lines(6);
        subscriber
    });
    for tracker in &mut trackers {
        tracker.ask("GET k", "_\r\n");
    }
    let mut writer = Client::of(&servers[0]);
    writer.ask("APPEND k v", ":1\r\n");
    for tracker in &mut trackers {
        tracker.expect(stale(&["k"]));
    }
    let event = |name: &str| {
        format!(
            "*4\r\n$8\r\npmessage\r\n$16\r\n__keyevent@0__:*\r\n${}\r\n__keyevent@0__:{name}\r\n$1\r\nk\r\n",
            name.len() + 15
        )
    };
    // The other server knows no more than that there is a value.
    subscribers[0].expect(event("append"));
    subscribers[1].expect(event("set"));
}
