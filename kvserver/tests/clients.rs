//! What one connection may do to others and to itself: CLIENT KILL, PAUSE, REPLY, and RESET.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use kvcore::Db;
use support::{Client, serve};

/// The number the server gave a client.
fn id_of(client: &mut Client) -> String {
    client.send("CLIENT ID\r\n");
    client.line().trim_start_matches(':').to_owned()
}

/// Asks until INFO says that so many clients wait.
fn wait_for_waiting(client: &mut Client, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        client.send("INFO clients\r\n");
        if client.bulk().contains(&format!("blocked_clients:{count}\r\n")) {
            return;
        }
        assert!(Instant::now() < deadline, "{count} clients never waited");
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_client_is_gone_when_the_killer_has_its_answer() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut killer = Client::of(&server);
    let own = id_of(&mut killer);
    for by in ["ID", "ADDR", "old"] {
        // One a loop.
        let mut victims = [Client::of(&server), Client::of(&server)];
        for victim in &mut victims {
            let id = id_of(victim);
            let address = victim.stream().local_addr().unwrap();
            match by {
                "ID" => killer.ask(&format!("CLIENT KILL ID {id} SKIPME no"), ":1\r\n"),
                "ADDR" => killer.ask(&format!("CLIENT KILL ADDR {address} TYPE normal"), ":1\r\n"),
                _ => killer.ask(&format!("CLIENT KILL {address}"), "+OK\r\n"),
            }
            killer.ask(&format!("CLIENT LIST ID {id}"), "$0\r\n\r\n");
            killer.ask(&format!("CLIENT KILL ID {id}"), ":0\r\n");
            victim.expect_end();
        }
    }
    let mut subscriber = Client::of(&server);
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let bystander = Client::of(&server);
    killer.ask("CLIENT KILL TYPE pubsub", ":1\r\n");
    subscriber.expect_end();
    killer.ask("CLIENT KILL MAXAGE 1000", ":0\r\n");
    killer.ask("CLIENT KILL USER default", ":1\r\n");
    drop(bystander);
    killer.ask(&format!("CLIENT KILL ID {own}"), ":0\r\n");
    killer.ask(&format!("CLIENT KILL ID {own} SKIPME no"), ":1\r\n");
    killer.expect_end();
}

#[test]
fn kill_refuses_what_it_does_not_understand() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    for (request, error) in [
        ("client kill", "ERR wrong number of arguments for 'client|kill' command"),
        ("client kill 1.2.3.4:5", "ERR No such client"),
        ("client kill id 10 type", "ERR syntax error"),
        ("client kill id 0", "ERR client-id should be greater than 0"),
        ("client kill id str", "ERR client-id should be greater than 0"),
        ("client kill type nope", "ERR Unknown client type 'nope'"),
        ("client kill user nope", "ERR No such user 'nope'"),
        ("client kill skipme maybe", "ERR syntax error"),
        ("client kill maxage x", "ERR maxage is not an integer or out of range"),
        ("client kill maxage 0", "ERR maxage should be greater than 0"),
        ("client kill what 1", "ERR syntax error"),
        ("client pause x", "ERR timeout is not an integer or out of range"),
        ("client pause -1", "ERR timeout is negative"),
        ("client pause 1 never", "ERR CLIENT PAUSE mode must be WRITE or ALL"),
        ("client reply maybe", "ERR syntax error"),
        ("client no-evict maybe", "ERR syntax error"),
        ("client no-touch maybe", "ERR syntax error"),
        ("client unblock x", "ERR value is not an integer or out of range"),
        ("client unblock 1 why", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    ] {
        client.ask(request, format!("-{error}\r\n"));
    }
    client.ask("client unblock 1", ":0\r\n");
}

#[test]
fn a_pause_of_writes_holds_writers_and_nobody_else() {
    let db = Db::in_memory();
    let server = serve(&db);
    db.set("k", "before").unwrap();
    let mut admin = Client::of(&server);
    admin.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
    let mut writers: Vec<Client> = (0..4).map(|_| Client::of(&server)).collect();
    for (number, writer) in writers.iter_mut().enumerate() {
        // What comes before is answered at once, what comes behind waits as well.
        writer.send("GET k\r\nSET k after\r\nGET k\r\n");
        writer.expect("$6\r\nbefore\r\n");
        wait_for_waiting(&mut admin, number + 1);
    }
    admin.ask("SET k", "-ERR wrong number of arguments for 'set' command\r\n");
    admin.ask("GET k", "$6\r\nbefore\r\n");
    let mut gone = Client::of(&server);
    gone.send("SET gone 1\r\n");
    wait_for_waiting(&mut admin, 5);
    drop(gone);
    wait_for_waiting(&mut admin, 4);
    admin.ask("CLIENT UNPAUSE", "+OK\r\n");
    for writer in &mut writers {
        writer.expect("+OK\r\n$5\r\nafter\r\n");
    }
    admin.ask("EXISTS gone", ":0\r\n");
    wait_for_waiting(&mut admin, 0);
}

#[test]
fn a_pause_starts_behind_its_transaction_and_ends_by_itself() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut admin = Client::of(&server);
    let mut other = Client::of(&server);
    admin.ask("MULTI", "+OK\r\n");
    for request in ["SET a 1", "CLIENT PAUSE 300 ALL", "SET b 1"] {
        admin.ask(request, "+QUEUED\r\n");
    }
    let began = Instant::now();
    admin.ask("EXEC", "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    other.ask("MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn nothing_expires_during_a_pause() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut admin = Client::of(&server);
    let expired = |admin: &mut Client| {
        admin.send("INFO stats\r\n");
        let stats = admin.bulk();
        stats.lines().find(|line| line.starts_with("expired_keys:")).unwrap().to_owned()
    };
    admin.send("MULTI\r\nSET a 1 PX 10\r\nSET b 1 PX 10\r\nCLIENT PAUSE 100000 WRITE\r\nEXEC\r\n");
    admin.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    // Long after the deadlines, by the clock that they are compared with.
    let passed = db.now_ms() + 300;
    wait_until(|| db.now_ms() > passed);
    assert_eq!(db.sweep(), 0, "a sweep removes nothing");
    admin.ask("MGET a b", "*2\r\n$-1\r\n$-1\r\n");
    assert_eq!(expired(&mut admin), "expired_keys:0");
    admin.ask("CLIENT UNPAUSE", "+OK\r\n");
    admin.ask("MGET a b", "*2\r\n$-1\r\n$-1\r\n");
    assert_eq!(expired(&mut admin), "expired_keys:2");
    admin.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
    drop(admin);
    server.shutdown().unwrap();
    db.set_with("c", "1", kvcore::SetOptions::new().expires_in(Duration::from_millis(1))).unwrap();
    let passed = db.now_ms() + 300;
    wait_until(|| db.now_ms() > passed);
    assert_eq!(db.sweep(), 1, "the store outlives the pause");
}

#[test]
fn a_stopping_server_does_not_wait_for_a_pause() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("CLIENT PAUSE 100000 ALL", "+OK\r\n");
    client.send("SET k v\r\n");
    let began = Instant::now();
    server.shutdown().unwrap();
    assert!(began.elapsed() < Duration::from_secs(4));
    client.expect_end();
}

#[test]
fn replies_can_be_turned_off_and_skipped() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    let mut publisher = Client::of(&server);
    client.send("CLIENT REPLY SKIP\r\nSET a 1\r\n");
    client.ask("GET a", "$1\r\n1\r\n");
    client.send("CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\n");
    client.expect("+OK\r\n");
    client.send("HELLO 3\r\n");
    client.reply_lines(26);
    client.ask("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    client.send("CLIENT REPLY OFF\r\nINCR a\r\nNOPE\r\nMULTI\r\nINCR a\r\nEXEC\r\nCLIENT REPLY SKIP\r\nPING\r\n");
    // What is pushed is no reply.
    publisher.ask("PUBLISH c m", ":1\r\n");
    client.expect(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
    client.ask("CLIENT REPLY ON", "+OK\r\n");
    client.ask("GET a", "$1\r\n3\r\n");
}

#[test]
fn reset_takes_a_connection_back_to_its_beginning() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.send("HELLO 3 SETNAME me\r\nSELECT 3\r\nCLIENT NO-TOUCH on\r\n");
    client.reply_lines(26);
    client.expect("+OK\r\n+OK\r\n");
    client.ask("WATCH k", "+OK\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("SET k v", "+QUEUED\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("EXEC", "-ERR EXEC without MULTI\r\n");
    client.ask("GET k", "$-1\r\n");
    client.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.send("CLIENT REPLY OFF\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("PUBLISH c m", ":0\r\n");
    client.send("CLIENT LIST\r\n");
    let shown = client.bulk();
    for field in [" name= ", " flags=N ", " db=0 ", " sub=0 ", " multi=-1 ", " qbuf=26 ", " argv-mem=10 ", " resp=2 "] {
        assert!(shown.contains(field), "{field} in {shown}");
    }
}

/// Which of some clients each filter chooses: as in Valkey 9.1.2, to which the same was sent.
#[test]
fn lists_and_kills_choose_by_every_filter() {
    let db = Db::in_memory();
    let server = serve(&db);
    let of = |requests: &str, replies: &str| {
        let mut client = Client::of(&server);
        client.ask(requests, replies);
        let id = id_of(&mut client);
        (client, id)
    };
    let (mut admin, a) = of("CLIENT SETNAME me", "+OK\r\n");
    let (mut victim, b) = of(
        "CLIENT SETNAME aa\r\nCLIENT SETINFO lib-name la\r\nCLIENT SETINFO lib-ver 1\r\nSELECT 3",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
    );
    let (mut in_multi, c) = of("CLIENT SETNAME bb\r\nCLIENT CAPA other redirect", "+OK\r\n+OK\r\n");
    in_multi.ask("MULTI", "+OK\r\n");
    let (_tracker, d) = of("CLIENT NO-TOUCH on\r\nCLIENT TRACKING on", "+OK\r\n+OK\r\n");
    let (mut subscriber, e) = of("CLIENT SETNAME sub", "+OK\r\n");
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let ids = [&a, &b, &c, &d, &e];
    let address = admin.stream().local_addr().unwrap();
    let listener = admin.stream().peer_addr().unwrap();
    let fill = |filter: &str| {
        let filter =
            ids.iter().zip('A'..).fold(filter.to_owned(), |text, (id, letter)| text.replace(&format!("${letter}"), id));
        filter.replace("$addr", &address.to_string()).replace("$laddr", &listener.to_string())
    };
    let mut list = |filter: &str| {
        admin.send(format!("CLIENT LIST {}\r\n", fill(filter)));
        let lines = admin.bulk();
        let id = |line: &str| line.split([' ', '=']).nth(1).unwrap_or_default().to_owned();
        let letter = |id: String| ids.iter().zip('A'..).find(|(own, _)| **own == &id).map_or('?', |(_, letter)| letter);
        lines.lines().filter(|line| !line.is_empty()).map(|line| letter(id(line))).collect::<String>()
    };
    for (filter, chosen) in [
        ("NAME aa", "B"),
        ("NAME nope", ""),
        ("NAME ''", ""),
        ("name aa db 3", "B"),
        ("NAME aa DB 0", ""),
        ("NAME aa NAME bb", "C"),
        ("NOT-NAME aa", "ACDE"),
        ("NOT-NAME ''", "ABCDE"),
        ("NOT-NAME aa NOT-NAME bb", "ABDE"),
        ("NAME aa NOT-NAME aa", ""),
        ("IDLE 1000", ""),
        ("MAXAGE 1000", ""),
        ("FLAGS N", "AB"),
        ("FLAGS P", "E"),
        ("FLAGS x", "C"),
        ("FLAGS tT", "D"),
        ("FLAGS Tt", "D"),
        ("FLAGS TtN", ""),
        ("FLAGS S", ""),
        ("FLAGS ''", "ABCDE"),
        ("NOT-FLAGS N", "CDE"),
        ("NOT-FLAGS tT", "ABCE"),
        ("LIB-NAME la", "B"),
        ("LIB-NAME ''", ""),
        ("NOT-LIB-NAME la", "ACDE"),
        ("LIB-VER 1", "B"),
        ("NOT-LIB-VER 1", "ACDE"),
        ("NOT-LIB-VER ''", "ABCDE"),
        ("DB 3", "B"),
        ("DB 15", ""),
        ("NOT-DB 3", "ACDE"),
        ("IP 127.0.0.1", "ABCDE"),
        ("IP 127.0.0", ""),
        ("NOT-IP 127.0.0.1", ""),
        ("NOT-IP 1.1.1.1", "ABCDE"),
        ("CAPA r", "C"),
        ("CAPA ''", "ABCDE"),
        ("NOT-CAPA r", "ABDE"),
        ("ID $A", "A"),
        ("ID $B $A", "BA"),
        ("ID $A $B NAME aa", "B"),
        ("ID $B ID $A", "AB"),
        ("ID 99999 SKIPME no", ""),
        ("NOT-ID $A", "BCDE"),
        ("NOT-ID $A $B", "CDE"),
        ("ID $A $B NOT-ID $A", "B"),
        ("USER default", "ABCDE"),
        ("NOT-USER default", ""),
        ("TYPE normal", "ABCD"),
        ("TYPE pubsub", "E"),
        ("TYPE primary", ""),
        ("NOT-TYPE normal", "E"),
        ("TYPE normal TYPE pubsub", "E"),
        ("ADDR $addr", "A"),
        ("NOT-ADDR $addr", "BCDE"),
        ("LADDR $laddr", "ABCDE"),
        ("NOT-LADDR $laddr", ""),
        ("SKIPME yes", "BCDE"),
        ("SKIPME no", "ABCDE"),
        ("SKIPME yes NAME me", ""),
    ] {
        assert_eq!(list(filter), chosen, "{filter}");
    }
    for (filter, error) in [
        ("IDLE 0", "ERR idle should be greater than 0"),
        ("IDLE x", "ERR idle is not an integer or out of range"),
        ("MAXAGE -1", "ERR maxage should be greater than 0"),
        ("FLAGS Nq", "ERR Unknown flags found in the provided filter: Nq"),
        ("NOT-FLAGS Q", "ERR Unknown flags found in the NOT-FLAGS filter: Q"),
        ("CAPA redirect", "ERR Unknown capa found in the provided filter: redirect"),
        ("NOT-CAPA x", "ERR Unknown capa found in the NOT-CAPA filter: x"),
        ("DB x", "ERR DB is not an integer or out of range"),
        ("DB 16", "ERR DB number should be between 0 and 15"),
        ("NOT-DB -1", "ERR NOT-DB number should be between 0 and 15"),
        ("NOT-ID 0", "ERR client-id should be greater than 0"),
        ("NOT-USER nobody", "ERR No such user 'nobody'"),
        ("NOT-TYPE x", "ERR Unknown client type 'x'"),
        ("NOT-IDLE 1", "ERR syntax error"),
        ("NOT-MAXAGE 1", "ERR syntax error"),
        ("NOT-SKIPME yes", "ERR syntax error"),
        ("NAME", "ERR syntax error"),
        ("NAME aa foo", "ERR syntax error"),
        ("ID $A foo", "ERR Invalid client ID"),
        ("ID $A foo bar", "ERR syntax error"),
    ] {
        admin.ask(&format!("CLIENT LIST {}", fill(filter)), format!("-{error}\r\n"));
        if !filter.starts_with("ID") && filter != "NAME" {
            admin.ask(&format!("CLIENT KILL {}", fill(filter)), format!("-{error}\r\n"));
        }
    }
    admin.ask("CLIENT KILL NAME nope", ":0\r\n");
    admin.ask(&fill("CLIENT KILL ID $A $B $C FLAGS P"), ":0\r\n");
    admin.ask(&fill("CLIENT KILL ID $A $B $E FLAGS N"), ":1\r\n");
    victim.expect_end();
    admin.ask("CLIENT KILL CAPA r DB 0", ":1\r\n");
    in_multi.expect_end();
    admin.ask("CLIENT KILL NOT-FLAGS N NOT-TYPE pubsub", ":1\r\n");
    admin.ask("CLIENT KILL NOT-NAME other", ":1\r\n");
    subscriber.expect_end();
}
