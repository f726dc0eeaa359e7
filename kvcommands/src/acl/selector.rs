//! One set of permissions: commands, keys and channels that go together. A user has one, and more in parentheses.
//!
//! Invariant: `commands` is what its `rules`, applied in order to all commands or to none, come to; so the rules, which
//! are what is shown and saved, always stand for the permissions.

use std::collections::BTreeMap;

use kvproto::spec::{self, COMMANDS, Category, Flag};
use kvproto::{Request, Spec};

use super::command_set::CommandSet;
use super::key_access::{KeyAccess, KeyAccesses};
use super::rules::{ITEM_BYTES, RuleError, has_spaces, key_rule};
use crate::glob;

/// Permissions. The default permits nothing.
#[derive(Clone, Debug)]
pub struct Selector {
    commands: CommandSet,
    /// Every command, those of later versions included, and nothing taken away.
    all_commands: bool,
    /// It began with every command, whatever was taken away since.
    from_all: bool,
    /// What was added and taken away since it had all commands or none.
    rules: Vec<CommandRule>,
    /// By the name of a command that is not in `commands`: first arguments with which it is permitted all the same.
    first_args: BTreeMap<&'static str, Vec<Box<[u8]>>>,
    all_keys: bool,
    keys: Vec<(Box<[u8]>, KeyAccess)>,
    /// It permits every channel.
    pub all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

/// `+get`, `-@write`, `+select|0`.
#[derive(Clone, Debug)]
struct CommandRule {
    allows: bool,
    /// In lower case, without the sign.
    text: Box<[u8]>,
}

/// What a selector does not permit. The later ones say more, and so do later positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// The command.
    Command,
    /// The key at this position of the request.
    Key(usize),
    /// The channel at this position.
    Channel(usize),
}

impl Default for Selector {
    fn default() -> Selector {
        Selector {
            commands: CommandSet::none(),
            all_commands: false,
            from_all: false,
            rules: Vec::new(),
            first_args: BTreeMap::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: false,
            channels: Vec::new(),
        }
    }
}

impl Selector {
    /// Whether it permits everything.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Returns whether it permits every key.
    pub fn has_all_keys(&self) -> bool {
        self.all_keys
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let rules = self.rules.iter().map(|rule| rule.text.len());
        let first_args = self.first_args.values().flatten().map(|arg| arg.len());
        let keys = self.keys.iter().map(|(pattern, _)| pattern.len());
        let channels = self.channels.iter().map(|pattern| pattern.len());
        size_of::<Selector>()
            + rules.chain(first_args).chain(keys).chain(channels).map(|len| len + ITEM_BYTES).sum::<usize>()
    }

    /// Applies one rule.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" | b"+@all" => self.begin_with(true),
            b"nocommands" | b"-@all" => self.begin_with(false),
            [b'~' | b'%', ..] => self.add_keys(rule)?,
            [b'&', ..] => self.add_channels(&rule[1..])?,
            [sign @ (b'+' | b'-'), b'@', category @ ..] => self.change_category(category, *sign == b'+')?,
            [b'+', name @ ..] => self.allow(name)?,
            [b'-', name @ ..] => {
                let spec = find_command(name).ok_or(RuleError::UnknownCommand)?;
                let was_in = self.commands.has(spec);
                let is_said = self.rules.iter().any(|rule| *rule.text == *spec.name.as_bytes());
                match self.change(spec, false) {
                    false => {}
                    // It was permitted with some first arguments only: without those rules nothing needs to be said.
                    true if !was_in && !is_said && spec.subcommands.is_empty() && spec.equivalents.is_empty() => {
                        self.forget(spec.name.as_bytes());
                    }
                    true => self.note(false, spec.name.as_bytes()),
                }
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn begin_with(&mut self, all: bool) {
        self.commands = if all { CommandSet::all() } else { CommandSet::none() };
        (self.all_commands, self.from_all) = (all, all);
        self.rules = Vec::new();
        self.first_args = BTreeMap::new();
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeysAlready);
        }
        let (access, pattern) = key_rule(rule)?;
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|(other, _)| **other == *pattern) {
            Some((_, already)) => *already = *already | access,
            None => self.keys.push((pattern.into(), access)),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannelsAlready);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|other| **other == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    fn change_category(&mut self, name: &[u8], allows: bool) -> Result<(), RuleError> {
        let category = category(name).ok_or(RuleError::UnknownCommand)?;
        let mut changed = false;
        for top in COMMANDS {
            if top.categories().has(category) {
                changed |= self.change(top, allows);
            }
            for sub in top.subcommands.iter().filter(|sub| sub.categories().has(category)) {
                changed |= self.change(sub, allows);
            }
        }
        if changed {
            self.note(allows, &[b"@", name].concat());
        }
        Ok(())
    }

    /// `+name`, in lower case and without its sign: a command, a subcommand, or a command with a first argument.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        if let Some(spec) = find_command(name) {
            if self.change(spec, true) {
                self.note(true, spec.name.as_bytes());
            }
            return Ok(());
        }
        let bar = name.iter().rposition(|&byte| byte == b'|').ok_or(RuleError::UnknownCommand)?;
        let (name, arg) = (&name[..bar], &name[bar + 1..]);
        let spec = find_command(name).ok_or(RuleError::UnknownCommand)?;
        if spec.name.contains('|') {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if arg.is_empty() || has_spaces(arg) {
            return Err(RuleError::Syntax);
        }
        if !spec.subcommands.is_empty() {
            return Err(RuleError::UnknownCommand);
        }
        let args = self.first_args.entry(spec.name).or_default();
        if !args.iter().any(|other| **other == *arg) {
            args.push(arg.into());
            self.note(true, &[spec.name.as_bytes(), b"|", arg].concat());
        }
        Ok(())
    }

    /// Puts a command, its subcommands, and what does the same by another name in, or takes them out. Returns whether
    /// that made a difference; a rule that makes none is not kept.
    fn change(&mut self, spec: &'static Spec, allows: bool) -> bool {
        let mut changed = false;
        let equivalents = spec.equivalents.iter().filter_map(|name| spec::lookup(name.as_bytes()));
        for each in std::iter::once(spec).chain(spec.subcommands).chain(equivalents) {
            changed |= self.first_args.remove(each.name).is_some() || self.commands.has(each) != allows;
            self.commands.set(each, allows);
        }
        self.all_commands &= allows;
        changed
    }

    /// Drops the rules on a command, or on a part of it: they say nothing any more.
    fn forget(&mut self, text: &[u8]) {
        self.rules.retain(|earlier| {
            earlier.text.strip_prefix(text).is_none_or(|rest| !rest.is_empty() && !rest.starts_with(b"|"))
        });
    }

    /// Remembers a rule on commands, in the place of earlier ones on the same.
    fn note(&mut self, allows: bool, text: &[u8]) {
        self.forget(text);
        self.rules.push(CommandRule { allows, text: text.into() });
        // Back at the beginning: nothing needs to be said.
        let beginning = if self.from_all { CommandSet::all() } else { CommandSet::none() };
        if self.commands == beginning && self.first_args.is_empty() {
            self.begin_with(self.from_all);
        }
    }

    /// Whether it permits a request of the command `spec`; `keys` are the request's.
    pub fn check(&self, spec: &Spec, request: Request<'_>, keys: &KeyAccesses) -> Result<(), Denial> {
        if !self.all_commands && !spec.flags.has(Flag::NoAuth) && !self.permits_command(spec, request) {
            return Err(Denial::Command);
        }
        if !self.all_keys {
            for &(position, access) in keys {
                if !self.permits_key(request.get(position).unwrap_or_default(), access) {
                    return Err(Denial::Key(position));
                }
            }
        }
        if !self.all_channels
            && let Some((positions, is_pattern)) = channels_of(spec, request)
        {
            for position in positions {
                if !self.permits_channel(request.get(position).unwrap_or_default(), is_pattern) {
                    return Err(Denial::Channel(position));
                }
            }
        }
        Ok(())
    }

    fn permits_command(&self, spec: &Spec, request: Request<'_>) -> bool {
        self.commands.has(spec)
            || self.first_args.get(spec.name).is_some_and(|args| {
                request.get(1).is_some_and(|word| args.iter().any(|arg| arg.eq_ignore_ascii_case(word)))
            })
    }

    /// Whether it permits a command whatever its arguments are.
    pub fn permits_whole(&self, spec: &Spec) -> bool {
        self.all_commands || self.commands.has(spec)
    }

    /// Whether it permits a subscription to a channel or a pattern by a command, with some first arguments at least.
    pub fn permits_subscription(&self, spec: &Spec, name: &[u8], is_pattern: bool) -> bool {
        (self.permits_whole(spec) || self.first_args.contains_key(spec.name)) && self.permits_channel(name, is_pattern)
    }

    /// Whether it permits the same as another one, by whatever rules.
    pub fn permits_as(&self, other: &Selector) -> bool {
        (&self.commands, &self.first_args, self.all_keys, self.all_channels)
            == (&other.commands, &other.first_args, other.all_keys, other.all_channels)
            && self.keys == other.keys
            && self.channels == other.channels
    }

    fn permits_key(&self, key: &[u8], access: KeyAccess) -> bool {
        self.keys.iter().any(|(pattern, permitted)| permitted.covers(access) && glob::matches(pattern, key))
    }

    /// Whether it permits a channel, or a pattern of channels: that only if it was given to it literally, since which
    /// channels two patterns share cannot be told.
    pub fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let permits = |own: &[u8]| if is_pattern { own == name } else { glob::matches(own, name) };
        self.all_channels || self.channels.iter().any(|own| permits(own))
    }

    /// The rules on commands, as in `+@all -get`.
    pub fn command_rules(&self) -> Vec<u8> {
        let mut text = if self.from_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            text.extend([b' ', if rule.allows { b'+' } else { b'-' }]);
            text.extend_from_slice(&rule.text);
        }
        text
    }

    /// The rules on keys, as in `~a %R~b`.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules: Vec<Vec<u8>> = self
            .keys
            .iter()
            .map(|(pattern, access)| {
                let prefix: &[u8] = match (access.read, access.write) {
                    (true, false) => b"%R~",
                    (false, true) => b"%W~",
                    _ => b"~",
                };
                [prefix, pattern].concat()
            })
            .collect();
        rules.join(&b' ')
    }

    /// The rules on channels, as in `&a &b*`.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules: Vec<Vec<u8>> = self.channels.iter().map(|pattern| [b"&", &**pattern].concat()).collect();
        rules.join(&b' ')
    }

    /// All rules, such that they make this selector out of any other that has no rules of its own.
    pub fn describe(&self) -> Vec<u8> {
        let mut rules = vec![self.key_rules()];
        if !self.all_channels {
            rules.push(b"resetchannels".to_vec());
        }
        rules.extend([self.channel_rules(), self.command_rules()]);
        rules.retain(|rule| !rule.is_empty());
        rules.join(&b' ')
    }
}

/// A category by its name in lower case.
pub fn category(name: &[u8]) -> Option<Category> {
    Category::ALL.iter().copied().find(|category| category.name().as_bytes() == name)
}

/// A command by its name, or a subcommand as in `client|list`.
fn find_command(name: &[u8]) -> Option<&'static Spec> {
    match name.iter().position(|&byte| byte == b'|') {
        None => spec::lookup(name),
        Some(bar) => spec::lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

/// Which words of a request are channels that need permission, and whether they are patterns.
fn channels_of(spec: &Spec, request: Request<'_>) -> Option<(std::ops::Range<usize>, bool)> {
    match spec.name {
        "publish" | "spublish" => Some((1..2, false)),
        "subscribe" | "ssubscribe" => Some((1..request.len(), false)),
        "psubscribe" => Some((1..request.len(), true)),
        _ => None,
    }
}
