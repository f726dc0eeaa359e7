//! When a key ends: EXPIRE and its kin, TTL and its kin, PERSIST; and how a command spells a moment, which SET and GETEX
//! share.
//!
//! Invariant: a moment is signed 64-bit milliseconds since 1970, computed with checks. One that does not fit is an
//! error before anything has changed; one that has come ends the key at once.

use kvcore::Deadline;
use kvcore::hooks::{ReadTxn, Txn};
use kvproto::{Args, CommandError, Reply, parse_integer};

use crate::outcome::Outcome;

/// `EXPIRE key seconds [NX|XX|GT|LT]`
pub fn expire(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    set_deadline(args, txn, Notation::Seconds, "expire")
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
pub fn pexpire(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    set_deadline(args, txn, Notation::Milliseconds, "pexpire")
}

/// `EXPIREAT key unix-seconds [NX|XX|GT|LT]`
pub fn expireat(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    set_deadline(args, txn, Notation::UnixSeconds, "expireat")
}

/// `PEXPIREAT key unix-milliseconds [NX|XX|GT|LT]`
pub fn pexpireat(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    set_deadline(args, txn, Notation::UnixMilliseconds, "pexpireat")
}

/// `TTL key`: the seconds left, rounded; -1 without a deadline, -2 without a key.
pub fn ttl(args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    show_deadline(args, txn, |deadline, now| to_seconds(deadline.saturating_sub(now)))
}

/// `PTTL key`: the milliseconds left; -1 without a deadline, -2 without a key.
pub fn pttl(args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    show_deadline(args, txn, |deadline, now| deadline.saturating_sub(now))
}

/// `EXPIRETIME key`: the deadline in Unix seconds, rounded; -1 without one, -2 without a key.
pub fn expiretime(args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    show_deadline(args, txn, |deadline, _| to_seconds(deadline))
}

/// `PEXPIRETIME key`: the deadline in Unix milliseconds; -1 without one, -2 without a key.
pub fn pexpiretime(args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    show_deadline(args, txn, |deadline, _| deadline)
}

/// `PERSIST key`: 1 if it had a deadline, which it then has no more.
pub fn persist(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let had_one = txn.get_to_write(key)?.is_some_and(|value| value.deadline().is_some());
    if had_one {
        txn.set_deadline(key, None)?;
    }
    Ok(Reply::flag(had_one))
}

/// How a command spells a moment: in which unit, counted from now or from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

impl Notation {
    /// The options of SET and GETEX that name each.
    pub(super) const OPTIONS: [(&'static str, Notation); 4] = [
        ("EX", Notation::Seconds),
        ("PX", Notation::Milliseconds),
        ("EXAT", Notation::UnixSeconds),
        ("PXAT", Notation::UnixMilliseconds),
    ];

    /// Milliseconds since 1970; none if they do not fit.
    fn unix_ms(self, amount: i64, now_ms: u64) -> Option<i64> {
        match self {
            Notation::Seconds => amount.checked_mul(1000)?.checked_add_unsigned(now_ms),
            Notation::Milliseconds => amount.checked_add_unsigned(now_ms),
            Notation::UnixSeconds => amount.checked_mul(1000),
            Notation::UnixMilliseconds => Some(amount),
        }
    }

    /// The deadline of a value that `command` is about to store or has read: `amount` has to be above zero, though the
    /// moment may have come already.
    pub(super) fn deadline(self, amount: &[u8], now_ms: u64, command: &str) -> Result<Deadline, CommandError> {
        let amount = parse_integer(amount).ok_or(CommandError::NotAnInteger)?;
        Some(amount)
            .filter(|&amount| amount > 0)
            .and_then(|amount| self.unix_ms(amount, now_ms))
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Deadline::at_ms)
            .ok_or_else(|| CommandError::invalid_expire(command))
    }
}

/// What a SET or a GETEX says about the key's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime<'b> {
    Unsaid,
    /// By the command's own word: KEEPTTL of SET, PERSIST of GETEX.
    Keyword,
    /// By one of EX, PX, EXAT and PXAT, and the number behind it, not looked at yet.
    Until(Notation, &'b [u8]),
}

impl<'b> Lifetime<'b> {
    /// Takes the next option if it is about the deadline, and answers whether it was. Saying the same again is allowed,
    /// the last number counts; saying it another way is a syntax error.
    pub(super) fn take(&mut self, keyword: &str, args: &mut Args<'b>) -> Result<bool, CommandError> {
        let said = if args.eat(keyword) {
            Lifetime::Keyword
        } else if let Some((_, notation)) = Notation::OPTIONS.iter().find(|(option, _)| args.eat(option)) {
            Lifetime::Until(*notation, args.next()?)
        } else {
            return Ok(false);
        };
        let fits = match (&*self, &said) {
            (Lifetime::Until(before, _), Lifetime::Until(after, _)) => before == after,
            (before, after) => *before == Lifetime::Unsaid || before == after,
        };
        if !fits {
            return Err(CommandError::Syntax);
        }
        *self = said;
        Ok(true)
    }

    /// The deadline `command` was given in words, if it was.
    pub(super) fn until(&self, now_ms: u64, command: &str) -> Result<Option<Deadline>, CommandError> {
        match *self {
            Lifetime::Until(notation, amount) => notation.deadline(amount, now_ms, command).map(Some),
            _ => Ok(None),
        }
    }
}

/// Under which circumstances EXPIRE and its kin do anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    none_yet: bool,
    one_already: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    fn parse(args: &mut Args<'_>) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        while let Some(word) = args.peek() {
            let condition = if args.eat("NX") {
                &mut conditions.none_yet
            } else if args.eat("XX") {
                &mut conditions.one_already
            } else if args.eat("GT") {
                &mut conditions.later
            } else if args.eat("LT") {
                &mut conditions.earlier
            } else {
                return Err(unsupported_option(word));
            };
            *condition = true;
        }
        if conditions.none_yet && (conditions.one_already || conditions.later || conditions.earlier) {
            return Err(CommandError::custom("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if conditions.later && conditions.earlier {
            return Err(CommandError::custom("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether a key that ends at `current` may from now on end at `next`. To have no deadline is to end after all others.
    fn hold(self, current: Option<i64>, next: i64) -> bool {
        !(self.none_yet && current.is_some()
            || self.one_already && current.is_none()
            || self.later && current.is_none_or(|current| next <= current)
            || self.earlier && current.is_some_and(|current| next >= current))
    }
}

fn unsupported_option(word: &[u8]) -> CommandError {
    // A text of Redis ends at a NUL, and with it go the line ends before it.
    let mut word = word.split(|byte| *byte == 0).next().unwrap_or_default();
    while let [rest @ .., b'\r' | b'\n'] = word {
        word = rest;
    }
    CommandError::quoting("ERR Unsupported option ", word, "")
}

fn set_deadline(mut args: Args<'_>, txn: &mut dyn Txn, notation: Notation, command: &str) -> Outcome {
    let key = args.next()?;
    let amount = args.next()?;
    let conditions = Conditions::parse(&mut args)?;
    let amount = parse_integer(amount).ok_or(CommandError::NotAnInteger)?;
    let next = notation.unix_ms(amount, txn.now_ms()).ok_or_else(|| CommandError::invalid_expire(command))?;
    let Some(value) = txn.get_to_write(key)? else {
        return Ok(Reply::flag(false));
    };
    if conditions != Conditions::default() {
        let current = value.deadline().map(|deadline| deadline.as_ms().try_into().unwrap_or(i64::MAX));
        if !conditions.hold(current, next) {
            return Ok(Reply::flag(false));
        }
    }
    // A moment before 1970 has come as surely as 1970 has.
    let deadline = Deadline::at_ms(next.try_into().unwrap_or(0));
    let found = txn.set_deadline(key, Some(deadline))?;
    Ok(Reply::flag(found))
}

fn show_deadline(mut args: Args<'_>, txn: &dyn ReadTxn, show: fn(u64, u64) -> u64) -> Outcome {
    let key = args.next()?;
    let shown = match txn.look(key)?.map(|value| value.deadline()) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => show(deadline.as_ms(), txn.now_ms()).try_into().unwrap_or(i64::MAX),
    };
    Ok(Reply::Integer(shown))
}

fn to_seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

#[cfg(test)]
mod tests;
