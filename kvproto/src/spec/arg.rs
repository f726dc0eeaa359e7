//! The arguments of a command as a tree, for COMMAND DOCS, usage lines and hints.
//!
//! Invariant: a usage line holds every argument of the tree, in order.

/// One argument, or a group of them.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// The name, for documentation.
    pub name: &'static str,
    /// What kind of word it is.
    pub kind: ArgKind,
    /// The keyword that comes before it, or that it consists of.
    pub token: Option<&'static str>,
    /// Of a key: which of the command's key specs it belongs to.
    pub key_spec: Option<usize>,
    /// The version that introduced it, if later than the command.
    pub since: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be given more than once.
    pub multiple: bool,
    /// Whether the keyword is then repeated too.
    pub multiple_token: bool,
}

/// The kinds of argument.
#[derive(Clone, Copy, Debug)]
pub enum ArgKind {
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A point in time since 1970, in seconds or milliseconds as its name says.
    UnixTime,
    /// The keyword alone.
    PureToken,
    /// One of these.
    OneOf(&'static [Arg]),
    /// All of these, in order.
    Block(&'static [Arg]),
}

impl ArgKind {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            ArgKind::String => "string",
            ArgKind::Integer => "integer",
            ArgKind::Double => "double",
            ArgKind::Key => "key",
            ArgKind::Pattern => "pattern",
            ArgKind::UnixTime => "unix-time",
            ArgKind::PureToken => "pure-token",
            ArgKind::OneOf(_) => "oneof",
            ArgKind::Block(_) => "block",
        }
    }

    /// The arguments of a group; none of a single argument.
    pub const fn members(self) -> &'static [Arg] {
        match self {
            ArgKind::OneOf(members) | ArgKind::Block(members) => members,
            _ => &[],
        }
    }
}

impl Arg {
    /// Appends how to type it: `[EX seconds|PX milliseconds]`, `key [key ...]`.
    pub fn write_usage(&self, text: &mut String) {
        if self.optional {
            text.push('[');
        }
        if let Some(token) = self.token {
            text.push_str(token);
            if !matches!(self.kind, ArgKind::PureToken) {
                text.push(' ');
            }
        }
        self.write_value(text);
        if self.multiple {
            text.push_str(" [");
            if let Some(token) = self.token.filter(|_| self.multiple_token) {
                text.push_str(token);
                text.push(' ');
            }
            self.write_value(text);
            text.push_str(" ...]");
        }
        if self.optional {
            text.push(']');
        }
    }

    /// Whether `word` is a keyword of the argument, in any case.
    pub fn has_token(&self, word: &[u8]) -> bool {
        self.token.is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(word))
            || self.kind.members().iter().any(|member| member.has_token(word))
    }

    /// The argument without its keyword.
    fn write_value(&self, text: &mut String) {
        let between = match self.kind {
            ArgKind::PureToken => return,
            ArgKind::OneOf(_) => '|',
            ArgKind::Block(_) => ' ',
            _ => {
                text.push_str(self.name);
                return;
            }
        };
        for (at, member) in self.kind.members().iter().enumerate() {
            if at > 0 {
                text.push(between);
            }
            member.write_usage(text);
        }
    }
}

/// What the rows of the families are written with.
impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Arg {
        Arg {
            name,
            kind,
            token: None,
            key_spec: None,
            since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
        }
    }

    pub(super) const fn key(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Key).key_spec(0)
    }

    pub(super) const fn string(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::String)
    }

    pub(super) const fn integer(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Integer)
    }

    pub(super) const fn double(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Double)
    }

    pub(super) const fn pattern(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Pattern)
    }

    pub(super) const fn unix_time(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::UnixTime)
    }

    pub(super) const fn token(name: &'static str, token: &'static str) -> Arg {
        Arg::new(name, ArgKind::PureToken).after(token)
    }

    pub(super) const fn one_of(name: &'static str, members: &'static [Arg]) -> Arg {
        Arg::new(name, ArgKind::OneOf(members))
    }

    pub(super) const fn block(name: &'static str, members: &'static [Arg]) -> Arg {
        Arg::new(name, ArgKind::Block(members))
    }

    /// The keyword that comes before it.
    pub(super) const fn after(mut self, token: &'static str) -> Arg {
        self.token = Some(token);
        self
    }

    pub(super) const fn key_spec(mut self, index: usize) -> Arg {
        self.key_spec = Some(index);
        self
    }

    pub(super) const fn since(mut self, version: &'static str) -> Arg {
        self.since = Some(version);
        self
    }

    pub(super) const fn optional(mut self) -> Arg {
        self.optional = true;
        self
    }

    pub(super) const fn multiple(mut self) -> Arg {
        self.multiple = true;
        self
    }

    /// Given more than once, each time with its keyword.
    pub(super) const fn multiple_with_token(mut self) -> Arg {
        self.multiple = true;
        self.multiple_token = true;
        self
    }
}
