//! A request for every row of the command table.
//!
//! Invariant: the words are made from the row itself (its arguments and keys), so a new command has a case as soon as it
//! has a row. A row whose generic words cannot work has its own words in [`WORDS`]; a name there that is not in the table
//! is an error.

use kvproto::Spec;
use kvproto::spec::{Arg, ArgKind, COMMANDS, Flag, Group, KeyFlag};

/// What the keys of a case hold before it runs.
pub const VALUE: &str = "5";

/// Words of rows whose generic ones would be refused or change nothing. `{k}` is a key, `{dump}` a value as DUMP gives it.
const WORDS: &[(&str, &str)] = &[
    ("bitfield", "{k} SET u8 0 1"),
    ("bitfield_ro", "{k} GET u8 0"),
    // Nothing is to be paused.
    ("client|pause", "0"),
    // All that is taken without a look at the keys.
    ("debug", "STRINGMATCH-LEN a a"),
    ("getex", "{k} PERSIST"),
    ("help", "client list"),
    ("pfadd", "{k} element"),
    ("pfdebug", "TODENSE {k}"),
    ("pfmerge", "{k} {k}"),
    ("restore", "{k} 0 {dump}"),
    ("restore-asking", "{k} 0 {dump}"),
    ("swapdb", "0 1"),
];

/// Rows flagged as reading or writing data that neither read nor write any.
const WITHOUT_DATA: &[&str] = &["function|flush", "lolwut"];

/// One request.
#[derive(Debug)]
pub struct Case {
    pub spec: &'static Spec,
    pub words: Vec<Vec<u8>>,
    /// Its keys, each once.
    pub keys: Vec<String>,
    /// Those that must exist before it runs.
    pub sources: Vec<String>,
}

/// The rows that are executed: of a container its subcommands, and itself if it works alone.
pub fn rows() -> impl Iterator<Item = &'static Spec> {
    let alone = |top: &&Spec| top.subcommands.is_empty() || top.arity == -1;
    let rows = COMMANDS.iter().flat_map(move |top| Some(top).filter(alone).into_iter().chain(top.subcommands));
    rows.filter(|spec| !spec.unsupported)
}

/// The rows that change data.
pub fn writing() -> Vec<&'static Spec> {
    some(|spec| spec.is_write() && !WITHOUT_DATA.contains(&spec.name))
}

/// The rows that show data and do not change it.
pub fn reading() -> Vec<&'static Spec> {
    some(|spec| spec.is_read_only() && !WITHOUT_DATA.contains(&spec.name))
}

/// The rows that have nothing to do with data, as far as the table tells.
pub fn others() -> Vec<&'static Spec> {
    some(|spec| (!spec.is_write() && !spec.is_read_only()) || WITHOUT_DATA.contains(&spec.name))
}

fn some(wanted: impl Fn(&Spec) -> bool) -> Vec<&'static Spec> {
    for (name, _) in WORDS {
        assert!(rows().any(|spec| spec.name == *name), "{name} is no row of the command table");
    }
    for name in WITHOUT_DATA {
        assert!(rows().any(|spec| spec.name == *name), "{name} is no row of the command table");
    }
    let found: Vec<_> = rows().filter(|spec| wanted(spec)).collect();
    // Were the flags lost, every test would pass.
    assert!(found.len() > 25, "only {} rows", found.len());
    found
}

impl Case {
    /// A request for `spec` whose keys begin with `tag`. `dump`: what DUMP gives for [`VALUE`].
    pub fn new(spec: &'static Spec, tag: &str, dump: &[u8]) -> Case {
        let mut words: Vec<Vec<u8>> = spec.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        let mut maker = Maker { tag, keys: 0 };
        match WORDS.iter().find(|(name, _)| *name == spec.name) {
            Some((_, own)) => words.extend(own.split(' ').map(|word| match word {
                "{k}" => maker.key(),
                "{dump}" => dump.to_vec(),
                word => word.into(),
            })),
            None => spec.args.iter().filter(|arg| !arg.optional).for_each(|arg| maker.add(arg, &mut words)),
        }
        let request = kvproto::OwnedRequest::from_words(words.iter().map(Vec::as_slice));
        let request = request.as_request();
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        let keys = spec.keys(request).map(|(_, key)| text(key)).collect();
        let made = |flags: kvproto::spec::FlagSet<KeyFlag>| {
            flags.has(KeyFlag::Overwrite) || (flags.has(KeyFlag::Insert) && !flags.has(KeyFlag::ReadWrite))
        };
        let depends = spec.key_specs.iter().any(|keys| keys.flags.has(KeyFlag::VariableFlags));
        let found = spec.find_keys(request).into_iter().filter(|(_, flags)| depends || !made(*flags));
        let sources = found.map(|(at, _)| text(request.get(at).unwrap())).collect();
        Case { spec, keys, sources, words }
    }

    /// Requests that make the keys it needs, one a line. They live long, so that there is a deadline to change.
    pub fn fixture(&self) -> String {
        let make = |key: &String| match self.spec.group {
            Group::HyperLogLog => format!("PFADD {key} made\r\n"),
            _ => format!("SET {key} {VALUE} EX 1000000\r\n"),
        };
        self.sources.iter().map(make).collect()
    }

    /// As an array of strings.
    pub fn resp(&self) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", self.words.len()).into_bytes();
        for word in &self.words {
            bytes.extend(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        bytes
    }

    /// As a line of quoted words.
    pub fn line(&self) -> Vec<u8> {
        let quoted =
            |word: &Vec<u8>| format!("\"{}\"", word.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
        let words: Vec<String> = self.words.iter().map(quoted).collect();
        format!("{}\n", words.join(" ")).into_bytes()
    }

    /// Whether MULTI takes it.
    pub fn can_be_queued(&self) -> bool {
        !self.spec.flags.has(Flag::NoMulti)
    }
}

/// Makes words for arguments.
struct Maker<'t> {
    tag: &'t str,
    keys: usize,
}

impl Maker<'_> {
    fn key(&mut self) -> Vec<u8> {
        self.keys += 1;
        format!("{}:{}", self.tag, self.keys).into_bytes()
    }

    /// Adds what `arg` needs. What may be given more than once is given twice: two keys lie in two shards, mostly.
    fn add(&mut self, arg: &Arg, words: &mut Vec<Vec<u8>>) {
        for time in 0..if arg.multiple { 2 } else { 1 } {
            if let Some(token) = arg.token.filter(|_| time == 0 || arg.multiple_token) {
                words.push(token.into());
            }
            let word = match arg.kind {
                ArgKind::PureToken => continue,
                ArgKind::OneOf(members) => {
                    self.add(&members[0], words);
                    continue;
                }
                ArgKind::Block(members) => {
                    members.iter().filter(|member| !member.optional).for_each(|member| self.add(member, words));
                    continue;
                }
                ArgKind::Key => self.key(),
                ArgKind::String => VALUE.into(),
                ArgKind::Double => "1.5".into(),
                ArgKind::Pattern => "*".into(),
                ArgKind::UnixTime if arg.name.contains("milli") => "4102444800000".into(),
                ArgKind::UnixTime => "4102444800".into(),
                ArgKind::Integer => match arg.name {
                    "seconds" | "milliseconds" | "ttl" => "2000000".into(),
                    // As many as what may be given more than once.
                    "numkeys" => "2".into(),
                    "cursor" => "0".into(),
                    _ => "1".into(),
                },
            };
            words.push(word);
        }
    }
}
