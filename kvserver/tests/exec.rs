//! Commands inside EXEC go by what those before them changed of the server and the session, as in Redis.
//!
//! Invariant: the expected replies are those of Redis 7.0.15 to the same requests, except where a test says otherwise; and they are
//! the same if the store runs each transaction twice. (What a parameter changes for the commands before CONFIG SET is the exception:
//! a second run goes by it from its beginning.)

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use kvcore::Db;
use kvserver::Server;
use support::{Client, serve};

const DENIED: &str = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
    is no longer allowed for the following reason: no permission to execute the command or subcommand\r\n";

/// Returns two servers; the store of one runs each transaction twice.
fn servers() -> [Server; 2] {
    [false, true].map(|twice| {
        let db = Db::in_memory();
        db.hooks().run_bodies_twice(twice);
        serve(&db)
    })
}

/// Queues commands, and expects these replies of EXEC.
#[track_caller]
fn exec(client: &mut Client, commands: &[&str], replies: &[&str]) {
    client.ask("MULTI", "+OK\r\n");
    commands.iter().for_each(|command| client.ask(command, "+QUEUED\r\n"));
    client.ask("EXEC", format!("*{}\r\n{}", replies.len(), replies.concat()));
}

/// A client that speaks RESP3.
fn resp3(server: &Server) -> Client {
    let mut client = Client::of(server);
    client.send("HELLO 3\r\nECHO end\r\n");
    client.until("end\r\n");
    client
}

/// Has another client change `k`, of which `client` is sent this.
#[track_caller]
fn expect_stale(server: &Server, client: &mut Client) {
    Client::of(server).ask("SET k changed", "+OK\r\n");
    client.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
}

#[test]
fn parameters_hold_for_the_commands_behind_them() {
    let server = serve(&Db::in_memory());
    let mut client = Client::of(&server);
    client.ask("SET k v", "+OK\r\n");
    let commands = [
        "CONFIG SET maxmemory-policy allkeys-lfu",
        "OBJECT FREQ k",
        "CONFIG SET maxmemory-policy noeviction",
        "CONFIG GET maxmemory-policy",
    ];
    // The counter of a key that LFU has just begun to count; Redis shows 0 for one that it set before.
    let replies = ["+OK\r\n", ":5\r\n", "+OK\r\n", "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"];
    exec(&mut client, &commands, &replies);
}

#[test]
fn keyspace_events_are_sent_from_where_they_are_switched_on() {
    let server = serve(&Db::in_memory());
    let mut subscriber = Client::of(&server);
    subscriber.ask("PSUBSCRIBE __keyevent@0__:*", "*3\r\n$10\r\npsubscribe\r\n$16\r\n__keyevent@0__:*\r\n:1\r\n");
    let commands = ["SET before 1", "CONFIG SET notify-keyspace-events KEA", "SET behind 1"];
    exec(&mut Client::of(&server), &commands, &["+OK\r\n"; 3]);
    subscriber
        .expect("*4\r\n$8\r\npmessage\r\n$16\r\n__keyevent@0__:*\r\n$18\r\n__keyevent@0__:set\r\n$6\r\nbehind\r\n");
}

#[test]
fn rights_and_passwords_hold_for_the_commands_behind_them() {
    for server in servers() {
        let mut client = Client::of(&server);
        let commands = [
            "ACL SETUSER bob on >old ~* +@all",
            "ACL SETUSER bob <old >new",
            "AUTH bob old",
            "AUTH bob new",
            "ACL SETUSER bob -set -config",
            "SET k v",
            "CONFIG SET maxclients 999",
            "ACL WHOAMI",
        ];
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        let replies = ["+OK\r\n", "+OK\r\n", wrong, "+OK\r\n", "+OK\r\n", DENIED, DENIED, "$3\r\nbob\r\n"];
        exec(&mut client, &commands, &replies);
        client.ask("ACL WHOAMI", "$3\r\nbob\r\n");
        client.ask("EXISTS k", ":0\r\n");
        client.send("ACL LOG\r\nECHO end\r\n");
        let log = client.until("end\r\n");
        assert_eq!(log.matches("$5\r\ncount\r\n:1\r\n").count(), 3, "one for each that was refused: {log}");
    }
}

#[test]
fn a_command_shows_the_session_at_its_place() {
    for server in servers() {
        let mut client = Client::of(&server);
        client.ask("MULTI", "+OK\r\n");
        for command in ["SELECT 3", "CLIENT INFO", "SELECT 4", "CLIENT SETNAME me", "CLIENT INFO", "CLIENT GETNAME"] {
            client.ask(command, "+QUEUED\r\n");
        }
        client.send("EXEC\r\nECHO end\r\n");
        let replies = client.until("end\r\n");
        let shown: Vec<&str> = replies.lines().filter(|line| line.starts_with("id=")).collect();
        assert!(
            matches!(shown[..], [first, second]
        if first.contains(" name= ") && first.contains(" db=3 ") && second.contains(" name=me ") && second.contains(" db=4 ")),
            "{shown:#?}"
        );
        assert!(replies.contains("$2\r\nme\r\n"), "{replies:?}");
    }
}

#[test]
fn keys_read_behind_tracking_on_are_tracked() {
    for server in servers() {
        for (before, commands) in [
            ("CLIENT TRACKING OFF", &["CLIENT TRACKING ON", "GET k"][..]),
            ("CLIENT TRACKING ON OPTIN", &["CLIENT TRACKING ON", "GET k"]),
            ("CLIENT TRACKING OFF", &["CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES", "GET k"]),
            ("CLIENT TRACKING ON OPTIN", &["CLIENT CACHING YES", "GET k"]),
        ] {
            let mut client = resp3(&server);
            Client::of(&server).ask("SET k v", "+OK\r\n");
            client.ask(before, "+OK\r\n");
            let replies: Vec<&str> =
                commands.iter().map(|command| if *command == "GET k" { "$1\r\nv\r\n" } else { "+OK\r\n" }).collect();
            exec(&mut client, commands, &replies);
            expect_stale(&server, &mut client);
        }
    }
}

#[test]
fn keys_read_behind_tracking_on_are_tracked_for_the_client_that_is_redirected_to() {
    for server in servers() {
        let (mut client, mut receiver) = (resp3(&server), resp3(&server));
        receiver.send("CLIENT ID\r\n");
        let id = receiver.line().trim_start_matches(':').to_owned();
        exec(&mut client, &[&format!("CLIENT TRACKING ON REDIRECT {id}"), "GET k"], &["+OK\r\n", "_\r\n"]);
        expect_stale(&server, &mut receiver);
    }
}

/// Redis undoes nothing: there no EXEC fails that has begun.
#[test]
fn what_concerns_the_server_stays_when_the_store_refuses_the_transaction() {
    for server in servers() {
        let mut client = Client::of(&server);
        client.ask("ACL SETUSER bob on nopass ~* +@all -get", "+OK\r\n");
        client.ask("SET first 1", "+OK\r\n");
        client.ask("CONFIG SET max-entries 1 maxmemory-policy noeviction", "+OK\r\n");
        client.ask("MULTI", "+OK\r\n");
        for command in ["CLIENT SETNAME me", "SELECT 3", "AUTH bob x", "GET first", "HELLO 3", "SET second 1"] {
            client.ask(command, "+QUEUED\r\n");
        }
        client.send("EXEC\r\n");
        let reply = client.line();
        assert!(reply.starts_with("-OOM"), "{reply}");
        // The session is what it was.
        client.ask("ACL WHOAMI", "$7\r\ndefault\r\n");
        client.ask("CLIENT GETNAME", "$2\r\nme\r\n");
        client.send("CLIENT INFO\r\nACL LOG\r\nECHO end\r\n");
        let shown = client.until("end\r\n");
        assert!(shown.contains(" db=0 ") && shown.contains(" user=default ") && shown.contains(" resp=2"), "{shown}");
        assert!(
            shown.contains("$3\r\nbob\r\n") && shown.contains("$3\r\nget\r\n"),
            "the refusal is in the log: {shown}"
        );
    }
}
