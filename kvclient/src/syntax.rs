//! What can be typed: the commands of the table, or those that the server itself describes, and how a line compares with
//! them.
//!
//! Invariant: what the server describes counts more than the table; where neither is sure, nothing is called wrong.

pub mod check;
pub mod line;
pub mod matching;
pub mod server;

use kvproto::Spec;
use kvproto::spec::{self, ArgKind, COMMANDS};
use std::sync::{Arc, LazyLock};

/// A command, or a subcommand.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Its own name, in lower case.
    pub name: String,
    /// Its whole name in capitals: `CLIENT LIST`.
    pub title: String,
    /// Other names, in lower case.
    pub aliases: Vec<String>,
    /// What it does, in one sentence.
    pub summary: String,
    /// Its family.
    pub group: String,
    /// The version that introduced it.
    pub since: String,
    /// What it costs.
    pub complexity: String,
    /// If it is deprecated: since when, and what replaces it.
    pub deprecated: String,
    /// How many words it has, its name included: exactly that many if positive, at least that many if negative. 0 if
    /// unknown.
    pub arity: i32,
    /// Its arguments.
    pub args: Vec<Arg>,
    /// The commands that it is a container for.
    pub subcommands: Vec<Command>,
    /// Its arguments are described so well that a line that does not fit is wrong.
    pub is_exact: bool,
    /// The server executes it.
    pub is_executed: bool,
}

/// One argument, or a group of them.
#[derive(Clone, Debug, Default)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// What kind of word it is.
    pub kind: Kind,
    /// The keyword before it, or that it consists of.
    pub token: Option<String>,
    /// It may be left out.
    pub optional: bool,
    /// It may be given more than once.
    pub multiple: bool,
    /// The keyword is then repeated too.
    pub multiple_token: bool,
}

/// The kinds of argument.
#[derive(Clone, Debug, Default)]
pub enum Kind {
    /// Any bytes.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A cursor: a whole number without a sign.
    Cursor,
    /// A number.
    Double,
    /// A key.
    Key,
    /// The keyword alone.
    Token,
    /// One of these.
    OneOf(Vec<Arg>),
    /// All of these, in order.
    Block(Vec<Arg>),
}

impl Command {
    /// Whether a line of `words` words has too many.
    pub fn is_too_long(&self, words: usize) -> bool {
        usize::try_from(self.arity).is_ok_and(|arity| arity > 0 && words > arity)
    }

    /// Returns the subcommand of that name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Command> {
        self.subcommands.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Returns how to type it.
    pub fn usage(&self) -> String {
        let mut text = self.title.clone();
        for arg in &self.args {
            text.push(' ');
            arg.write_usage(&mut text);
        }
        if !self.subcommands.is_empty() && self.args.is_empty() {
            let names: Vec<&str> =
                self.subcommands.iter().filter(|sub| sub.is_executed).map(|sub| sub.name.as_str()).collect();
            text.push(' ');
            text.push_str(&names.join("|").to_ascii_uppercase());
        }
        text
    }
}

impl Arg {
    /// Appends how to type it: `[EX seconds|PX milliseconds]`, `key [key ...]`.
    pub fn write_usage(&self, text: &mut String) {
        if self.optional {
            text.push('[');
        }
        self.write_once(true, text);
        if self.multiple {
            text.push_str(" [");
            self.write_once(self.multiple_token, text);
            text.push_str(" ...]");
        }
        if self.optional {
            text.push(']');
        }
    }

    /// Appends how to type it once more.
    pub fn write_repeated(&self, text: &mut String) {
        text.push('[');
        self.write_once(self.multiple_token, text);
        text.push_str(" ...]");
    }

    fn write_once(&self, with_token: bool, text: &mut String) {
        if let Some(token) = self.token.as_ref().filter(|_| with_token) {
            text.push_str(token);
            if !matches!(self.kind, Kind::Token) {
                text.push(' ');
            }
        }
        let between = match &self.kind {
            Kind::Token => return,
            Kind::OneOf(_) => '|',
            Kind::Block(_) => ' ',
            _ => {
                text.push_str(&self.name);
                return;
            }
        };
        for (at, member) in self.members().iter().enumerate() {
            if at > 0 {
                text.push(between);
            }
            member.write_usage(text);
        }
    }

    /// Returns the arguments of a group.
    pub fn members(&self) -> &[Arg] {
        match &self.kind {
            Kind::OneOf(members) | Kind::Block(members) => members,
            _ => &[],
        }
    }
}

/// The commands of the table.
pub static TABLE: LazyLock<Vec<Command>> = LazyLock::new(|| COMMANDS.iter().map(Command::of_table).collect());

impl Command {
    fn of_table(spec: &Spec) -> Command {
        let mut command = Command {
            name: spec.own_name().to_owned(),
            title: spec.name.replace('|', " ").to_ascii_uppercase(),
            aliases: spec.aliases.iter().map(|&alias| alias.to_owned()).collect(),
            summary: spec.summary.to_owned(),
            group: spec.group.name().to_owned(),
            since: spec.since.to_owned(),
            complexity: spec.complexity.to_owned(),
            deprecated: spec.deprecated.map_or_else(String::new, |(since, instead)| format!("{since}; use {instead}")),
            arity: spec.arity,
            args: spec.args.iter().map(Arg::of_table).collect(),
            subcommands: spec.subcommands.iter().map(Command::of_table).collect(),
            is_exact: !spec.unsupported,
            is_executed: !spec.unsupported,
        };
        command.correct();
        command
    }

    /// Makes of what COMMAND DOCS says what servers accept.
    fn correct(&mut self) {
        match self.title.as_str() {
            // XX goes with GT and with LT.
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => {
                let Some(Kind::OneOf(conditions)) = self.args.get_mut(2).map(|arg| &mut arg.kind) else { return };
                if !conditions.iter().any(|arg| arg.token.as_deref() == Some("XX")) {
                    return;
                }
                let (compared, mut others): (Vec<Arg>, Vec<Arg>) = std::mem::take(conditions)
                    .into_iter()
                    .partition(|arg| matches!(arg.token.as_deref(), Some("GT" | "LT")));
                let Some(at) = others.iter().position(|arg| arg.token.as_deref() == Some("XX")) else { return };
                let exists = Arg { optional: true, ..others.remove(at) };
                let compared = Arg { kind: Kind::OneOf(compared), optional: true, ..Arg::default() };
                others.push(Arg { kind: Kind::Block(vec![exists, compared]), ..Arg::default() });
                *conditions = others;
            }
            "SCAN" => {
                if let Some(cursor) = self.args.first_mut() {
                    cursor.kind = Kind::Cursor;
                }
            }
            // Valkey takes more words and does not look at them.
            "CLIENT UNBLOCK" => self.is_exact = false,
            // How many words follow a version, it alone knows; others it does not look at.
            "LOLWUT" => self.is_exact = false,
            // Servers know more kinds of clients than they document.
            "CLIENT LIST" | "CLIENT KILL" => {
                fn open(args: &mut [Arg]) {
                    for arg in args {
                        let is_kind = matches!(arg.token.as_deref(), Some("TYPE" | "NOT-TYPE"));
                        if let Kind::OneOf(members) | Kind::Block(members) = &mut arg.kind {
                            open(members);
                            if is_kind && !members.iter().any(|member| member.name == "...") {
                                members.push(Arg { name: "...".to_owned(), ..Arg::default() });
                            }
                        }
                    }
                }
                open(&mut self.args);
            }
            // OVERFLOW may stand before any operation, which is not how it is documented.
            "BITFIELD" => self.is_exact = false,
            // `#3` is the third of that size.
            "BITFIELD_RO" => {
                fn loosen(args: &mut [Arg]) {
                    for arg in args {
                        if arg.name == "offset" {
                            arg.kind = Kind::String;
                        }
                        if let Kind::OneOf(members) | Kind::Block(members) = &mut arg.kind {
                            loosen(members);
                        }
                    }
                }
                loosen(&mut self.args);
            }
            _ => {}
        }
    }
}

impl Arg {
    fn of_table(arg: &spec::Arg) -> Arg {
        let members = |members: &[spec::Arg]| members.iter().map(Arg::of_table).collect();
        Arg {
            name: arg.name.to_owned(),
            kind: match arg.kind {
                ArgKind::String | ArgKind::Pattern => Kind::String,
                ArgKind::Integer | ArgKind::UnixTime => Kind::Integer,
                ArgKind::Double => Kind::Double,
                ArgKind::Key => Kind::Key,
                ArgKind::PureToken => Kind::Token,
                ArgKind::OneOf(of) => Kind::OneOf(members(of)),
                ArgKind::Block(of) => Kind::Block(members(of)),
            },
            token: arg.token.map(str::to_owned),
            optional: arg.optional,
            multiple: arg.multiple,
            multiple_token: arg.multiple_token,
        }
    }
}

/// The commands that can be typed on one connection.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// What the server said of its commands, sorted by name.
    pub server: Option<Arc<Vec<Command>>>,
    /// The table is the server's own: no other program speaks its protocol.
    pub is_own: bool,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
pub enum Known<'c> {
    /// The server has this command, or may well have it.
    As(&'c Command),
    /// There is no such command.
    No,
    /// The table has none, and the server's commands are not known.
    Perhaps,
}

impl Catalog {
    /// Returns what is known of the command of that name, in any case.
    pub fn lookup(&self, name: &[u8]) -> Known<'_> {
        let row = spec::lookup(name).and_then(|spec| TABLE.get(spec.index()));
        let Some(server) = &self.server else {
            return match row {
                Some(command) => Known::As(command),
                None if self.is_own => Known::No,
                None => Known::Perhaps,
            };
        };
        let is_name = |of: &String| of.as_bytes().eq_ignore_ascii_case(name);
        match server.iter().find(|command| is_name(&command.name) || command.aliases.iter().any(is_name)) {
            Some(command) => Known::As(command),
            None => Known::No,
        }
    }

    /// Returns the commands that are worth offering.
    pub fn commands(&self) -> &[Command] {
        match &self.server {
            Some(server) => server,
            None => &TABLE,
        }
    }
}
