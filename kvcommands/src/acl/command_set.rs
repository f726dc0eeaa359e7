//! A set of commands and subcommands, one bit each.
//!
//! Invariant: every row of the command table has a number of its own, containers and their subcommands alike.

use std::sync::LazyLock;

use kvproto::Spec;
use kvproto::spec::{self, COMMANDS};

/// Which of the table's commands are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSet {
    bits: Box<[u64]>,
}

/// For each command, the number of its first subcommand; and the count of all.
static NUMBERS: LazyLock<(Box<[usize]>, usize)> = LazyLock::new(|| {
    let mut next = COMMANDS.len();
    let firsts = COMMANDS
        .iter()
        .map(|spec| {
            let first = next;
            next += spec.subcommands.len();
            first
        })
        .collect();
    (firsts, next)
});

/// The number of a command; 0, which is a command's as well, for a row that is not of the table.
fn number(spec: &Spec) -> usize {
    match spec.name.split_once('|') {
        None => spec.index(),
        Some((container, _)) => {
            spec::lookup(container.as_bytes()).map_or(0, |top| NUMBERS.0[top.index()] + spec.index())
        }
    }
}

impl CommandSet {
    /// The set of no command.
    pub fn none() -> CommandSet {
        CommandSet { bits: vec![0; NUMBERS.1.div_ceil(64)].into() }
    }

    /// The set of every command.
    pub fn all() -> CommandSet {
        CommandSet { bits: vec![u64::MAX; NUMBERS.1.div_ceil(64)].into() }
    }

    pub fn has(&self, spec: &Spec) -> bool {
        let number = number(spec);
        self.bits.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Puts a command in or takes it out.
    pub fn set(&mut self, spec: &Spec, member: bool) {
        let number = number(spec);
        if let Some(word) = self.bits.get_mut(number / 64) {
            let bit = 1 << (number % 64);
            *word = if member { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_has_a_number_of_its_own() {
        let rows = || COMMANDS.iter().flat_map(|top| std::iter::once(top).chain(top.subcommands));
        let numbers: BTreeSet<usize> = rows().map(number).collect();
        assert_eq!(numbers.len(), rows().count());
        assert_eq!(numbers.last(), Some(&(rows().count() - 1)));
        let mut set = CommandSet::none();
        for spec in rows() {
            assert!(!set.has(spec), "{}", spec.name);
            set.set(spec, true);
            assert!(set.has(spec), "{}", spec.name);
        }
        assert!(rows().all(|spec| CommandSet::all().has(spec)));
    }
}
