//! The program: every method of the everyday interface. Compiled against `Db` and against `Box<dyn Store>`, it must find the
//! same results; whether a method comes from a trait is up to the module that includes it.

use std::time::Duration;

use kvcore::{ChangeKind, Deadline, Error, ManualClock, Result, SetOptions, Ttl, Value, WatchEvent, WatchOptions};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs everything on an empty store whose clock is `clock`.
pub fn run(store: &Subject, clock: &ManualClock) -> Result<()> {
    reading_and_writing(store)?;
    deadlines(store, clock)?;
    many_keys(store)?;
    numbers_and_bytes(store)?;
    names(store)?;
    transactions(store)?;
    views(store, clock)?;
    iterating(store)?;
    keyspaces(store)?;
    deferred(store)?;
    watching(store)?;
    clearing(store)
}

fn reading_and_writing(store: &Subject) -> Result<()> {
    assert!(store.is_empty()?);
    assert_eq!(store.get("k")?, None);
    assert_eq!(store.get_durable("k")?, None);
    assert_eq!(store.get_with("k", |value| value.len())?, None);
    store.set("k", "value")?;
    // Anything that is bytes is a key or a value.
    store.set(b"bytes", vec![0, 255])?;
    store.set(String::from("owned"), String::from("text"))?;
    store.set("", "")?;
    assert_eq!(store.get("k")?.unwrap(), "value");
    assert_eq!(store.get_durable("k")?.unwrap(), "value");
    assert_eq!(store.get_with("k", |value| value.len())?, Some(5));
    assert_eq!(store.get("bytes")?.unwrap(), [0, 255]);
    assert_eq!(store.get(b"owned")?.unwrap().as_str(), Some("text"));
    assert_eq!(store.get("")?.unwrap(), "");
    assert!(store.exists("k")?);
    assert!(!store.exists("K")?);
    assert_eq!(store.len()?, 4);
    assert!(!store.is_empty()?);
    assert!(store.delete("k")?);
    assert!(!store.delete("k")?);
    assert_eq!(store.clear()?, 3);
    assert_eq!(store.clear()?, 0);
    Ok(())
}

fn deadlines(store: &Subject, clock: &ManualClock) -> Result<()> {
    store.set_with("session", "42", SetOptions::new().expires_in(HOUR))?;
    assert_eq!(store.ttl("session")?, Some(Ttl::In(HOUR)));
    assert_eq!(store.ttl("nothing")?, None);
    assert!(store.expire("session", HOUR / 2)?);
    assert_eq!(store.ttl("session")?, Some(Ttl::In(HOUR / 2)));
    assert!(store.persist("session")?);
    assert!(!store.persist("session")?);
    assert_eq!(store.ttl("session")?, Some(Ttl::Never));
    assert!(store.expire_at("session", Deadline::at_ms(START_MS * 2))?);
    assert!(!store.expire_at("nothing", Deadline::at_ms(START_MS * 2))?);
    assert!(!store.expire("nothing", HOUR)?);
    assert!(!store.persist("nothing")?);
    assert!(store.expire_at("session", Deadline::at_ms(1))?, "a deadline that has passed removes the key");
    assert!(!store.exists("session")?);

    let refused = store.set_with("lock", "me", SetOptions::new().if_present())?;
    assert_eq!((refused.written, refused.old), (false, None));
    assert!(store.set_with("lock", "me", SetOptions::new().if_absent().expires_in(HOUR))?.written);
    let refused = store.set_with("lock", "you", SetOptions::new().if_absent().return_old())?;
    assert_eq!((refused.written, refused.old.unwrap().as_str()), (false, Some("me")));
    store.set_with("lock", "me again", SetOptions::new().keep_deadline())?;
    assert_eq!(store.ttl("lock")?, Some(Ttl::In(HOUR)));
    clock.advance(HOUR.as_millis() as u64);
    assert_eq!((store.get("lock")?, store.ttl("lock")?, store.exists("lock")?), (None, None, false));
    assert!(!store.delete("lock")?);
    Ok(())
}

fn many_keys(store: &Subject) -> Result<()> {
    store.set_many(&[("a", "1"), ("b", "2"), ("a", "3")])?;
    let values = store.get_many(&["b", "nothing", "a", "b"])?;
    let values: Vec<_> = values.iter().map(|value| value.as_ref().and_then(|value| value.as_str())).collect();
    assert_eq!(values, [Some("2"), None, Some("3"), Some("2")]);
    assert!(store.get_many(&[] as &[&str])?.is_empty());
    store.set_many(&[] as &[(&str, &str)])?;
    assert_eq!(store.clear()?, 2);
    Ok(())
}

fn numbers_and_bytes(store: &Subject) -> Result<()> {
    assert_eq!(store.increment("n", 5)?, 5);
    assert_eq!(store.increment("n", -7)?, -2);
    store.set("n", i64::MAX.to_string())?;
    assert!(matches!(store.increment("n", 1), Err(Error::Overflow)));
    store.set("text", "one")?;
    assert!(matches!(store.increment("text", 1), Err(Error::NotAnInteger)));
    assert_eq!(store.get("text")?.unwrap(), "one", "an increment that fails changes nothing");
    assert_eq!(store.append("text", " two")?, 7);
    assert_eq!(store.append("new", "three")?, 5);
    assert_eq!(store.get("text")?.unwrap(), "one two");
    assert!(store.compare_and_set("state", None, "new")?);
    assert!(!store.compare_and_set("state", None, "newer")?);
    assert!(!store.compare_and_set("state", Some(b"old"), "done")?);
    assert!(store.compare_and_set("state", Some(b"new"), "done")?);
    assert_eq!(store.get("state")?.unwrap(), "done");
    assert!(matches!(store.set([b'k'; KEY_BYTES_MAX + 1], ""), Err(Error::KeyTooLong { len, max }) if len == max + 1));
    assert!(
        matches!(store.set("k", vec![0; VALUE_BYTES_MAX + 1]), Err(Error::ValueTooLong { len, max }) if len == max + 1)
    );
    assert_eq!(store.clear()?, 4);
    Ok(())
}

fn names(store: &Subject) -> Result<()> {
    store.set_with("from", "text", SetOptions::new().expires_in(HOUR))?;
    store.set("to", "other")?;
    assert!(!store.rename("nothing", "to")?);
    assert!(!store.copy("nothing", "to")?);
    assert_eq!(store.get("to")?.unwrap(), "other", "a missing key is neither moved nor copied");
    assert!(store.rename("from", "from")?);
    assert!(store.copy("from", "from")?);
    assert_eq!((store.get("from")?.unwrap().as_str(), store.ttl("from")?), (Some("text"), Some(Ttl::In(HOUR))));
    assert!(store.copy("from", "to")?);
    assert_eq!((store.get("to")?.unwrap().as_str(), store.ttl("to")?), (Some("text"), Some(Ttl::In(HOUR))));
    assert!(store.rename("from", "third")?);
    assert!(!store.exists("from")?);
    assert_eq!((store.get("third")?.unwrap().as_str(), store.ttl("third")?), (Some("text"), Some(Ttl::In(HOUR))));
    assert_eq!(store.clear()?, 2);
    Ok(())
}

fn transactions(store: &Subject) -> Result<()> {
    store.set("alice", "10")?;
    let left = store.transact(&["alice", "bob"], |txn| {
        txn.increment("bob", 3)?;
        assert_eq!(txn.get("bob")?.unwrap().bytes(), b"3", "reads see the writes before them");
        txn.increment("alice", -3)
    })?;
    assert_eq!(left, 7);
    let failed = store.transact(&["alice", "bob"], |txn| {
        txn.delete("alice")?;
        txn.set("bob", "0")?;
        Err::<(), _>(Error::aborted("changed my mind"))
    });
    assert!(matches!(failed, Err(Error::Aborted(_))));
    let refused = store.transact(&["alice"], |txn| txn.set("carol", "1"));
    assert!(matches!(refused, Err(Error::KeyNotNamed { key }) if key == "carol"));
    let own = store.try_transact(&["alice"], |txn| {
        txn.set("alice", "0")?;
        Err::<(), _>(Own::Broke)
    });
    assert_eq!(own, Err(Own::Broke));
    let converted = store.try_transact(&["alice"], |txn| Ok::<_, Own>(txn.increment("bob", 1)?));
    assert_eq!(converted, Err(Own::Store("KeyNotNamed".to_owned())));
    assert_eq!(store.try_transact(&["alice"], |txn| Ok::<_, Own>(txn.increment("alice", 1)?)), Ok(8));
    assert_eq!(store.get_many(&["alice", "bob"])?.into_iter().flatten().collect::<Vec<_>>(), ["8", "3"]);
    let inside = store.transact(&["alice"], |_| store.get("alice"));
    assert!(matches!(inside, Err(Error::Reentered)));
    assert_eq!(store.transact(&[] as &[&str], |_| Ok(1))?, 1);
    assert_eq!(store.clear()?, 2);
    Ok(())
}

fn views(store: &Subject, clock: &ManualClock) -> Result<()> {
    store.set("stays", "1")?;
    store.set_with("goes", "22", SetOptions::new().expires_in(HOUR))?;
    let keys = ["stays", "goes", "nothing"];
    let look = || {
        store.view(&keys, |view| {
            let lengths: Vec<_> =
                keys.iter().map(|key| Ok(view.get(key)?.map(|value| value.len()))).collect::<Result<_>>()?;
            let exist: Vec<_> = keys.iter().map(|key| view.exists(key)).collect::<Result<_>>()?;
            Ok((lengths, exist, view.ttl("goes")?))
        })
    };
    assert_eq!(look()?, (vec![Some(1), Some(2), None], vec![true, true, false], Some(Ttl::In(HOUR))));
    clock.advance(HOUR.as_millis() as u64 - 1);
    assert_eq!(look()?.2, Some(Ttl::In(Duration::from_millis(1))));
    clock.advance(1);
    assert_eq!(look()?, (vec![Some(1), None, None], vec![true, false, false], None), "expired keys are not shown");
    let refused = store.view(&["stays"], |view| view.exists(b"\"\xff"));
    assert!(matches!(refused, Err(Error::KeyNotNamed { key }) if key == r#"\"\xff"#));
    let failed = store.view(&["stays"], |_| Err::<(), _>(Error::aborted("no")));
    assert!(matches!(failed, Err(Error::Aborted(_))));
    assert_eq!(store.clear()?, 1);
    Ok(())
}

fn iterating(store: &Subject) -> Result<()> {
    store.set_many(&[("user:1", "Ada"), ("user:2", "Bob"), ("visits", "7")])?;
    for entry in store.prefix("user:")? {
        let (key, value) = entry?;
        store.set([b"old:", &key[..]].concat(), value)?;
        store.delete(key)?;
    }
    let mut entries: Vec<_> = store.iter()?.collect::<Result<_>>()?;
    entries.sort_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
    let entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_str().unwrap(), value.as_str().unwrap())).collect();
    assert_eq!(entries, [("old:user:1", "Ada"), ("old:user:2", "Bob"), ("visits", "7")]);
    let mut keys: Vec<_> = store.keys()?.map(|key| Ok(key?.into_vec())).collect::<Result<_>>()?;
    keys.sort();
    assert_eq!(keys, [&b"old:user:1"[..], b"old:user:2", b"visits"]);
    let (mut scanned, mut position) = (Vec::new(), None);
    loop {
        let page = store.scan(position.as_ref(), 1, b"old:")?;
        scanned.extend(page.entries.into_iter().map(|(key, _)| key.into_vec()));
        position = page.next;
        if position.is_none() {
            break;
        }
    }
    scanned.sort();
    assert_eq!(scanned, [&b"old:user:1"[..], b"old:user:2"]);
    assert_eq!(store.clear()?, 3);
    Ok(())
}

fn keyspaces(store: &Subject) -> Result<()> {
    let other = store.keyspace("other")?;
    store.set("k", "here")?;
    other.set("k", "there")?;
    assert_eq!(store.keyspace("other")?.get("k")?.unwrap(), "there");
    assert_eq!(other.clear()?, 1);
    assert_eq!(store.get("k")?.unwrap(), "here");
    assert_eq!(store.clear()?, 1);
    Ok(())
}

fn deferred(store: &Subject) -> Result<()> {
    let deferred = store.deferred();
    let tickets: Vec<_> = (0..100).map(|i| deferred.increment("n", i)).collect::<Result<_>>()?;
    assert_eq!(store.get("n")?.unwrap(), "4950", "a write is seen before its ticket is waited for");
    let sums: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait()).collect::<Result<_>>()?;
    assert_eq!(sums.last(), Some(&4950));
    assert_eq!(super::super::block_on(deferred.append("n", "!")?)?, 5);
    assert!(matches!(deferred.increment("n", 1), Err(Error::NotAnInteger)));
    assert!(deferred.rename("n", "m")?.wait()?);
    assert!(deferred.copy("m", "n")?.wait()?);
    deferred.sync()?.wait()?;
    store.sync()?;
    assert_eq!(deferred.clear()?.wait()?, 2);
    Ok(())
}

fn watching(store: &Subject) -> Result<()> {
    let mut watch = store.watch("user:")?;
    let mut values = store.watch_with("", WatchOptions::new().with_values())?;
    store.set("visits", "7")?;
    store.set("user:1", "Ada")?;
    let change = |event| match event {
        Some(Ok(WatchEvent::Change { key, kind, value, .. })) => {
            (key.unwrap().into_vec(), kind, value.map(Value::into_vec))
        }
        event => panic!("{event:?}"),
    };
    assert_eq!(change(watch.next()), (b"user:1".to_vec(), ChangeKind::Set, None));
    assert_eq!(change(values.next()), (b"visits".to_vec(), ChangeKind::Set, Some(b"7".to_vec())));
    assert_eq!(change(values.next()), (b"user:1".to_vec(), ChangeKind::Set, Some(b"Ada".to_vec())));
    assert_eq!(watch.next_within(Duration::ZERO)?, None);
    assert_eq!(store.clear()?, 2);
    Ok(())
}

fn clearing(store: &Subject) -> Result<()> {
    // More keys than a step of any walk takes.
    (0..1000).try_for_each(|i| store.deferred().set(format!("k{i}"), "v").map(drop))?;
    assert_eq!(store.len()?, 1000);
    assert_eq!(store.clear()?, 1000);
    assert!(store.is_empty()? && store.iter()?.next().is_none());
    Ok(())
}
