//! The client library against a real server: every method of `kvclient::Client`, over RESP2, RESP3 and each style of the
//! line protocol, and over a restart of the server.
//!
//! Invariant: a method has the same results over each of them, or says that the line protocol cannot do it.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvclient::{Address, Client, Error, Expiry, Options, Outcome, Reconnect, Reply, Result, SetOptions, Ttl, Version};
use kvtests::process::{Launch, ServerProcess, Signal};
use kvtests::server_program;
use kvtests::wait;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3_600);
const STYLES: [&str; 3] = ["terse", "plain", "verbose"];

fn options(version: Version) -> Options {
    Options { version, reply_timeout: Some(wait::PATIENCE), ..Options::default() }
}

fn connect(address: &str, version: Version) -> Client {
    let address: Address = address.parse().expect("an address");
    Client::connect_with(&address, options(version)).expect("a client")
}

/// A server with a listener of each kind, and a client of each.
fn clients(dir: &TempDir) -> (ServerProcess, Vec<(String, Client)>) {
    let mut launch = Launch::new(server_program!(), dir.path()).resp();
    for style in STYLES {
        launch = launch.line(style);
    }
    let server = launch.start();
    let resp = format!("redis://{}", server.address(0));
    let mut clients = vec![
        ("RESP2".to_owned(), connect(&resp, Version::Resp2)),
        ("RESP3".to_owned(), connect(&resp, Version::Resp3)),
    ];
    for (index, style) in (1..).zip(STYLES) {
        let address = format!("line://{}", server.address(index));
        clients.push((style.to_owned(), connect(&address, Version::Resp2)));
    }
    (server, clients)
}

/// Over RESP the result must be as given; a line cannot show it, and says so.
#[track_caller]
fn only_resp<T: Debug + PartialEq>(is_line: bool, result: Result<T>, wanted: T) {
    match result {
        Err(error @ Error::LineProtocol { .. }) if is_line => assert_eq!(error.outcome(), Outcome::NotSent),
        result => {
            assert!(!is_line, "the line protocol has it: {result:?}");
            assert_eq!(result.expect("a result"), wanted);
        }
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn values(client: &mut Client, is_line: bool) -> Result<()> {
    client.set("k", "v")?;
    assert_eq!(client.get::<String>("k")?, some("v"));
    assert_eq!(client.get::<Vec<u8>>("missing")?, None);
    assert!(!client.set_with("k", "w", &SetOptions::new().if_absent())?);
    assert!(client.set_with("k", "w", &SetOptions::new().if_present().expire_in(HOUR))?);
    assert!(client.set_with("k", "x", &SetOptions::new().keep_ttl())?);
    assert!(matches!(client.ttl("k")?, Ttl::In(left) if left <= HOUR));
    assert!(client.set_with("k", "x", &SetOptions::new().expire_at(SystemTime::now() + HOUR))?);
    client.set_ex("e", "5", HOUR)?;
    assert!(matches!(client.ttl("e")?, Ttl::In(left) if left <= HOUR));
    assert!(client.set_nx("nx", "1")? && !client.set_nx("nx", "2")?);
    assert_eq!(client.mset([("a", "1"), ("b", "2")])?, 2);
    assert_eq!(client.mset::<&str, &str>([])?, 0);
    assert_eq!(client.mget::<i64>(["a", "missing", "b"])?, [Some(1), None, Some(2)]);
    assert_eq!(client.mget::<i64>([""; 0])?, []);
    assert!(client.mset_nx([("c", "1")])? && !client.mset_nx([("c", "2"), ("d", "2")])?);
    assert_eq!((client.append("log", "one")?, client.append("log", "two")?), (3, 6));
    assert_eq!((client.strlen("log")?, client.strlen("missing")?), (6, 0));
    assert_eq!(client.set_range("log", 3, "TWO")?, 6);
    assert_eq!(client.get::<String>("log")?, some("oneTWO"));
    only_resp(is_line, client.get_range::<String>("log", -3, -1), "TWO".to_owned());
    only_resp(is_line, client.get_set::<String>("log", "new"), some("oneTWO"));
    only_resp(is_line, client.get_ex::<String>("log", Expiry::In(HOUR)), some("new"));
    only_resp(is_line, client.get_ex::<String>("log", Expiry::At(SystemTime::now() + HOUR)), some("new"));
    only_resp(is_line, client.get_ex::<String>("log", Expiry::Never), some("new"));
    only_resp(is_line, client.get_del::<String>("log"), some("new"));
    client.delete("log").map(drop)
}

fn numbers(client: &mut Client) -> Result<()> {
    assert_eq!((client.incr("n")?, client.incr_by("n", 10)?, client.incr_by("n", -1)?), (1, 11, 10));
    assert_eq!((client.decr("n")?, client.decr_by("n", 4)?), (9, 5));
    assert_eq!((client.incr_by_float("f", 1.5)?, client.incr_by_float("f", -0.25)?), (1.5, 1.25));
    assert_eq!(client.get::<f64>("f")?, Some(1.25));
    client.set("word", "abc")?;
    let error = client.incr("word").expect_err("no number");
    assert_eq!(error.outcome(), Outcome::Refused);
    assert!(error.to_string().contains("not an integer"), "{error}");
    let error = client.get::<i64>("word").expect_err("no number");
    assert!(matches!(error, Error::Type { .. }) && error.outcome() == Outcome::Done, "{error}");
    Ok(())
}

fn keys(client: &mut Client, is_line: bool) -> Result<()> {
    client.flush()?;
    only_resp(is_line, client.random_key::<String>(), None);
    assert_eq!(client.keys::<String>("*")?, [""; 0]);
    client.mset([("user:1", "a"), ("user:2", "b"), ("other", "c")])?;
    assert!(client.exists("other")? && !client.exists("missing")?);
    let found: BTreeSet<String> = client.keys("user:*")?.into_iter().collect();
    assert_eq!(found, BTreeSet::from(["user:1".to_owned(), "user:2".to_owned()]));
    let scanned: Result<BTreeSet<_>> = client.scan().matching("user:*").page_keys(1).collect();
    only_resp(is_line, scanned, BTreeSet::from([b"user:1".to_vec(), b"user:2".to_vec()]));
    assert_eq!(client.ttl("other")?, Ttl::Never);
    assert!(client.expire("other", HOUR)? && !client.expire("missing", HOUR)?);
    assert!(client.expire_at("other", SystemTime::now() + HOUR)?);
    assert!(matches!(client.ttl("other")?, Ttl::In(left) if left <= HOUR));
    assert!(client.persist("other")? && !client.persist("other")?);
    assert!(client.expire_at("other", UNIX_EPOCH)?);
    assert_eq!(client.ttl("other")?, Ttl::Missing);
    client.rename("user:1", "renamed")?;
    assert_eq!(client.rename("missing", "x").expect_err("no such key").outcome(), Outcome::Refused);
    assert_eq!((client.key_type("renamed")?, client.key_type("missing")?), ("string".to_owned(), "none".to_owned()));
    assert!(client.delete("renamed")? && !client.delete("renamed")?);
    client.mset([("x", "1"), ("y", "2")])?;
    assert_eq!(client.delete_all(["x", "y", "missing"])?, 2);
    assert_eq!(client.delete_all([""; 0])?, 0);
    Ok(())
}

fn database_and_server(client: &mut Client, is_line: bool) -> Result<()> {
    client.flush()?;
    client.mset([("a", "1"), ("b", "2")])?;
    assert_eq!(client.dbsize()?, 2);
    client.select(5)?;
    assert_eq!((client.dbsize()?, client.address().db), (0, 5));
    client.select(0)?;
    assert_eq!((client.flush()?, client.flush()?), (2, 0));
    let before = SystemTime::now() - Duration::from_secs(2);
    // One that is under way already is refused.
    wait::until_true("a snapshot", || client.save().is_ok());
    assert!(client.lastsave()? >= before);
    // One that is under way already is refused.
    wait::until_true("a snapshot in the background", || client.bgsave().is_ok());
    assert_eq!(client.info("server")?.get("redis_mode").map(String::as_str), Some("standalone"));
    client.ping()?;
    client.set_name("worker")?;
    assert_eq!(client.options().name.as_deref(), Some("worker"));
    only_resp(is_line, client.client_name(), some("worker"));
    assert!(client.client_id()? > 0 && client.is_connected());
    assert_eq!(client.publish("news", "nobody")?, 0);
    // Words as they stand in ACL LIST; over the terse style none may hold blanks.
    client.execute::<()>(["ACL", "SETUSER", "default", "resetpass", ">pw"])?;
    client.auth("default", "pw")?;
    assert_eq!(client.auth("default", "wrong").expect_err("a wrong password").outcome(), Outcome::Refused);
    client.execute::<()>(["ACL", "SETUSER", "default", "nopass"])
}

fn many_at_once(client: &mut Client, is_line: bool) -> Result<()> {
    let (stored, sum, value): (String, i64, Option<String>) =
        client.pipeline().add(["SETNX", "p", "1"]).add(["INCR", "p"]).add(["GETSET", "p", "3"]).run()?;
    assert_eq!((stored.as_str(), sum, value), ("1", 2, some("2")));
    let results =
        client.pipeline().add(["SETNX", "word", "x"]).add(["INCR", "word"]).add(["STRLEN", "word"]).results()?;
    assert_eq!(results[1].as_ref().expect_err("no number").outcome(), Outcome::Refused);
    assert!(results[2].is_ok());
    let error = client.pipeline().add(["STRLEN", "word"]).add(["INCR", "word"]).run::<()>().expect_err("no number");
    assert!(matches!(error, Error::Batch { at: 2, of: 2, outcome: Outcome::Done, .. }), "{error}");
    let mut large = client.pipeline();
    for number in 0..2_000 {
        large.add(["SET", &format!("many:{number}"), &"v".repeat(100)]);
    }
    large.run::<()>()?;
    assert_eq!(client.execute::<i64>(["EXISTS", "many:0", "many:1999"])?, 2);
    only_resp(is_line, client.transaction().add(["INCR", "p"]).add(["STRLEN", "p"]).exec::<(i64, i64)>(), Some((4, 1)));
    client.watch(["p"])?;
    client.unwatch()?;
    let summed = client.transact::<(i64,)>(["p"], |client, commands| {
        let value: i64 = client.get("p")?.unwrap_or(0);
        commands.add(["INCRBY", "p", &value.to_string()]);
        Ok(())
    });
    only_resp(is_line, summed, (8,));
    if !is_line {
        let results =
            client.transaction().add(["INCR", "word"]).add(["INCR", "p"]).results()?.expect("no watched keys");
        assert!(results[0].is_err() && results[1].is_ok());
        let error = client.transaction().add(["INCR", "p"]).add(["INCR", "word"]).exec::<()>().expect_err("no number");
        assert_eq!(error.outcome(), Outcome::Done);
        let error = client.transaction().add(["INCR", "p"]).add(["NOSUCH"]).exec::<()>().expect_err("no command");
        assert_eq!(error.outcome(), Outcome::Refused, "{error}");
        assert_eq!(client.get::<i64>("p")?, Some(10));
    }
    Ok(())
}

fn any_words(client: &mut Client) -> Result<()> {
    client.flush()?;
    client.execute::<()>(["SET", "k", "12"])?;
    assert_eq!(client.execute::<i64>(["STRLEN", "k"])?, 2);
    assert_eq!(client.execute::<String>(["GET", "k"])?, "12");
    assert_eq!(client.execute::<Option<i64>>(["SET", "k", "1", "NX"])?, None);
    assert!(client.execute::<bool>(["EXISTS", "k"])?);
    assert_ne!(client.execute::<Reply>(["PING"])?, Reply::Nil);
    assert_eq!(client.execute::<()>(["NOSUCH"]).expect_err("no command").outcome(), Outcome::Refused);
    Ok(())
}

#[test]
fn every_method_over_every_protocol() {
    let dir = TempDir::new().expect("a temporary directory");
    let (server, clients) = clients(&dir);
    for (protocol, mut client) in clients {
        let is_line = !protocol.starts_with("RESP");
        let result = values(&mut client, is_line)
            .and_then(|()| numbers(&mut client))
            .and_then(|()| keys(&mut client, is_line))
            .and_then(|()| database_and_server(&mut client, is_line))
            .and_then(|()| many_at_once(&mut client, is_line))
            .and_then(|()| any_words(&mut client));
        result.unwrap_or_else(|error| panic!("{protocol}: {error}\n{}", server.log()));
    }
}

/// Values that a line could show in two ways: nil, quotes, escapes, errors, other styles' words.
#[test]
fn values_are_the_same_bytes_over_every_protocol() {
    let dir = TempDir::new().expect("a temporary directory");
    let (_server, mut clients) = clients(&dir);
    let values: [&[u8]; 14] = [
        b"",
        b"(nil)",
        b"OK",
        b"OK v",
        b"ERR x",
        b"ERROR x",
        b"\"q\"",
        b"\"a\\nb\"",
        b"a\nb",
        b"a, b",
        b"\x00\xff\r\n",
        b"'",
        b"\\",
        b"QUEUED",
    ];
    for (at, value) in values.iter().enumerate() {
        clients[0].1.set(format!("k{at}"), value).expect("SET");
    }
    let names: Vec<_> = (0..=values.len()).map(|at| format!("k{at}")).collect();
    for (protocol, client) in &mut clients {
        for (name, value) in names.iter().zip(values) {
            assert_eq!(client.get::<Vec<u8>>(name).expect("GET").as_deref(), Some(value), "{protocol}: {name}");
        }
        let mut wanted: Vec<Option<Vec<u8>>> = values.iter().map(|value| Some(value.to_vec())).collect();
        wanted.push(None);
        assert_eq!(client.mget::<Vec<u8>>(&names).expect("MGET"), wanted, "{protocol}");
    }
}

#[test]
fn messages_come_over_a_connection_of_their_own() {
    let dir = TempDir::new().expect("a temporary directory");
    let (_server, clients) = clients(&dir);
    for (protocol, mut client) in clients {
        let Ok(mut messages) = client.subscribe(["news", "weather"]) else {
            assert!(STYLES.contains(&protocol.as_str()), "{protocol}");
            continue;
        };
        let mut matching = client.psubscribe(["n*"]).expect("PSUBSCRIBE");
        assert_eq!(client.publish("news", "one").expect("PUBLISH"), 2);
        assert_eq!(client.publish("weather", "two").expect("PUBLISH"), 1);
        for (channel, text) in [("news", "one"), ("weather", "two")] {
            let message = messages.next_within(wait::PATIENCE).expect("a connection").expect("a message");
            assert_eq!((message.channel.as_slice(), message.payload.as_slice()), (channel.as_bytes(), text.as_bytes()));
        }
        let message = matching.next().expect("a message").expect("a connection");
        assert_eq!((message.pattern, message.payload), (Some(b"n*".to_vec()), b"one".to_vec()));
    }
}

/// The server is killed and started again on the same port: the next request goes through, on a connection that has what
/// the old one had.
#[test]
fn a_restart_of_the_server_is_survived_with_the_session() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).arguments(["--requirepass", "pw"]).durability("always");
    let mut server = launch.clone().resp().start();
    let place = server.address(0);
    let address: Address = format!("redis://:pw@{place}/1").parse().expect("an address");
    let reconnect = Reconnect { attempts: 100, ..Reconnect::default() };
    for version in [Version::Resp2, Version::Resp3] {
        let mut client = Client::connect_with(&address, Options { reconnect: reconnect.clone(), ..options(version) })
            .expect("a client");
        client.select(3).expect("SELECT");
        client.set_name("survivor").expect("CLIENT SETNAME");
        client.set("k", "v").expect("SET");
        let mut news = client.subscribe(["news"]).expect("SUBSCRIBE");
        client.watch(["k"]).expect("WATCH");
        server.signal(Signal::KILL);
        server.wait();
        // Nothing was sent, and that keys were watched is not forgotten.
        wait::until_true("the end of the connection", || !client.is_connected());
        let error = client.get::<String>("k").expect_err("a lost watch");
        assert!(matches!(error, Error::SessionLost { .. }), "{error}");
        assert!(news.next().is_some_and(|message| message.is_err()));
        assert!(news.next().is_none());
        server = launch.clone().listener(&format!("resp://{place}")).start();
        assert_eq!(client.get::<String>("k").expect("GET").as_deref(), Some("v"));
        assert_eq!(client.client_name().expect("CLIENT GETNAME").as_deref(), Some("survivor"));
        assert_eq!(client.address().db, 3);
    }
}
