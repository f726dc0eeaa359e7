//! The keys of any request of the table, and what its command does to each: for COMMAND GETKEYS and access rules.
//!
//! Invariant: a position found lies within the request. The hot path has no use for this: it goes by [`super::KeyRule`].

use super::flags::{FlagSet, KeyFlag};
use super::key_spec::{Begin, Find, KeySpec};
use super::string::SET_READING;
use super::{Flag, Spec};
use crate::number::parse_integer;
use crate::request::Request;

/// The positions of keys, each with what happens to it.
pub type FoundKeys = Vec<(usize, FlagSet<KeyFlag>)>;

const READ: FlagSet<KeyFlag> = KeyFlag::set(&[KeyFlag::ReadOnly, KeyFlag::Access]);
const CHANGED: FlagSet<KeyFlag> = KeyFlag::set(&[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update]);
const OVERWRITTEN: FlagSet<KeyFlag> = KeyFlag::set(&[KeyFlag::Overwrite, KeyFlag::Update]);
const REMOVED: FlagSet<KeyFlag> = KeyFlag::set(&[KeyFlag::Remove, KeyFlag::Delete]);
const TAKEN: FlagSet<KeyFlag> = KeyFlag::set(&[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Delete]);

/// The short form of key positions that COMMAND shows beside the full one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegacyKeys {
    /// Position of the first key, 0 if there is none.
    pub first: usize,
    /// Position of the last key; if negative, from the end.
    pub last: isize,
    /// Distance between keys.
    pub step: usize,
    /// There are keys it does not tell of.
    pub movable: bool,
}

impl Spec {
    /// Whether a request can name keys at all.
    pub fn takes_keys(&self) -> bool {
        self.key_specs.iter().any(|keys| !keys.flags.has(KeyFlag::NotKey))
    }

    /// The keys of `request`, which has the right number of words for this command. None are found where the words
    /// make no sense to the command.
    pub fn find_keys(&self, request: Request<'_>) -> FoundKeys {
        // What these do depends on their options.
        if self.key_specs.iter().any(|keys| keys.flags.has(KeyFlag::VariableFlags)) {
            let flags = match self.name {
                "bitfield" => of_bitfield(request),
                "delex" => of_delex(request),
                _ => of_set(request),
            };
            return vec![(1, flags)];
        }
        by_specs(self.key_specs, request).unwrap_or_else(|| match self.name {
            "sort" => of_sort(request),
            "sort_ro" => vec![(1, READ)],
            "migrate" => of_migrate(request),
            "georadius" | "georadiusbymember" => vec![(1, READ)],
            _ => FoundKeys::new(),
        })
    }

    /// The short form of the key specs.
    pub fn legacy_keys(&self) -> LegacyKeys {
        if let [KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, .. }, flags, .. }] =
            *self.key_specs
        {
            let movable = flags.has(KeyFlag::Incomplete);
            return LegacyKeys { first, last: absolute(first, last), step, movable };
        }
        let mut keys = LegacyKeys::default();
        for spec in self.key_specs {
            match (spec.begin, spec.find) {
                (Begin::Index(first), Find::Range { last, step: 1, .. })
                    if keys.first == 0 || keys.last == first.cast_signed() - 1 =>
                {
                    keys.movable |= spec.flags.has(KeyFlag::Incomplete);
                    keys = LegacyKeys {
                        first: if keys.first == 0 { first } else { keys.first },
                        last: absolute(first, last),
                        step: 1,
                        movable: keys.movable,
                    };
                }
                _ => keys.movable = true,
            }
        }
        keys
    }

    /// The flags as COMMAND shows them, those that follow from the key specs included.
    pub fn shown_flags(&self) -> FlagSet<Flag> {
        let mut flags = self.flags;
        if self.legacy_keys().movable {
            flags.insert(Flag::MovableKeys);
        }
        flags
    }
}

/// A last position relative to `first` as one from the start; one from the end stays.
fn absolute(first: usize, last: isize) -> isize {
    if last < 0 { last } else { first.cast_signed() + last }
}

/// The keys that the specs find; `None` if one of them finds words that cannot be, or does not find all.
fn by_specs(specs: &[KeySpec], request: Request<'_>) -> Option<FoundKeys> {
    let mut found = FoundKeys::new();
    for spec in specs.iter().filter(|spec| !spec.flags.has(KeyFlag::NotKey)) {
        let begin = match spec.begin {
            Begin::Index(index) => index,
            Begin::Keyword { word, from } => match behind_keyword(request, word, from) {
                Some(begin) => begin,
                None => continue,
            },
            Begin::Unknown => return None,
        };
        let (first, end, step) = match spec.find {
            Find::Range { last, step, limit } => {
                let end = match usize::try_from(last) {
                    Ok(last) => begin + last + 1,
                    Err(_) if limit > 1 => begin + request.len().saturating_sub(begin) / limit,
                    Err(_) => (request.len() + 1).saturating_sub(last.unsigned_abs()),
                };
                (begin, end, step)
            }
            Find::Counted { first, step } => {
                let count = usize::try_from(parse_integer(request.get(begin)?)?).ok()?;
                (begin + first, (begin + first).saturating_add(count.saturating_mul(step)), step)
            }
            Find::Unknown => return None,
        };
        if first >= end || end > request.len() || spec.flags.has(KeyFlag::Incomplete) {
            return None;
        }
        found.extend((first..end).step_by(step).map(|at| (at, spec.flags)));
    }
    Some(found)
}

/// The position behind a keyword. A search from the end goes backwards.
fn behind_keyword(request: Request<'_>, word: &str, from: isize) -> Option<usize> {
    let is_keyword = |at: &usize| request.get(*at).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()));
    let at = match usize::try_from(from) {
        Ok(from) => (from..request.len().saturating_sub(1)).find(is_keyword),
        Err(_) => (2..=request.len().checked_sub(from.unsigned_abs())?).rev().find(is_keyword),
    };
    at.map(|at| at + 1)
}

fn is(request: Request<'_>, at: usize, word: &str) -> bool {
    request.get(at).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
}

/// SET reads the old value when it is asked to return it or to compare it: whether two values are the same tells one of
/// them to who knows the other.
fn of_set(request: Request<'_>) -> FlagSet<KeyFlag> {
    let reads = request.iter().skip(3).any(|word| SET_READING.iter().any(|option| option.has_token(word)));
    if reads { CHANGED } else { OVERWRITTEN }
}

/// DELEX with a condition reads the value.
fn of_delex(request: Request<'_>) -> FlagSet<KeyFlag> {
    if request.len() > 2 { TAKEN } else { REMOVED }
}

/// BITFIELD of nothing but GETs changes nothing.
fn of_bitfield(request: Request<'_>) -> FlagSet<KeyFlag> {
    let mut at = 2;
    while at < request.len() {
        let left = request.len() - at - 1;
        at += match () {
            () if is(request, at, "get") && left >= 2 => 3,
            () if is(request, at, "overflow") && left >= 1 => 2,
            () => return CHANGED,
        };
    }
    READ
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE destination]
fn of_sort(request: Request<'_>) -> FoundKeys {
    let mut found = vec![(1, READ)];
    let mut at = 2;
    while at < request.len() {
        if is(request, at, "limit") {
            at += 2;
        } else if is(request, at, "get") || is(request, at, "by") {
            at += 1;
        } else if is(request, at, "store") && at + 1 < request.len() {
            found.truncate(1);
            found.push((at + 1, OVERWRITTEN));
        }
        at += 1;
    }
    found
}

/// MIGRATE host port key|"" destination-db timeout [COPY] [REPLACE] [AUTH p|AUTH2 u p] [KEYS key [key ...]]
fn of_migrate(request: Request<'_>) -> FoundKeys {
    let mut at = 6;
    while at < request.len() {
        if is(request, at, "keys") {
            let mixed = request.get(3).is_some_and(|key| !key.is_empty());
            return if mixed { FoundKeys::new() } else { (at + 1..request.len()).map(|at| (at, TAKEN)).collect() };
        }
        at += if is(request, at, "auth2") { 3 } else { 1 + usize::from(is(request, at, "auth")) };
    }
    vec![(3, TAKEN)]
}
