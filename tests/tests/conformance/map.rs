//! The simplest store that keeps the promises of `Store`: ordered maps under one lock, in memory. Invariant: it uses nothing of
//! the engine, so what holds for both is a promise of the trait.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{SystemTime, UNIX_EPOCH};

use kvcore::hooks::{Lookup, ReadTxn, Txn};
use kvcore::{
    ChangeKind, Deadline, Error, Result, ScanPage, ScanPosition, Store, Ticket, Transaction, Value, ValueRef, View,
    Watch, WatchEvent, WatchOptions, WatchSender,
};

type Entry = (Vec<u8>, Option<Deadline>);
type Map = BTreeMap<Vec<u8>, Entry>;

/// Is in no name.
const NO_UTF8: u8 = 0xff;

struct Shared {
    /// Tells the store from others.
    id: u64,
    maps: Mutex<BTreeMap<String, Map>>,
    /// The thread that runs a body.
    running: Mutex<Option<ThreadId>>,
    /// With the keyspace and the prefix that each watches.
    watchers: Mutex<Vec<(String, Vec<u8>, WatchSender)>>,
    can_watch: bool,
}

/// A keyspace of such a store.
pub struct MapStore {
    shared: Arc<Shared>,
    name: String,
}

/// While it lives, its thread runs a body.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *unpoisoned(&self.0.running) = None;
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl MapStore {
    pub fn new() -> Self {
        MapStore::with_watches(true)
    }

    /// Returns a store that cannot watch.
    pub fn without_watches() -> Self {
        MapStore::with_watches(false)
    }

    fn with_watches(can_watch: bool) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let shared = Shared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            maps: Mutex::default(),
            running: Mutex::default(),
            watchers: Mutex::default(),
            can_watch,
        };
        MapStore { shared: Arc::new(shared), name: String::new() }
    }

    /// Runs `body` on the map of the keyspace, without what has expired.
    fn with<R>(&self, body: impl FnOnce(&mut Map, u64) -> R) -> Result<R> {
        if *unpoisoned(&self.shared.running) == Some(thread::current().id()) {
            return Err(Error::Reentered);
        }
        let mut maps = unpoisoned(&self.shared.maps);
        *unpoisoned(&self.shared.running) = Some(thread::current().id());
        let _running = Running(&self.shared);
        let (map, now_ms) = (maps.entry(self.name.clone()).or_default(), now_ms());
        map.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| !deadline.has_passed(now_ms)));
        Ok(body(map, now_ms))
    }

    /// Shows the watchers that a key has this entry now, or with no key that there is none any more.
    fn notify(&self, key: Option<&[u8]>, entry: Option<&Entry>) {
        unpoisoned(&self.shared.watchers).retain(|(name, prefix, sender)| {
            if *name != self.name || key.is_some_and(|key| !key.starts_with(prefix)) {
                return true;
            }
            sender.send(WatchEvent::Change {
                keyspace: Arc::from(name.as_str()),
                key: key.map(Value::from),
                kind: match (key, entry) {
                    (None, _) => ChangeKind::Clear,
                    (Some(_), None) => ChangeKind::Delete,
                    (Some(_), Some(_)) => ChangeKind::Set,
                },
                value: entry.map(|(value, _)| Value::from(value.as_slice())),
            })
        });
    }
}

/// A copy of the named keys, which replaces them if the body succeeds.
struct Draft<'a> {
    keys: &'a [&'a [u8]],
    entries: Map,
    now_ms: u64,
}

impl<'a> Draft<'a> {
    fn of(keys: &'a [&'a [u8]], map: &Map, now_ms: u64) -> Self {
        let entry = |key: &&[u8]| Some((key.to_vec(), map.get(*key)?.clone()));
        Draft { keys, entries: keys.iter().filter_map(entry).collect(), now_ms }
    }

    fn check(&self, key: &[u8]) -> Result<()> {
        match self.keys.contains(&key) {
            true => Ok(()),
            false => Err(Error::KeyNotNamed { key: key.escape_ascii().to_string() }),
        }
    }
}

impl ReadTxn for Draft<'_> {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn lookup(&self, key: &[u8], _: Lookup) -> Result<Option<ValueRef<'_>>> {
        self.check(key)?;
        Ok(self.entries.get(key).map(|(value, deadline)| ValueRef::new(value, *deadline)))
    }
}

impl Txn for Draft<'_> {
    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()> {
        self.check(key)?;
        self.entries.insert(key.to_vec(), (value.to_vec(), deadline));
        self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| !deadline.has_passed(self.now_ms)));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.check(key)?;
        Ok(self.entries.remove(key).is_some())
    }
}

impl Store for MapStore {
    fn keyspace(&self, name: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(MapStore { shared: Arc::clone(&self.shared), name: name.to_owned() }))
    }

    fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>> {
        self.with(|map, now_ms| body(&View::new(&Draft::of(keys, map, now_ms))))??;
        Ok(Ticket::ready(()))
    }

    fn run_transaction(
        &self,
        keys: &[&[u8]],
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Ticket<()>> {
        self.with(|map, now_ms| {
            let mut draft = Draft::of(keys, map, now_ms);
            body(&mut Transaction::new(&mut draft))?;
            for key in keys {
                let (old, new) = (map.remove(*key), draft.entries.get(*key));
                if old.as_ref() != new {
                    self.notify(Some(key), new);
                }
                map.extend(new.map(|entry| (key.to_vec(), entry.clone())));
            }
            Ok(())
        })??;
        // As a store whose writes become durable later.
        Ok(Ticket::after(async { Ok(()) }, ()))
    }

    fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage> {
        // Its positions begin with what tells the store, and the keyspace, from others, and end with the last key.
        let owner = [&self.shared.id.to_le_bytes(), self.name.as_bytes(), &[NO_UTF8]].concat();
        let last =
            position.map(|last| last.as_bytes().strip_prefix(&*owner).ok_or(Error::ForeignPosition)).transpose()?;
        self.with(|map, _| {
            let from = match &last {
                Some(last) => Bound::Excluded(*last),
                None => Bound::Included(prefix),
            };
            let mut rest = map.range::<[u8], _>((from, Bound::Unbounded));
            let rest = rest.by_ref().take_while(|(key, _)| key.starts_with(prefix));
            let entries: Vec<_> = rest
                .take(at_least.max(1))
                .map(|(key, (value, _))| (Value::from(key.as_slice()), Value::from(value.as_slice())))
                .collect();
            let is_full = entries.len() >= at_least;
            let position = |key: &Value| ScanPosition::new([&owner, key.as_bytes()].concat());
            let next = entries.last().filter(|_| is_full).map(|(key, _)| position(key));
            ScanPage { entries, next }
        })
    }

    fn len(&self) -> Result<u64> {
        self.with(|map, _| map.len() as u64)
    }

    fn run_clear(&self) -> Result<Ticket<u64>> {
        self.with(|map, _| {
            self.notify(None, None);
            Ticket::ready(std::mem::take(map).len() as u64)
        })
    }

    fn begin_sync(&self) -> Result<Ticket<()>> {
        Ok(Ticket::ready(()))
    }

    fn begin_watch(&self, prefix: &[u8], options: WatchOptions) -> Result<Watch> {
        if !self.shared.can_watch {
            return Err(Error::Unsupported { what: "watch keys" });
        }
        self.with(|_, _| {
            let (sender, watch) = Watch::channel(options);
            unpoisoned(&self.shared.watchers).push((self.name.clone(), prefix.to_vec(), sender));
            watch
        })
    }
}
