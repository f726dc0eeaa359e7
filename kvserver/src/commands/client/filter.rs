//! Which clients CLIENT LIST shows and CLIENT KILL ends: the filters of Redis 7.2 and those that Valkey 8.1 and 9.0 added.
//!
//! Invariant: a filter is read whole before any client is looked at; a client is chosen if all that is given holds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kvproto::{Args, CommandError, parse_integer};

use crate::clients::{Client, ClientType, FLAGS};
use crate::context::Context;
use crate::databases::DATABASES;

/// What a client must be, or with `NOT-` before it must not be.
enum Criterion<'b> {
    Ids(BTreeSet<u64>),
    Type(ClientType),
    Peer(&'b [u8]),
    Local(&'b [u8]),
    /// The address without its port.
    Host(&'b [u8]),
    User(&'b [u8]),
    Name(&'b [u8]),
    Library(&'b [u8]),
    LibraryVersion(&'b [u8]),
    /// All of these.
    Flags(&'b [u8]),
    /// All of these.
    Capabilities(&'b [u8]),
    Database(usize),
    AgeMin(Duration),
    IdleMin(Duration),
}

/// All that is given.
#[derive(Default)]
pub(super) struct Filter<'b> {
    /// Whether each is negated.
    criteria: Vec<(bool, Criterion<'b>)>,
    /// What SKIPME says, if it is given.
    pub(super) spares_self: Option<bool>,
}

impl<'b> Filter<'b> {
    /// The clients at an address.
    pub(super) fn of_peer(peer: &'b [u8]) -> Filter<'b> {
        Filter { criteria: vec![(false, Criterion::Peer(peer))], spares_self: Some(false) }
    }

    /// Reads pairs of an option and its value. Of an option that is repeated the last value counts; IDs add up.
    pub(super) fn read(mut args: Args<'b>, ctx: &Context<'_>) -> Result<Filter<'b>, CommandError> {
        let mut filter = Filter::default();
        while let Some(option) = args.next_opt() {
            let value = args.next_opt().ok_or(CommandError::Syntax)?;
            let option = option.to_ascii_lowercase();
            let (negated, name) = match option.strip_prefix(b"not-") {
                Some(name) => (true, name),
                None => (false, option.as_slice()),
            };
            let criterion = match name {
                b"id" => Criterion::Ids(ids(value, &mut args)?),
                b"skipme" if !negated => {
                    filter.spares_self = Some(yes_or_no(value)?);
                    continue;
                }
                b"maxage" if !negated => Criterion::AgeMin(seconds(value, "maxage")?),
                b"idle" if !negated => Criterion::IdleMin(seconds(value, "idle")?),
                b"type" => Criterion::Type(client_type(value)?),
                b"addr" => Criterion::Peer(value),
                b"laddr" => Criterion::Local(value),
                b"ip" => Criterion::Host(value),
                b"user" if ctx.server.acl.find(value).is_some() => Criterion::User(value),
                b"user" => return Err(CommandError::quoting("ERR No such user '", value, "'")),
                b"name" => Criterion::Name(value),
                b"lib-name" => Criterion::Library(value),
                b"lib-ver" => Criterion::LibraryVersion(value),
                b"flags" => Criterion::Flags(letters(value, &FLAGS, "flags", negated)?),
                b"capa" => Criterion::Capabilities(letters(value, &['r'], "capa", negated)?),
                b"db" => Criterion::Database(database(value, negated)?),
                _ => return Err(CommandError::Syntax),
            };
            filter.add(negated, criterion);
        }
        Ok(filter)
    }

    fn add(&mut self, negated: bool, criterion: Criterion<'b>) {
        let is_same = |other: &&mut (bool, Criterion<'b>)| {
            other.0 == negated && std::mem::discriminant(&other.1) == std::mem::discriminant(&criterion)
        };
        match (self.criteria.iter_mut().find(is_same), criterion) {
            (Some((_, Criterion::Ids(ids))), Criterion::Ids(more)) => ids.extend(more),
            (Some(place), criterion) => place.1 = criterion,
            (None, criterion) => self.criteria.push((negated, criterion)),
        }
    }

    pub(super) fn matches(&self, client: &Client, now: Instant) -> bool {
        self.criteria.iter().all(|(negated, criterion)| criterion.holds(client, now) != *negated)
    }
}

impl Criterion<'_> {
    fn holds(&self, client: &Client, now: Instant) -> bool {
        // What has no name does not even have the empty one.
        let is_named = |name: &str, wanted: &[u8]| !name.is_empty() && name.as_bytes() == wanted;
        match self {
            Criterion::Ids(ids) => ids.contains(&client.id),
            Criterion::Type(kind) => client.client_type() == *kind,
            Criterion::Peer(peer) => client.peer().as_bytes() == *peer,
            Criterion::Local(local) => client.local().as_bytes() == *local,
            Criterion::Host(host) => client.peer_host().is_some_and(|own| own.as_bytes() == *host),
            Criterion::User(user) => client.account().name.as_ref() == *user,
            Criterion::Name(name) => is_named(&client.labels().name, name),
            Criterion::Library(name) => is_named(&client.labels().library, name),
            Criterion::LibraryVersion(version) => is_named(&client.labels().library_version, version),
            Criterion::Flags(wanted) => {
                let flags = client.flags();
                wanted.iter().all(|flag| flags.contains(char::from(*flag)))
            }
            // There is one to have.
            Criterion::Capabilities(wanted) => wanted.is_empty() || client.can_be_redirected(),
            Criterion::Database(database) => client.database() == *database,
            Criterion::AgeMin(age) => now.saturating_duration_since(client.connected()) >= *age,
            Criterion::IdleMin(idle) => client.idle(now) >= *idle,
        }
    }
}

/// An id and those that follow it: the words up to one that is no number, which has to be the next option.
fn ids(first: &[u8], args: &mut Args<'_>) -> Result<BTreeSet<u64>, CommandError> {
    const WRONG: &str = "ERR client-id should be greater than 0";
    let mut ids = BTreeSet::from([positive(first, WRONG)?]);
    while let Some(word) = args.peek().filter(|word| parse_integer(word).is_some()) {
        ids.insert(positive(word, WRONG)?);
        args.next_opt();
    }
    Ok(ids)
}

pub(super) fn client_type(word: &[u8]) -> Result<ClientType, CommandError> {
    ClientType::named(word).ok_or_else(|| CommandError::quoting("ERR Unknown client type '", word, "'"))
}

fn seconds(word: &[u8], option: &str) -> Result<Duration, CommandError> {
    let seconds = parse_integer(word)
        .ok_or_else(|| CommandError::custom(format!("ERR {option} is not an integer or out of range")))?;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or_else(|| CommandError::custom(format!("ERR {option} should be greater than 0")))?;
    Ok(Duration::from_secs(seconds))
}

fn database(word: &[u8], negated: bool) -> Result<usize, CommandError> {
    let option = if negated { "NOT-DB" } else { "DB" };
    let number = parse_integer(word)
        .ok_or_else(|| CommandError::custom(format!("ERR {option} is not an integer or out of range")))?;
    usize::try_from(number)
        .ok()
        .filter(|number| *number < DATABASES)
        .ok_or_else(|| CommandError::custom(format!("ERR {option} number should be between 0 and {}", DATABASES - 1)))
}

/// A word of letters that are all among `known`.
fn letters<'b>(word: &'b [u8], known: &[char], what: &str, negated: bool) -> Result<&'b [u8], CommandError> {
    if word.iter().all(|letter| known.contains(&char::from(*letter))) {
        return Ok(word);
    }
    let filter = if negated { format!("NOT-{}", what.to_ascii_uppercase()) } else { "provided".to_owned() };
    Err(CommandError::quoting(&format!("ERR Unknown {what} found in the {filter} filter: "), word, ""))
}

fn positive(word: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = parse_integer(word).and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| CommandError::custom(error))
}

fn yes_or_no(word: &[u8]) -> Result<bool, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}
