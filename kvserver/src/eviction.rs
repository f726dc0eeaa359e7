//! Making room: which keys go when more memory is used than `maxmemory` allows.
//!
//! Invariant: a key goes only by a policy that names its kind (`volatile-*`: only keys with a deadline), and everybody
//! who watches it is told. A few keys are drawn by chance and the best of them goes, as in Redis.

use std::cmp::Reverse;

use kvcore::{Cursor, Db, Keyspace, Store, Walk};

use crate::databases;

/// Names of `maxmemory-policy`.
pub(crate) const POLICIES: [&str; 8] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

/// Keys among which the one that goes is chosen.
const SAMPLES: usize = 5;
/// Keys drawn for that at most: where few have a deadline most are drawn in vain.
const DRAWS_MAX: usize = 100;
/// Keys that go in one call at most; it is called again within milliseconds.
const KEYS_MAX: u64 = 4096;
/// What an entry takes beside its key and value, roughly.
const ENTRY_BYTES: u64 = 24;

/// The key that goes first among those drawn has the lowest rank.
type Rank = (u64, Reverse<u64>);

/// Removes keys until about so many bytes are free, as far as the policy and one call's bound allow; answers how many.
pub(crate) fn make_room(db: &Db, policy: &str, bytes: u64) -> u64 {
    let Some((kind, by)) = policy.split_once('-') else { return 0 };
    let volatile = kind == "volatile";
    let (mut freed, mut evicted) = (0, 0);
    while freed < bytes && evicted < KEYS_MAX {
        // From the fullest keyspace: what is left of the others is in no hurry.
        let eligible = |keyspace: &Keyspace| {
            let (keys, with_deadline) = keyspace.counts();
            if volatile { with_deadline } else { keys }
        };
        // Only what clients can reach: an embedder's own keyspaces are not the server's to empty.
        let is_database = |keyspace: &Keyspace| databases::index_of(keyspace.name()).is_some();
        let databases = db.keyspaces().into_iter().filter(is_database);
        let fullest = databases.map(|keyspace| (eligible(&keyspace), keyspace));
        let Some((_, keyspace)) = fullest.filter(|(keys, _)| *keys > 0).max_by_key(|(keys, _)| *keys) else { break };
        // Counting costs more than a key: some go before it is done again.
        let mut gone = 0;
        while gone < 64 && freed < bytes {
            let Some(key) = choose(&keyspace, volatile, by) else { break };
            let mut size = 0;
            let removed = keyspace.commit(&[&key], &mut |txn| {
                size = txn.peek(&key)?.map_or(0, |value| value.len() as u64);
                txn.evict(&key).map(drop)
            });
            if removed.is_err() {
                break;
            }
            gone += 1;
            freed += size + key.len() as u64 + ENTRY_BYTES;
        }
        if gone == 0 {
            break;
        }
        evicted += gone;
    }
    evicted
}

/// Draws keys by chance and answers the one to go.
fn choose(keyspace: &Keyspace, volatile: bool, by: &str) -> Option<Vec<u8>> {
    let mut best: Option<(Rank, Vec<u8>)> = None;
    let mut seen = 0;
    for _ in 0..DRAWS_MAX {
        let key = keyspace.random_key().ok()??;
        let Some(rank) = rank(keyspace, &key, volatile, by) else { continue };
        if best.as_ref().is_none_or(|(other, _)| rank < *other) {
            best = Some((rank, key));
        }
        seen += 1;
        if seen == SAMPLES || by == "random" {
            break;
        }
    }
    match best {
        Some((_, key)) => Some(key),
        None if volatile => find_mortal(keyspace),
        None => None,
    }
}

/// Any key with a deadline, where they are too few to be drawn.
fn find_mortal(keyspace: &Keyspace) -> Option<Vec<u8>> {
    let (mut cursor, mut found) = (Cursor::START, None);
    loop {
        cursor = keyspace
            .walk(cursor, 1000, &mut |key, value| {
                if value.deadline().is_some() && found.is_none() {
                    found = Some(key.to_vec());
                }
            })
            .ok()?;
        if found.is_some() || cursor.is_end() {
            return found;
        }
    }
}

/// `None` if the key may not go.
fn rank(keyspace: &Keyspace, key: &[u8], volatile: bool, by: &str) -> Option<Rank> {
    let mut rank = None;
    let looked = keyspace.commit(&[key], &mut |txn| {
        let (Some(value), Some(usage)) = (txn.peek(key)?, txn.usage(key)?) else { return Ok(()) };
        let deadline = value.deadline();
        if volatile && deadline.is_none() {
            return Ok(());
        }
        let idle = Reverse(u64::from(usage.idle_secs));
        rank = Some(match by {
            "ttl" => (deadline.map_or(u64::MAX, |deadline| deadline.as_ms()), idle),
            "lfu" => (usage.frequency.unwrap_or(0).into(), idle),
            _ => (0, idle),
        });
        Ok(())
    });
    looked.ok().and(rank)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use kvcore::{ManualClock, Options, SetOptions, StoreExt, UseCounter};

    use super::*;

    fn filled() -> Db {
        let db = Db::in_memory();
        for i in 0..200_u32 {
            db.set(format!("plain{i}"), [b'x'; 100]).unwrap();
            let ttl = Duration::from_secs(1000 + u64::from(i));
            db.set_with(format!("mortal{i}"), [b'x'; 100], SetOptions::new().expires_in(ttl)).unwrap();
        }
        db
    }

    #[test]
    fn room_is_made_as_much_as_is_asked_for() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let db = filled();
            let evicted = make_room(&db, policy, 10_000);
            assert!((50..150).contains(&evicted), "{policy}: {evicted}");
            assert_eq!(db.len(), 400 - evicted);
            assert_eq!(make_room(&db, policy, u64::MAX), 400 - evicted);
            assert_eq!(make_room(&db, policy, 1), 0, "there is nothing left");
        }
    }

    #[test]
    fn volatile_policies_leave_keys_without_a_deadline() {
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            let db = filled();
            make_room(&db, policy, u64::MAX);
            assert_eq!(db.len(), 200, "{policy}");
            assert!((0..200).all(|i| db.exists(format!("plain{i}")).unwrap()), "{policy}");
        }
        assert_eq!(make_room(&filled(), "noeviction", u64::MAX), 0);
    }

    #[test]
    fn an_embedders_own_keyspaces_are_left_alone() {
        let db = filled();
        let own = db.keyspace("sessions").unwrap();
        own.set("k", "v").unwrap();
        assert_eq!(make_room(&db, "allkeys-random", u64::MAX), 400);
        assert_eq!((db.len(), own.len()), (0, 1));
    }

    #[test]
    fn what_is_used_stays() {
        for policy in ["allkeys-lru", "volatile-lru", "allkeys-lfu", "volatile-lfu"] {
            let clock = Arc::new(ManualClock::at(1_000_000_000_000));
            let db = Options::new().clock(clock.clone()).in_memory().unwrap();
            db.count_uses(policy.ends_with("lfu").then(UseCounter::default));
            let ttl = SetOptions::new().expires_in(Duration::from_secs(1000));
            (0..1000).for_each(|i| drop(db.set_with(format!("k{i}"), [b'x'; 100], ttl).unwrap()));
            clock.advance(10_000);
            db.note_time();
            let used = |i: &u32| i.is_multiple_of(5);
            for i in (0..1000).filter(used) {
                for _ in 0..100 {
                    let key = format!("k{i}");
                    db.commit(&[key.as_bytes()], &mut |txn| txn.get(key.as_bytes()).map(drop)).unwrap();
                }
            }
            make_room(&db, policy, 70_000);
            let left = |used: &dyn Fn(&u32) -> bool| {
                (0..1000).filter(used).filter(|i| db.exists(format!("k{i}")).unwrap()).count()
            };
            let (used, unused) = (left(&used), left(&|i| !used(i)));
            assert!(used >= 180 && unused < 300, "{policy}: {used} of 200, {unused} of 800");
        }
    }

    #[test]
    fn what_ends_first_goes_first_under_ttl() {
        let db = filled();
        make_room(&db, "volatile-ttl", 12_000);
        let left = |range: std::ops::Range<u32>| range.filter(|i| db.exists(format!("mortal{i}")).unwrap()).count();
        assert!(left(0..50) < left(150..200), "{} {}", left(0..50), left(150..200));
    }
}
