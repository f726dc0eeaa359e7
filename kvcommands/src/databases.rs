//! Commands over several databases: COPY, MOVE, SWAPDB, and those that empty them.
//!
//! Invariant: each is one transaction over all databases that it concerns, so nobody sees a key in neither or in both; and it is
//! the same alone and inside EXEC.

use kvcore::hooks::{CrossTxn, Usage};
use kvproto::{Args, CommandError, Reply, parse_integer};

use crate::outcome::Outcome;

/// Databases that SELECT can reach: the keyspaces named "0" to "15".
pub const DATABASES: usize = 16;

/// What a command over several databases locks. The first database is the current one when the command begins; of `Everything`
/// it may be any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Needs<'a> {
    /// These keys, each of a database.
    Keys(Vec<(usize, &'a [u8])>),
    /// These databases, whole.
    Whole(Vec<usize>),
    /// All keyspaces of the store, whole, those that clients cannot reach among them.
    Everything,
}

/// The databases as a command over several of them sees them.
pub struct Databases<'d> {
    /// The one that its client has selected.
    pub selected: usize,
    /// Returns the keyspace's id of a database that is locked.
    pub id_of: &'d dyn Fn(usize) -> kvcore::Result<u32>,
    /// The ids of all keyspaces, if the command needs everything.
    pub all: &'d [u32],
}

/// What the words of COPY say.
struct Copy<'a> {
    from: &'a [u8],
    to: &'a [u8],
    database: usize,
    replace: bool,
}

impl<'a> Copy<'a> {
    fn read(mut args: Args<'a>, selected: usize) -> Result<Copy<'a>, CommandError> {
        let mut copy = Copy { from: args.next()?, to: args.next()?, database: selected, replace: false };
        while !args.is_empty() {
            if args.eat("replace") {
                copy.replace = true;
            } else if args.remaining() > 1 && args.eat("db") {
                copy.database = index(args.next()?, "ERR value is not an integer or out of range")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if copy.database == selected && copy.from == copy.to { Err(same_object()) } else { Ok(copy) }
    }
}

/// `COPY source destination [DB database] [REPLACE]`
pub(crate) fn copy(args: Args<'_>, txn: &mut dyn CrossTxn, databases: &Databases<'_>) -> Outcome {
    let Copy { from, to, database, replace } = Copy::read(args, databases.selected)?;
    let Some(value) = txn.get(from)? else { return Ok(Reply::flag(false)) };
    let deadline = value.deadline();
    let here = (databases.id_of)(databases.selected)?;
    txn.select((databases.id_of)(database)?)?;
    let free = txn.get_to_write(to)?.is_none() || replace;
    if free {
        txn.copy_from(here, from, to, deadline)?;
        // A new key, even where it replaces one.
        txn.set_usage(to, Usage::default())?;
    }
    Ok(Reply::flag(free))
}

pub(crate) fn copy_needs(args: Args<'_>, selected: usize) -> Result<Needs<'_>, CommandError> {
    let Copy { from, to, database, .. } = Copy::read(args, selected)?;
    Ok(Needs::Keys(vec![(selected, from), (database, to)]))
}

/// The words of MOVE: the key, and the database to which it goes.
fn read_move(mut args: Args<'_>, selected: usize) -> Result<(&[u8], usize), CommandError> {
    let key = args.next()?;
    let database = index(args.next()?, "ERR value is not an integer or out of range")?;
    if database == selected { Err(same_object()) } else { Ok((key, database)) }
}

/// `MOVE key db`
pub(crate) fn move_(args: Args<'_>, txn: &mut dyn CrossTxn, databases: &Databases<'_>) -> Outcome {
    let (key, database) = read_move(args, databases.selected)?;
    let Some(value) = txn.get_to_write(key)? else { return Ok(Reply::flag(false)) };
    let deadline = value.deadline();
    let usage = txn.usage(key)?;
    let here = (databases.id_of)(databases.selected)?;
    txn.select((databases.id_of)(database)?)?;
    let free = txn.get_to_write(key)?.is_none();
    if free {
        txn.copy_from(here, key, key, deadline)?;
        if let Some(usage) = usage {
            txn.set_usage(key, usage)?;
        }
        txn.select(here)?;
        txn.delete(key)?;
        txn.count_changes(1);
    }
    Ok(Reply::flag(free))
}

pub(crate) fn move_needs(args: Args<'_>, selected: usize) -> Result<Needs<'_>, CommandError> {
    let (key, database) = read_move(args, selected)?;
    Ok(Needs::Keys(vec![(selected, key), (database, key)]))
}

fn read_swapdb(mut args: Args<'_>) -> Result<[usize; 2], CommandError> {
    // Both must be numbers before either must be one of a database.
    let (one, other) = (args.next()?, args.next()?);
    number(one, "ERR invalid first DB index")?;
    let other = index(other, "ERR invalid second DB index")?;
    Ok([index(one, "ERR invalid first DB index")?, other])
}

/// `SWAPDB index1 index2`: clients of one database see from now on what the other held.
pub(crate) fn swapdb(args: Args<'_>, txn: &mut dyn CrossTxn, databases: &Databases<'_>) -> Outcome {
    let [one, other] = read_swapdb(args)?;
    txn.select((databases.id_of)(one)?)?;
    txn.swap((databases.id_of)(other)?)?;
    // One change, even of a database with itself.
    txn.count_changes(1);
    Ok(Reply::Ok)
}

pub(crate) fn swapdb_needs(args: Args<'_>, _: usize) -> Result<Needs<'_>, CommandError> {
    Ok(Needs::Whole(read_swapdb(args)?.to_vec()))
}

/// `FLUSH`: empties the selected database; the reply is the number of keys that it had.
pub(crate) fn flush(_: Args<'_>, txn: &mut dyn CrossTxn, _: &Databases<'_>) -> Outcome {
    Ok(Reply::count(txn.clear()?))
}

pub(crate) fn flush_needs(_: Args<'_>, selected: usize) -> Result<Needs<'_>, CommandError> {
    Ok(Needs::Whole(vec![selected]))
}

/// `FLUSHDB [ASYNC|SYNC]`: either way the memory is given back at once.
pub(crate) fn flushdb(args: Args<'_>, txn: &mut dyn CrossTxn, _: &Databases<'_>) -> Outcome {
    check_flush_mode(args)?;
    txn.clear()?;
    Ok(Reply::Ok)
}

pub(crate) fn flushdb_needs(args: Args<'_>, selected: usize) -> Result<Needs<'_>, CommandError> {
    check_flush_mode(args)?;
    Ok(Needs::Whole(vec![selected]))
}

/// `FLUSHALL [ASYNC|SYNC]`: empties all keyspaces at one moment.
pub(crate) fn flushall(args: Args<'_>, txn: &mut dyn CrossTxn, databases: &Databases<'_>) -> Outcome {
    check_flush_mode(args)?;
    for id in databases.all {
        txn.select(*id)?;
        txn.clear()?;
    }
    Ok(Reply::Ok)
}

pub(crate) fn flushall_needs(args: Args<'_>, _: usize) -> Result<Needs<'_>, CommandError> {
    check_flush_mode(args)?;
    Ok(Needs::Everything)
}

fn check_flush_mode(mut args: Args<'_>) -> Result<(), CommandError> {
    if !args.is_empty() && !args.eat("sync") && !args.eat("async") {
        return Err(CommandError::Syntax);
    }
    args.finish()
}

/// The number in a word, as wide as C's `int`; `error` says what it is not.
fn number(word: &[u8], error: &'static str) -> Result<i32, CommandError> {
    let number = parse_integer(word).ok_or(CommandError::custom(error))?;
    let narrow = i32::try_from(number);
    narrow.map_err(|_| match error {
        "ERR value is not an integer or out of range" => {
            CommandError::custom(format!("ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX))
        }
        error => CommandError::custom(error),
    })
}

fn index(word: &[u8], error: &'static str) -> Result<usize, CommandError> {
    let index = usize::try_from(number(word, error)?).ok().filter(|index| *index < DATABASES);
    index.ok_or(CommandError::DbIndexOutOfRange)
}

fn same_object() -> CommandError {
    CommandError::custom("ERR source and destination objects are the same")
}

#[cfg(test)]
mod tests {
    use crate::shell::Shell;

    #[test]
    fn copies_and_moves_go_to_another_database() {
        let shell = Shell::new();
        shell.converse(
            "SET k v EX 10      -> OK
             COPY k k           -> ERR source and destination objects are the same
             COPY k other       -> 1
             COPY k other       -> 0
             COPY k k DB 3      -> 1
             COPY k k DB 3      -> 0
             COPY k k DB 3 REPLACE -> 1
             COPY k k DB 16     -> ERR DB index is out of range
             COPY k x DB        -> ERR syntax error
             COPY k x DB y      -> ERR value is not an integer or out of range
             COPY k x DB 99999999999 -> ERR value is out of range, value must between -2147483648 and 2147483647
             MOVE k 0           -> ERR source and destination objects are the same
             MOVE k 3           -> 0
             MOVE other 3       -> 1
             MOVE other 3       -> 0
             TTL k              -> 10",
        );
        shell.select(3);
        shell.converse("GET k -> \"v\"\nTTL other -> 10\nDBSIZE -> 2");
    }

    #[test]
    fn databases_are_exchanged_and_emptied() {
        let shell = Shell::new();
        shell.converse(
            "SWAPDB x y    -> ERR invalid first DB index
             SWAPDB 0 y    -> ERR invalid second DB index
             SWAPDB 0 16   -> ERR DB index is out of range
             MSET a 1 b 2  -> OK
             SWAPDB 0 1    -> OK
             DBSIZE        -> 0
             SET c 3       -> OK
             FLUSHDB SOON  -> ERR syntax error
             FLUSHALL SYNC now -> ERR syntax error
             DBSIZE        -> 1
             SWAPDB 2 3    -> OK
             SWAPDB 4 4    -> OK
             FLUSH         -> 1",
        );
        shell.select(1);
        shell.converse("DBSIZE -> 2\nFLUSHALL ASYNC -> OK\nDBSIZE -> 0\nFLUSHDB -> OK");
    }
}
