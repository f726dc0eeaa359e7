//! INCREX: a counter with bounds, and what becomes of its deadline, in one step.
//!
//! Invariant: a result outside the bounds either changes nothing, neither value nor deadline, or is the bound itself; the
//! reply says by how much the value has changed in fact.

use std::cmp::Ordering;

use kvcore::Deadline;
use kvcore::hooks::Txn;
use kvproto::{Args, CommandError, Reply, parse_integer};

use super::compare::Condition;
use super::long_double::{Finite, LongDouble};
use crate::expiry::Notation;
use crate::outcome::Outcome;

const SYNTAX: CommandError = CommandError::Syntax;

/// The words of a request, not looked at yet.
#[derive(Default)]
struct Options<'b> {
    by_integer: Option<&'b [u8]>,
    by_float: Option<&'b [u8]>,
    lower: Option<&'b [u8]>,
    upper: Option<&'b [u8]>,
    condition: Option<Condition<'b>>,
    until: Option<(Notation, &'b [u8])>,
    saturates: bool,
    persists: bool,
    keeps_deadline: bool,
}

/// What a command comes to: the value it leaves, and by how much that differs from the one before.
struct Sum<N> {
    value: N,
    applied: N,
    /// What to store; none if the result is out of bounds and nothing is stored.
    stored: Option<String>,
}

/// `INCREX key [BYINT increment|BYFLOAT increment] [LBOUND lower] [UBOUND upper] [SATURATE] [NX|XX]
/// [EX seconds|PX milliseconds|EXAT unix-seconds|PXAT unix-milliseconds|PERSIST] [ENX]`: the value and by how much it was
/// changed. ENX leaves a deadline as it is if there is one.
pub fn increx(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let options = Options::parse(args)?;
    if let Some(increment) = options.by_float {
        let sum = Floats::parse(increment, &options)?;
        let until = options.deadline(txn.now_ms())?;
        let sum = sum.of(key, &options, txn)?;
        store(key, sum.stored.as_deref(), until, &options, txn)?;
        return Ok(Reply::Array([sum.value, sum.applied].map(|number| Reply::Decimal(number.to_string())).into()));
    }
    let sum = Integers::parse(&options)?;
    let until = options.deadline(txn.now_ms())?;
    let sum = sum.of(key, &options, txn)?;
    store(key, sum.stored.as_deref(), until, &options, txn)?;
    Ok(Reply::Array(vec![Reply::Integer(sum.value), Reply::Integer(sum.applied)]))
}

/// Stores a value that is not out of bounds, with the deadline that is its from now on.
fn store(
    key: &[u8],
    value: Option<&str>,
    until: Option<Deadline>,
    options: &Options<'_>,
    txn: &mut dyn Txn,
) -> kvcore::Result<()> {
    let Some(value) = value else { return Ok(()) };
    let before = txn.peek(key)?.and_then(|value| value.deadline());
    let deadline = match until {
        Some(until) if !(options.keeps_deadline && before.is_some()) => {
            if until.has_passed(txn.now_ms()) {
                return txn.delete(key).map(|_| ());
            }
            Some(until)
        }
        _ if options.persists => None,
        _ => before,
    };
    txn.set(key, value.as_bytes(), deadline)
}

impl<'b> Options<'b> {
    fn parse(mut args: Args<'b>) -> Result<Options<'b>, CommandError> {
        let mut options = Options::default();
        // Each once, unlike SET's.
        let once = |said: &mut bool| if std::mem::replace(said, true) { Err(SYNTAX) } else { Ok(()) };
        while !args.is_empty() {
            if args.eat("SATURATE") {
                once(&mut options.saturates)?;
            } else if args.eat("PERSIST") {
                once(&mut options.persists)?;
            } else if args.eat("ENX") {
                once(&mut options.keeps_deadline)?;
            } else if args.eat("NX") {
                options.require(Condition::Absent)?;
            } else if args.eat("XX") {
                options.require(Condition::Present)?;
            } else if let Some((_, notation)) = Notation::OPTIONS.iter().find(|(option, _)| args.eat(option)) {
                let amount = args.next_opt().ok_or(SYNTAX)?;
                if options.until.replace((*notation, amount)).is_some() {
                    return Err(SYNTAX);
                }
            } else {
                let place = match () {
                    () if args.eat("BYINT") => &mut options.by_integer,
                    () if args.eat("BYFLOAT") => &mut options.by_float,
                    () if args.eat("LBOUND") => &mut options.lower,
                    () if args.eat("UBOUND") => &mut options.upper,
                    () => return Err(SYNTAX),
                };
                if place.replace(args.next_opt().ok_or(SYNTAX)?).is_some() {
                    return Err(SYNTAX);
                }
            }
        }
        if options.by_integer.is_some() && options.by_float.is_some()
            || options.persists && (options.until.is_some() || options.keeps_deadline)
        {
            return Err(SYNTAX);
        }
        if options.keeps_deadline && options.until.is_none() {
            return Err(CommandError::custom("ERR ENX flag requires an expiration"));
        }
        Ok(options)
    }

    fn require(&mut self, condition: Condition<'b>) -> Result<(), CommandError> {
        if self.condition.replace(condition).is_some() { Err(SYNTAX) } else { Ok(()) }
    }

    fn deadline(&self, now_ms: u64) -> Result<Option<Deadline>, CommandError> {
        self.until.map(|(notation, amount)| notation.deadline(amount, now_ms, "increx")).transpose()
    }

    /// Whether the result may be stored as far as NX and XX go.
    fn is_met(&self, key: &[u8], txn: &dyn Txn) -> Result<bool, crate::outcome::Failure> {
        match self.condition {
            None => Ok(true),
            Some(condition) => Ok(condition.holds(txn.peek(key)?, txn)?),
        }
    }
}

fn crossed() -> CommandError {
    CommandError::custom("ERR LBOUND can't be greater than UBOUND")
}

/// Integers of 64 bits.
struct Integers {
    increment: i64,
    lower: i64,
    upper: i64,
}

impl Integers {
    fn parse(options: &Options<'_>) -> Result<Integers, CommandError> {
        let read = |word: Option<&[u8]>, what: &str, unsaid: i64| {
            let wrong = || CommandError::custom(format!("ERR {what} is not an integer or out of range"));
            word.map_or(Ok(unsaid), |word| parse_integer(word).ok_or_else(wrong))
        };
        let increment = read(options.by_integer, "Increment", 1)?;
        let lower = read(options.lower, "LBOUND", i64::MIN)?;
        let upper = read(options.upper, "UBOUND", i64::MAX)?;
        if lower > upper { Err(crossed()) } else { Ok(Integers { increment, lower, upper }) }
    }

    fn of(&self, key: &[u8], options: &Options<'_>, txn: &dyn Txn) -> Result<Sum<i64>, crate::outcome::Failure> {
        let old = match txn.get_to_write(key)? {
            None => 0,
            Some(value) => parse_integer(value.bytes()).ok_or(CommandError::NotAnInteger)?,
        };
        let wide = i128::from(old) + i128::from(self.increment);
        let inside = wide.clamp(self.lower.into(), self.upper.into());
        if !options.is_met(key, txn)? || (inside != wide && !options.saturates) {
            return Ok(Sum { value: old, applied: 0, stored: None });
        }
        // It lies between two integers of 64 bits.
        let value = inside as i64;
        let applied = value.checked_sub(old).ok_or(CommandError::custom("ERR applied increment would overflow"))?;
        Ok(Sum { value, applied, stored: Some(value.to_string()) })
    }
}

/// The numbers in which INCRBYFLOAT counts.
struct Floats {
    increment: Finite,
    lower: Bound,
    upper: Bound,
}

/// A bound, which may be infinite.
#[derive(Clone, Copy, PartialEq)]
enum Bound {
    Below,
    At(Finite),
    Above,
}

impl Bound {
    fn parse(word: &[u8]) -> Option<Bound> {
        Some(match LongDouble::parse(word)? {
            LongDouble::Finite(number) => Bound::At(number),
            LongDouble::Infinite if word.starts_with(b"-") => Bound::Below,
            LongDouble::Infinite => Bound::Above,
        })
    }

    fn compare(self, other: Bound) -> Ordering {
        match (self, other) {
            (Bound::At(one), Bound::At(other)) => one.compare(other),
            (one, other) if one == other => Ordering::Equal,
            (Bound::Below, _) | (_, Bound::Above) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

impl Floats {
    fn parse(increment: &[u8], options: &Options<'_>) -> Result<Floats, CommandError> {
        let wrong = |what: &str| CommandError::custom(format!("ERR {what} is not a valid float"));
        let increment = match LongDouble::parse(increment) {
            Some(LongDouble::Finite(increment)) => increment,
            Some(LongDouble::Infinite) => {
                return Err(CommandError::custom("ERR BYFLOAT increment cannot be Infinity"));
            }
            None => return Err(wrong("Increment")),
        };
        let read = |word: Option<&[u8]>, what: &str, unsaid: Finite| {
            word.map_or(Ok(Bound::At(unsaid)), |word| Bound::parse(word).ok_or_else(|| wrong(what)))
        };
        let lower = read(options.lower, "LBOUND", Finite::largest(true))?;
        let upper = read(options.upper, "UBOUND", Finite::largest(false))?;
        if lower.compare(upper).is_gt() { Err(crossed()) } else { Ok(Floats { increment, lower, upper }) }
    }

    fn of(&self, key: &[u8], options: &Options<'_>, txn: &dyn Txn) -> Result<Sum<Finite>, crate::outcome::Failure> {
        let old = match txn.get_to_write(key)?.map(|value| LongDouble::parse(value.bytes())) {
            None => Finite::zero(false),
            Some(Some(LongDouble::Finite(old))) => old,
            Some(Some(LongDouble::Infinite)) => return Err(CommandError::custom("ERR value cannot be Infinity").into()),
            Some(None) => return Err(CommandError::NotAFloat.into()),
        };
        let sum = old.plus(self.increment);
        // A sum beyond all numbers lies on the side of the increment.
        let reached = Bound::At(sum.unwrap_or(Finite::largest(self.increment.is_negative())));
        let inside = if reached.compare(self.upper).is_gt() {
            self.upper
        } else if reached.compare(self.lower).is_lt() {
            self.lower
        } else {
            reached
        };
        if !options.is_met(key, txn)? || ((sum.is_none() || inside != reached) && !options.saturates) {
            return Ok(Sum { value: old, applied: Finite::zero(false), stored: None });
        }
        let applied = match inside {
            Bound::At(value) => value.plus(old.negated()).map(|applied| (value, applied)),
            Bound::Below | Bound::Above => None,
        };
        let (value, applied) = applied.ok_or(CommandError::custom("ERR applied increment would be Infinity"))?;
        Ok(Sum { value, applied, stored: Some(value.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::Shell;

    const SYNTAX: &str = "ERR syntax error";

    #[test]
    fn a_counter_goes_up_and_says_by_how_much() {
        Shell::new().converse(
            r#"
            INCREX k                         -> [1, 1]
            INCREX k BYINT 5                 -> [6, 5]
            INCREX k byint -10               -> [-4, -10]
            INCREX k BYINT 0                 -> [-4, 0]
            GET k                            -> "-4"
            "#,
        );
    }

    #[test]
    fn a_result_out_of_bounds_changes_nothing() {
        Shell::new().converse(
            r#"
            SET k 10                                 -> OK
            INCREX k BYINT 5 UBOUND 15               -> [15, 5]
            INCREX k UBOUND 15 EX 100                -> [15, 0]
            TTL k                                    -> -1
            INCREX k BYINT -20 LBOUND 0              -> [15, 0]
            INCREX k BYINT -15 LBOUND 0 UBOUND 9     -> [0, -15]
            SET k 50 EX 100                          -> OK
            INCREX k BYINT 5 UBOUND 30 PERSIST       -> [50, 0]
            TTL k                                    -> 100
            INCREX k BYINT -25 UBOUND 30             -> [25, -25]
            INCREX none BYINT 5 LBOUND 10            -> [0, 0]
            EXISTS none                              -> 0
            SET k 9223372036854775807                -> OK
            INCREX k                                 -> [9223372036854775807, 0]
            INCREX k BYINT -9223372036854775808      -> [-1, -9223372036854775808]
            INCREX k BYINT -9223372036854775808      -> [-1, 0]
            "#,
        );
    }

    #[test]
    fn saturated_it_is_the_bound() {
        let shell = Shell::new();
        shell.converse(
            r#"
            SET k 98                                 -> OK
            INCREX k BYINT 5 SATURATE UBOUND 100     -> [100, 2]
            INCREX k UBOUND 100 SATURATE EX 50       -> [100, 0]
            TTL k                                    -> 50
            INCREX k BYINT 5 UBOUND 30 SATURATE      -> [30, -70]
            INCREX k BYINT -5 LBOUND 40 SATURATE     -> [40, 10]
            INCREX k BYINT 9223372036854775807 SATURATE -> [9223372036854775807, 9223372036854775767]
            INCREX k SATURATE                        -> [9223372036854775807, 0]
            INCREX none UBOUND 0 SATURATE            -> [0, 0]
            GET none                                 -> "0"
            "#,
        );
        shell.refuses(&[("INCREX k UBOUND -9 SATURATE", "ERR applied increment would overflow")]);
    }

    #[test]
    fn floats_are_counted_as_incrbyfloat_does() {
        let shell = Shell::new();
        shell.converse(
            r#"
            SET k 1.5                                    -> OK
            INCREX k BYFLOAT 0.25                        -> [1.75, 0.25]
            INCREX k BYFLOAT 1e0                         -> [2.75, 1]
            INCREX k BYFLOAT 10 UBOUND 12.5              -> [2.75, 0]
            INCREX k BYFLOAT 10 UBOUND 12.5 SATURATE     -> [12.5, 9.75]
            INCREX k BYFLOAT -100 LBOUND -5.5 SATURATE   -> [-5.5, -18]
            INCREX k BYFLOAT 1 UBOUND inf LBOUND -inf    -> [-4.5, 1]
            INCREX k BYFLOAT 1 LBOUND inf UBOUND +inf    -> [-4.5, 0]
            GET k                                        -> "-4.5"
            SET k 1e4932                                 -> OK
            "#,
        );
        for (command, saturated) in [("INCREX k BYFLOAT 1.1e4932", false), ("INCREX k BYFLOAT 1.1e4932 SATURATE", true)]
        {
            let before = shell.run("GET k");
            shell.run(command);
            assert_eq!(shell.run("GET k") != before, saturated, "{command}");
        }
        let infinite = "ERR applied increment would be Infinity";
        shell.run("SET k 1");
        shell.refuses(&[
            ("INCREX k BYFLOAT 1 LBOUND -inf UBOUND -inf SATURATE", infinite),
            ("INCREX k BYFLOAT +inf", "ERR BYFLOAT increment cannot be Infinity"),
            ("INCREX k BYFLOAT x", "ERR Increment is not a valid float"),
            ("INCREX k BYFLOAT 1 LBOUND x", "ERR LBOUND is not a valid float"),
            ("INCREX k BYFLOAT 1 UBOUND -inf", "ERR LBOUND can't be greater than UBOUND"),
        ]);
        shell.run("SET k inf");
        shell.refuses(&[("INCREX k BYFLOAT 1", "ERR value cannot be Infinity")]);
    }

    #[test]
    fn the_deadline_is_kept_replaced_or_taken_off() {
        Shell::new().converse(
            r#"
            INCREX k EX 100                  -> [1, 1]
            TTL k                            -> 100
            INCREX k                         -> [2, 1]
            TTL k                            -> 100
            INCREX k PX 7000 ENX             -> [3, 1]
            TTL k                            -> 100
            INCREX k PX 7000                 -> [4, 1]
            TTL k                            -> 7
            INCREX k EXAT 1 ENX              -> [5, 1]
            TTL k                            -> 7
            INCREX k PERSIST                 -> [6, 1]
            TTL k                            -> -1
            INCREX k ENX EX 9                -> [7, 1]
            TTL k                            -> 9
            INCREX k PXAT 1                  -> [8, 1]
            EXISTS k                         -> 0
            INCREX k EXAT 1                  -> [1, 1]
            EXISTS k                         -> 0
            "#,
        );
    }

    #[test]
    fn conditions_are_those_of_set() {
        Shell::new().converse(
            r#"
            INCREX k XX                      -> [0, 0]
            EXISTS k                         -> 0
            INCREX k NX BYINT 3              -> [3, 3]
            INCREX k NX                      -> [3, 0]
            INCREX k XX EX 5                 -> [4, 1]
            "#,
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let shell = Shell::new();
        shell.run("SET k v");
        shell.refuses(&[
            ("INCREX", "ERR wrong number of arguments for 'increx' command"),
            ("INCREX k", "ERR value is not an integer or out of range"),
            ("INCREX k BYFLOAT 1", "ERR value is not a valid float"),
            ("INCREX k BYINT x", "ERR Increment is not an integer or out of range"),
            ("INCREX k BYINT 1.5", "ERR Increment is not an integer or out of range"),
            ("INCREX k LBOUND 1.5", "ERR LBOUND is not an integer or out of range"),
            ("INCREX k UBOUND inf", "ERR UBOUND is not an integer or out of range"),
            ("INCREX k LBOUND 2 UBOUND 1 SATURATE", "ERR LBOUND can't be greater than UBOUND"),
            ("INCREX k ENX", "ERR ENX flag requires an expiration"),
            ("INCREX k EX 0", "ERR invalid expire time in 'increx' command"),
            ("INCREX k PX x", "ERR value is not an integer or out of range"),
        ]);
        for words in [
            "FOO",
            "BYINT",
            "LBOUND",
            "EX",
            "BYINT 1 BYFLOAT 1",
            "BYINT 1 BYINT 1",
            "UBOUND 1 UBOUND 1",
            "EX 1 EX 1",
            "EX 1 PX 1",
            "PERSIST EX 1",
            "EX 1 PERSIST",
            "PERSIST ENX",
            "PERSIST PERSIST",
            "ENX ENX EX 1",
            "SATURATE SATURATE",
            "NX XX",
            "KEEPTTL",
        ] {
            shell.refuses(&[(&format!("INCREX k {words}"), SYNTAX)]);
        }
    }
}
