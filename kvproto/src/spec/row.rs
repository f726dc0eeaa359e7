//! What is known about one command: a row of the table.
//!
//! Invariant: a row says nothing that depends on other rows but its place among them, which [`indexed`] tells it.

use super::arg::Arg;
use super::flags::{Category, Flag, FlagSet, Group, Trait};
use super::key_spec::{KeyRule, KeySpec, Keys};
use crate::request::Request;

/// What is known about one command, whatever implements it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name in lower case; of a subcommand, the container's name and its own: `client|list`.
    pub name: &'static str,
    /// Other names for the same command, in lower case.
    pub aliases: &'static [&'static str],
    /// Commands with rows of their own that do nothing but what this one does: a rule on this one is a rule on them.
    pub equivalents: &'static [&'static str],
    /// How many words a request has, the command's name (and the subcommand's) included: exactly that many if
    /// positive, at least that many if negative.
    pub arity: i32,
    /// Which words are secrets.
    pub secrets: Secrets,
    /// What the command does to the data and where it may run.
    pub flags: FlagSet<Flag>,
    /// What a server goes by beside the flags.
    pub traits: FlagSet<Trait>,
    /// Which words are keys, in short: enough for locking.
    pub keys: KeyRule,
    /// Which words are keys and what happens to them, in full: as COMMAND shows it.
    pub key_specs: &'static [KeySpec],
    /// The family the command belongs to.
    pub group: Group,
    /// The version that introduced it: Redis', or 0.1.0 for commands that are kv's own.
    pub since: &'static str,
    /// What it costs, in words; O(1) unless a row says otherwise.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Hints for clients that talk to several servers, as COMMAND shows them.
    pub tips: &'static [&'static str],
    /// If it is deprecated: since which version, and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// The arguments, as COMMAND DOCS shows them.
    pub args: &'static [Arg],
    /// The commands this one is a container for, sorted by name.
    pub subcommands: &'static [Spec],
    /// Known, so that clients can ask about it, but not executed by this server; at most refused in Redis' own words.
    pub unsupported: bool,
    explicit_categories: FlagSet<Category>,
    index: usize,
}

/// Whether `typed` is this name of the table, all of which are in lower case.
#[inline]
fn is_typed(name: &str, typed: &[u8]) -> bool {
    name.len() == typed.len() && name.bytes().zip(typed).all(|(byte, typed)| byte == typed.to_ascii_lowercase())
}

impl Spec {
    /// The position in [`COMMANDS`](super::COMMANDS); of a subcommand, the position in its container's `subcommands`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether `name` is the command's name or one of its aliases, in any case.
    #[inline]
    pub fn is_named(&self, name: &[u8]) -> bool {
        is_typed(self.name, name) || self.aliases.iter().any(|alias| is_typed(alias, name))
    }

    /// The subcommand of that name (its own, without the container's), in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        self.subcommands.iter().find(|spec| spec.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name without the container's: `list` for `client|list`.
    pub fn own_name(&self) -> &'static str {
        match self.name.split_once('|') {
            Some((_, own)) => own,
            None => self.name,
        }
    }

    /// Whether a request of `words` words, the name included, has the right length.
    pub fn arity_ok(&self, words: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= wanted } else { words == wanted }
    }

    /// The keys in `request` with their positions, in the order they were given.
    pub fn keys<'b>(&self, request: Request<'b>) -> Keys<'b> {
        self.keys.of(request)
    }

    /// Whether it may change data.
    pub fn is_write(&self) -> bool {
        self.flags.has(Flag::Write)
    }

    /// Whether it reads data and never changes it.
    pub fn is_read_only(&self) -> bool {
        self.flags.has(Flag::ReadOnly)
    }

    /// The categories access rules speak of, those that follow from the flags included.
    pub fn categories(&self) -> FlagSet<Category> {
        let mut all = self.explicit_categories;
        if self.flags.has(Flag::Write) {
            all.insert(Category::Write);
        }
        if self.flags.has(Flag::ReadOnly) && !all.has(Category::Scripting) {
            all.insert(Category::Read);
        }
        if self.flags.has(Flag::Admin) {
            all.insert(Category::Admin);
            all.insert(Category::Dangerous);
        }
        if self.flags.has(Flag::PubSub) {
            all.insert(Category::PubSub);
        }
        if self.flags.has(Flag::Blocking) {
            all.insert(Category::Blocking);
        }
        all.insert(if self.flags.has(Flag::Fast) { Category::Fast } else { Category::Slow });
        all
    }

    /// How to type it: `SET key value [NX|XX] [GET] ...`.
    pub fn usage(&self) -> String {
        let mut text = self.name.replace('|', " ").to_ascii_uppercase();
        for arg in self.args {
            text.push(' ');
            arg.write_usage(&mut text);
        }
        if !self.subcommands.is_empty() && self.args.is_empty() {
            let names: Vec<&str> = self.subcommands.iter().filter(|sub| !sub.unsupported).map(Spec::own_name).collect();
            text.push(' ');
            text.push_str(&names.join("|").to_ascii_uppercase());
        }
        text
    }
}

/// Which words of a command's requests are secrets, so that no log and no other client may see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// None.
    None,
    /// Every word from this position on.
    From(usize),
    /// So many words after each of these keywords.
    After(&'static [(&'static str, usize)]),
    /// Of names and values in turn, from word 2 on, the values of what is sensitive by its name.
    SensitiveValues,
    /// Those of the request that is written out from this position on.
    OfRequestAt(usize),
}

/// What the rows of the families are written with.
impl Spec {
    pub(super) const fn new(name: &'static str, arity: i32, group: Group, since: &'static str) -> Spec {
        Spec {
            name,
            aliases: &[],
            equivalents: &[],
            secrets: Secrets::None,
            arity,
            flags: FlagSet::EMPTY,
            traits: FlagSet::EMPTY,
            keys: KeyRule::None,
            key_specs: &[],
            group,
            since,
            complexity: "O(1)",
            summary: "",
            tips: &[],
            deprecated: None,
            args: &[],
            subcommands: &[],
            unsupported: false,
            explicit_categories: group.categories(),
            index: 0,
        }
    }

    /// A command this server knows and does not execute.
    pub(super) const fn unsupported(name: &'static str, arity: i32, group: Group, since: &'static str) -> Spec {
        Spec {
            unsupported: true,
            complexity: "",
            summary: "Not executed by this server.",
            ..Spec::new(name, arity, group, since)
        }
    }

    /// `HELP` of a container.
    pub(super) const fn help(name: &'static str, group: Group, since: &'static str) -> Spec {
        Spec::new(name, 2, group, since).summary("Lists the subcommands.").flags(&[Flag::Loading, Flag::Stale])
    }

    pub(super) const fn summary(mut self, summary: &'static str) -> Spec {
        self.summary = summary;
        self
    }

    pub(super) const fn complexity(mut self, complexity: &'static str) -> Spec {
        self.complexity = complexity;
        self
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Spec {
        self.aliases = aliases;
        self
    }

    pub(super) const fn equivalents(mut self, names: &'static [&'static str]) -> Spec {
        self.equivalents = names;
        self
    }

    pub(super) const fn secrets(mut self, secrets: Secrets) -> Spec {
        self.secrets = secrets;
        self
    }

    pub(super) const fn flags(mut self, flags: &[Flag]) -> Spec {
        self.flags = Flag::set(flags);
        self
    }

    pub(super) const fn traits(mut self, traits: &[Trait]) -> Spec {
        self.traits = Trait::set(traits);
        self
    }

    /// Sets the categories that follow from no flag; unset, they are those of the group.
    pub(super) const fn in_categories(mut self, categories: &[Category]) -> Spec {
        self.explicit_categories = Category::set(categories);
        self
    }

    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    pub(super) const fn keys_at(mut self, key_specs: &'static [KeySpec]) -> Spec {
        self.key_specs = key_specs;
        self.keys = KeyRule::covering(key_specs);
        self
    }

    pub(super) const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Spec {
        self.deprecated = Some((since, replaced_by));
        self
    }

    pub(super) const fn args(mut self, args: &'static [Arg]) -> Spec {
        self.args = args;
        self
    }

    pub(super) const fn subcommands(mut self, subcommands: &'static [Spec]) -> Spec {
        self.complexity = "That of the subcommand";
        self.subcommands = subcommands;
        self
    }
}

/// `rows` sorted by name, each told its place. Const code knows no `sort` and no `for`; what moves while sorting is
/// the order, not the rows, which are large.
pub(super) const fn indexed<const N: usize>(rows: [Spec; N]) -> [Spec; N] {
    let mut order = [0; N];
    let mut sorted = 0;
    while sorted < N {
        let mut at = sorted;
        while at > 0 && is_before(rows[sorted].name, rows[order[at - 1]].name) {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = sorted;
        sorted += 1;
    }
    let mut placed = rows;
    let mut at = 0;
    while at < N {
        placed[at] = rows[order[at]];
        placed[at].index = at;
        at += 1;
    }
    placed
}

/// `rows`, each with `one` among its traits.
pub(super) const fn each_with<const N: usize>(one: Trait, mut rows: [Spec; N]) -> [Spec; N] {
    let mut at = 0;
    while at < N {
        rows[at].traits.insert(one);
        at += 1;
    }
    rows
}

const fn is_before(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return left[at] < right[at];
        }
        at += 1;
    }
    left.len() < right.len()
}
