//! The view of the keys that a command works on while somebody wants its events.
//!
//! Commands change keys by a few primitives, and what Redis calls such a change depends on the command alone: so the
//! events are named here, by the command and the primitive, and no command speaks of them.
//!
//! Invariant: it changes nothing and answers nothing but what the view behind it does. One event a primitive call, in
//! the order of the calls, save that a key's new place is told of after its old one.

use std::cell::RefCell;

use kvcore::hooks::{CrossTxn, Lookup, Lookups, ReadTxn, Scan, Txn, Usage};
use kvcore::{Deadline, Result, ValueRef};
use kvproto::spec::Trait;
use kvproto::{Request, Spec};

use super::{Class, Classes, EventMessage};

/// A transaction that notes the events of the command that it is given to.
pub struct EventTxn<'t, T: ?Sized> {
    txn: &'t mut T,
    command: &'static str,
    request: Request<'t>,
    /// Returns the database that a keyspace is, by its id.
    database_of: &'t dyn Fn(u32) -> Option<usize>,
    /// The one that is selected.
    database: usize,
    wanted: Classes,
    tells_misses: bool,
    events: RefCell<Vec<Event>>,
}

struct Event {
    class: Class,
    name: &'static str,
    database: usize,
    key: Box<[u8]>,
}

impl<'t, T: Txn + ?Sized> EventTxn<'t, T> {
    /// Returns a transaction that notes the events that are `wanted` of a command. `database`: the one that `txn` has selected;
    /// `database_of`: returns the database that a keyspace is, by its id.
    pub fn new(
        txn: &'t mut T,
        spec: &'static Spec,
        request: Request<'t>,
        database: usize,
        wanted: Classes,
        database_of: &'t dyn Fn(u32) -> Option<usize>,
    ) -> EventTxn<'t, T> {
        let tells_misses = wanted.has(Class::KeyMiss) && !spec.traits.has(Trait::LooksFromOutside);
        let events = RefCell::default();
        EventTxn { txn, command: spec.name, request, database_of, database, wanted, tells_misses, events }
    }

    /// Returns what is to be published once the changes are committed.
    #[must_use]
    pub fn finish(self) -> Vec<EventMessage> {
        let mut messages = Vec::new();
        for event in self.events.into_inner() {
            self.wanted.describe(event.class, event.name, event.database, &event.key, &mut messages);
        }
        messages
    }

    fn note(&self, class: Class, name: &'static str, key: &[u8]) {
        if self.wanted.has(class) {
            self.events.borrow_mut().push(Event { class, name, database: self.database, key: key.into() });
        }
    }

    /// Notes an event of a key's old place, which goes before that of its new one.
    fn note_origin(&self, name: &'static str, key: &[u8]) {
        let event = Event { class: Class::Generic, name, database: self.database, key: key.into() };
        let mut events = self.events.borrow_mut();
        let at = events.iter().rposition(|event| matches!(event.name, "rename_to" | "move_to"));
        let at = at.unwrap_or(events.len());
        events.insert(at, event);
    }

    /// The class and name of giving a key a value.
    fn of_value(&self) -> Option<(Class, &'static str)> {
        Some(match self.command {
            "append" => (Class::String, "append"),
            "incr" | "decr" | "incrby" | "decrby" => (Class::String, "incrby"),
            "incrbyfloat" => (Class::String, "incrbyfloat"),
            "increx" if self.request.iter().skip(2).any(|word| word.eq_ignore_ascii_case(b"BYFLOAT")) => {
                (Class::String, "incrbyfloat")
            }
            "increx" => (Class::String, "incrby"),
            "setrange" => (Class::String, "setrange"),
            "setbit" | "bitfield" => (Class::String, "setbit"),
            "pfadd" | "pfmerge" => (Class::String, "pfadd"),
            // It stores what it has counted, which is nobody's business.
            "pfcount" => return None,
            "rename" | "renamenx" => (Class::Generic, "rename_to"),
            "move" => (Class::Generic, "move_to"),
            "copy" => (Class::Generic, "copy_to"),
            "restore" | "restore-asking" => (Class::Generic, "restore"),
            _ => (Class::String, "set"),
        })
    }

    /// Whether it puts a new key in the place of what was there.
    fn replaces(&self) -> bool {
        matches!(self.command, "rename" | "renamenx" | "move" | "copy" | "restore" | "restore-asking")
    }

    fn note_set(&self, key: &[u8], old: Option<Option<Deadline>>, deadline: Option<Deadline>) {
        let Some((class, name)) = self.of_value() else { return };
        // These write bytes here and there, and are told of once.
        if matches!(name, "setbit" | "pfadd") && self.events.borrow().iter().any(|event| event.name == name) {
            return;
        }
        let passed = deadline.is_some_and(|deadline| deadline.has_passed(self.txn.now_ms()));
        if old.is_none() || self.replaces() {
            self.note(Class::New, "new", key);
        }
        // With MSET, COPY and the like, not with what changes a part of a value.
        if old.is_some() && (name == "set" || self.replaces()) {
            self.note(Class::Overwritten, "overwritten", key);
        }
        // One event a key, in however many pieces the command has written it. MSET may say a key twice and mean it.
        if name == "set" || !self.events.borrow().iter().any(|event| event.name == name && *event.key == *key) {
            self.note(class, name, key);
        }
        if name == "set" && deadline.is_some() && !(old == Some(deadline) && self.keeps_deadline()) {
            self.note(Class::Generic, "expire", key);
        }
        if self.command == "increx" && old.flatten() != deadline {
            self.note(Class::Generic, if deadline.is_some() { "expire" } else { "persist" }, key);
        }
        if passed {
            self.note(Class::Expired, "expired", key);
        }
    }

    /// Runs `copy`, which gives `to` another key's value and this deadline.
    fn note_copy(
        &mut self,
        to: &[u8],
        deadline: Option<Deadline>,
        copy: &mut dyn FnMut(&mut T) -> Result<bool>,
    ) -> Result<bool> {
        if self.wanted.is_empty() {
            return copy(self.txn);
        }
        let old = self.txn.peek(to)?.map(|old| old.deadline());
        let copied = copy(self.txn)?;
        if copied {
            self.note_set(to, old, deadline);
        }
        Ok(copied)
    }

    fn keeps_deadline(&self) -> bool {
        self.request.iter().any(|word| word.eq_ignore_ascii_case(b"KEEPTTL"))
    }

    fn note_removal(&self, key: &[u8]) {
        match self.command {
            "rename" | "renamenx" => self.note_origin("rename_from", key),
            "move" => self.note_origin("move_from", key),
            // It makes room for the copy.
            "copy" => self.note(Class::Overwritten, "overwritten", key),
            _ => self.note(Class::Generic, "del", key),
        }
    }
}

impl<T: Txn + ?Sized> ReadTxn for EventTxn<'_, T> {
    fn now_ms(&self) -> u64 {
        self.txn.now_ms()
    }

    fn lookup(&self, key: &[u8], kind: Lookup) -> Result<Option<ValueRef<'_>>> {
        let value = self.txn.lookup(key, kind)?;
        if value.is_none() && kind.is_counted() && self.tells_misses {
            self.note(Class::KeyMiss, "keymiss", key);
        }
        Ok(value)
    }

    fn lookups(&self) -> Lookups {
        self.txn.lookups()
    }

    fn limit_work(&self, work: u64) {
        self.txn.limit_work(work);
    }

    fn charge(&self, work: u64) -> Result<()> {
        self.txn.charge(work)
    }
}

impl<T: Txn + ?Sized> Txn for EventTxn<'_, T> {
    fn begin_command(&mut self, uses_keys: bool) {
        self.txn.begin_command(uses_keys);
    }

    fn usage(&self, key: &[u8]) -> Result<Option<Usage>> {
        self.txn.usage(key)
    }

    fn set_usage(&mut self, key: &[u8], usage: Usage) -> Result<()> {
        self.txn.set_usage(key, usage)
    }

    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()> {
        if self.wanted.is_empty() {
            return self.txn.set(key, value, deadline);
        }
        let old = self.txn.peek(key)?.map(|old| old.deadline());
        self.txn.set(key, value, deadline)?;
        self.note_set(key, old, deadline);
        Ok(())
    }

    fn copy(&mut self, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        self.note_copy(to, deadline, &mut |txn| txn.copy(from, to, deadline))
    }

    fn write_range(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize> {
        if self.wanted.is_empty() {
            return self.txn.write_range(key, offset, bytes);
        }
        let old = self.txn.peek(key)?.map(|old| old.deadline());
        let len = self.txn.write_range(key, offset, bytes)?;
        if !bytes.is_empty() {
            self.note_set(key, old, old.flatten());
        }
        Ok(len)
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let changed = self.txn.set_deadline(key, deadline)?;
        if changed {
            let name = match deadline {
                None => "persist",
                Some(deadline) if deadline.has_passed(self.txn.now_ms()) => "del",
                Some(_) => "expire",
            };
            self.note(Class::Generic, name, key);
        }
        Ok(changed)
    }

    fn mark_changed(&mut self, key: &[u8]) -> Result<bool> {
        let changed = self.txn.mark_changed(key)?;
        if changed {
            let old = self.txn.peek(key)?.and_then(|old| old.deadline());
            self.note_set(key, Some(old), old);
        }
        Ok(changed)
    }

    fn count_changes(&mut self, count: u64) {
        self.txn.count_changes(count);
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool> {
        let deleted = self.txn.delete(key)?;
        if deleted {
            self.note_removal(key);
        }
        Ok(deleted)
    }

    fn clear(&mut self) -> Result<u64> {
        self.txn.clear()
    }
}

impl<T: CrossTxn + ?Sized> CrossTxn for EventTxn<'_, T> {
    fn select(&mut self, keyspace_id: u32) -> Result<()> {
        self.txn.select(keyspace_id)?;
        if let Some(database) = (self.database_of)(keyspace_id) {
            self.database = database;
        }
        Ok(())
    }

    fn copy_from(&mut self, keyspace_id: u32, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        self.note_copy(to, deadline, &mut |txn| txn.copy_from(keyspace_id, from, to, deadline))
    }

    fn swap(&mut self, keyspace_id: u32) -> Result<()> {
        self.txn.swap(keyspace_id)
    }

    fn as_scan(&self) -> &dyn Scan {
        self.txn.as_scan()
    }
}
