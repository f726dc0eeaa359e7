//! The file of settings: names for servers, and how the prompt begins.
//!
//! Invariant: a file is taken whole or not at all: of one with mistakes, each is named with its line, and nothing holds.

use crate::output::Style;
use kvclient::Address;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a file of settings says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The servers, by their names.
    pub servers: Servers,
    /// How the prompt begins.
    pub prompt: PromptSettings,
}

/// Servers by their names, which are typed with an `@` before them.
#[derive(Clone, Debug, Default)]
pub struct Servers(BTreeMap<String, Server>);

/// A server that has a name.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is, and as whom to speak to it.
    pub address: Address,
    /// Redirections are followed.
    pub is_cluster: bool,
}

/// How the prompt begins; `None` where the file does not say.
#[derive(Clone, Debug, Default)]
pub struct PromptSettings {
    /// How replies are shown.
    pub format: Option<Style>,
    /// What pages long replies.
    pub pager: Option<PagerSetting>,
    /// The time of each command is shown.
    pub timing: Option<bool>,
    /// Names of keys are completed.
    pub keys: Option<bool>,
    /// Values that are JSON are indented.
    pub json: Option<bool>,
    /// FLUSHALL and its like ask first.
    pub confirm: Option<bool>,
    /// Where the history is kept; an empty path: nowhere.
    pub history: Option<PathBuf>,
    /// What stands before the cursor, with names in braces.
    pub text: Option<String>,
}

/// What pages long replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagerSetting {
    /// That of the environment, or nothing.
    Default(bool),
    /// This command.
    Command(String),
}

/// Names that stand in braces in the prompt's text.
pub const PROMPT_NAMES: [&str; 6] = ["server", "host", "port", "db", "user", "state"];
const PROMPT_KEYS: [&str; 8] = ["confirm", "format", "history", "json", "keys", "pager", "text", "timing"];
const SERVER_KEYS: [&str; 2] = ["cluster", "url"];
const TABLES: [&str; 2] = ["prompt", "servers"];
/// A larger file is none of ours, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Servers {
    /// Returns the server that a word `@NAME` names; `None` if the word is no name.
    ///
    /// # Errors
    ///
    /// No server has this name.
    pub fn find(&self, word: &str) -> Option<Result<&Server, String>> {
        let name = word.strip_prefix('@').filter(|name| is_name(name))?;
        Some(self.0.get(name).ok_or_else(|| match self.0.is_empty() {
            true => format!("no server is named {word}: the file of settings names none, see kvclient --help"),
            false => {
                let names: Vec<String> = self.names().map(|name| format!("@{name}")).collect();
                let nearest = nearest(name, self.names()).map(|name| format!("; is @{name} meant?"));
                format!("no server is named {word}{}; there are {}", nearest.unwrap_or_default(), names.join(" "))
            }
        }))
    }

    /// Returns the names, sorted, without the `@`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns whether the server at an address is a cluster's. Another login than that of the file makes no difference.
    pub fn is_cluster(&self, address: &Address) -> bool {
        let place = |address: &Address| (address.scheme, address.host.clone(), address.port, address.socket.clone());
        match self.name_of(address).and_then(|name| self.0.get(name)) {
            Some(server) => server.is_cluster,
            None => self.0.values().any(|server| server.is_cluster && place(&server.address) == place(address)),
        }
    }

    /// Returns the name of the server at an address, whatever the database.
    pub fn name_of(&self, address: &Address) -> Option<&str> {
        let is_same = |server: &Server| Address { db: address.db, ..server.address.clone() } == *address;
        self.0.iter().find(|(_, server)| is_same(server)).map(|(name, _)| name.as_str())
    }
}

/// Returns whether a word can be a server's name.
pub fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Returns the path of the file: `flag`, else `KVCLIENT_CONFIG` (empty: none), else `kvclient/config.toml` in the user's
/// directory of settings; and whether it was named, so that it has to exist.
fn path(flag: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<(PathBuf, bool)> {
    if let Some(path) = flag {
        return Some((path.to_owned(), true));
    }
    if let Some(path) = variable("KVCLIENT_CONFIG") {
        return Some((PathBuf::from(path), true)).filter(|(path, _)| !path.as_os_str().is_empty());
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .or_else(|| absolute("APPDATA"))?;
    Some((directory.join("kvclient").join("config.toml"), false))
}

/// Reads the file that `flag` names, or the user's; without one, nothing is set. A file with a password that others can read
/// is warned of on standard error.
///
/// # Errors
///
/// The mistakes of the file, a line for each.
pub fn load(flag: Option<&Path>) -> Result<Settings, String> {
    let Some((path, is_named)) = path(flag, |name| std::env::var_os(name)) else {
        return Ok(Settings::default());
    };
    let shown = path.display();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        // Nobody has named it: a home that is no directory, or another user's, has none.
        Err(error) if !is_named && is_absence(error.kind()) => return Ok(Settings::default()),
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    if path == Path::new("/dev/null") {
        return Ok(Settings::default());
    }
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let mut text = String::new();
    let read = fs::File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(error) if !is_named && is_absence(error.kind()) => return Ok(Settings::default()),
        Err(error) => return Err(format!("{shown}: {error}")),
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => {
            return Err(format!("{shown}: more than 1 MiB is no file of settings"));
        }
        Ok(_) => {}
    }
    let settings = parse(&text).map_err(|mistakes| {
        let lines: Vec<String> =
            mistakes.into_iter().map(|(line, what)| format!("{shown}: line {line}: {what}")).collect();
        lines.join("\nkvclient: ")
    })?;
    let holds_password = settings.servers.0.values().any(|server| server.address.password.is_some());
    if holds_password && others_can_read(&metadata) {
        eprintln!("kvclient: {shown} holds a password, and other users can read it: chmod 600 {shown}");
    }
    Ok(settings)
}

/// Returns whether such an error means that the user has no file of settings.
fn is_absence(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied)
}

#[cfg(unix)]
fn others_can_read(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o044 != 0
}

#[cfg(not(unix))]
fn others_can_read(_: &fs::Metadata) -> bool {
    false
}

/// More mistakes than this are not looked for: then it is another kind of file.
const MISTAKES_MAX: usize = 20;

/// A mistake, and its line.
type Mistake = (usize, String);

/// Reads a file's text.
///
/// # Errors
///
/// All its mistakes, by line.
fn parse(text: &str) -> Result<Settings, Vec<Mistake>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, mistakes: Vec::new() };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        // What stands in the line may be a password: it is not repeated.
        reader.mistake(at, error.message().to_owned());
    }
    let settings = reader.settings(root.get_ref());
    let mut mistakes = reader.mistakes;
    mistakes.sort();
    mistakes.dedup();
    if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
}

struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Reader<'_> {
    fn mistake(&mut self, at: usize, what: String) {
        if self.mistakes.len() >= MISTAKES_MAX {
            return;
        }
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        self.mistakes.push((line, what));
    }

    fn unknown(&mut self, at: usize, name: &str, known: &[&str]) {
        let mut what = format!("no setting is named {}", name.escape_debug());
        // Writing to memory cannot fail.
        let _ = match nearest(name, known.iter().copied()) {
            Some(nearest) => write!(what, "; is {nearest} meant?"),
            None => write!(what, "; there are {}", known.join(" ")),
        };
        self.mistake(at, what);
    }

    fn settings(&mut self, root: &DeTable<'_>) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in root {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("prompt", DeValue::Table(table)) => settings.prompt = self.prompt(table),
                ("servers", DeValue::Table(table)) => settings.servers = self.servers(table),
                (name @ ("prompt" | "servers"), _) => {
                    self.mistake(value.span().start, format!("{name} is a table: [{name}]"));
                }
                (unknown, _) if PROMPT_KEYS.contains(&unknown) => {
                    self.mistake(name.span().start, format!("{unknown} belongs below [prompt]"));
                }
                (unknown, _) => self.unknown(name.span().start, unknown, &TABLES),
            }
        }
        settings
    }

    fn servers(&mut self, table: &DeTable<'_>) -> Servers {
        let mut servers = BTreeMap::new();
        for (name, value) in table {
            let at = name.span().start;
            let name = name.get_ref().as_ref();
            if !is_name(name) {
                let what = "a server's name is letters, digits, and . _ -";
                self.mistake(at, format!("{}: {what}", name.escape_debug()));
                continue;
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.mistake(value.span().start, format!("a server is a table: [servers.{name}]"));
                continue;
            };
            if let Some(server) = self.server(at, name, table) {
                servers.insert(name.to_owned(), server);
            }
        }
        Servers(servers)
    }

    fn server(&mut self, at: usize, name: &str, table: &DeTable<'_>) -> Option<Server> {
        let (mut address, mut has_url, mut is_cluster) = (None, false, false);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "url" => {
                    has_url = true;
                    match self.string("url", value).map(|url| url.parse::<Address>()) {
                        Some(Ok(parsed)) => address = Some(parsed),
                        Some(Err(error)) => self.mistake(value.span().start, error.to_string()),
                        None => {}
                    }
                }
                "cluster" => is_cluster = self.boolean("cluster", value).unwrap_or_default(),
                unknown => self.unknown(key.span().start, unknown, &SERVER_KEYS),
            }
        }
        if !has_url {
            self.mistake(at, format!("[servers.{name}] needs a url, as in url = \"redis://host:6379\""));
        }
        Some(Server { address: address?, is_cluster })
    }

    fn prompt(&mut self, table: &DeTable<'_>) -> PromptSettings {
        let mut prompt = PromptSettings::default();
        for (key, value) in table {
            let at = value.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("format", _) => {
                    let Some(name) = self.string("format", value) else { continue };
                    prompt.format = Style::from_name(&name);
                    if prompt.format.is_none() {
                        let names: Vec<&str> = Style::NAMES.iter().map(|(name, _)| *name).collect();
                        let nearest = nearest(&name, names.iter().copied()).map(|name| format!("; is {name} meant?"));
                        let known = nearest.unwrap_or_else(|| format!("; there are {}", names.join(" ")));
                        self.mistake(at, format!("no format is named {}{known}", name.escape_debug()));
                    }
                }
                ("pager", DeValue::Boolean(on)) => prompt.pager = Some(PagerSetting::Default(*on)),
                ("pager", DeValue::String(command)) => {
                    prompt.pager = Some(PagerSetting::Command(command.as_ref().to_owned()));
                }
                ("pager", _) => self.mistake(at, "pager is true, false, or a command in quotes".to_owned()),
                ("history", DeValue::Boolean(false)) => prompt.history = Some(PathBuf::new()),
                ("history", DeValue::String(path)) => prompt.history = Some(from_home(path.as_ref())),
                ("history", _) => self.mistake(at, "history is false, or a file in quotes".to_owned()),
                ("text", _) => prompt.text = self.string("text", value).filter(|text| self.is_prompt(at, text)),
                (name @ "timing", _) => prompt.timing = self.boolean(name, value),
                (name @ "keys", _) => prompt.keys = self.boolean(name, value),
                (name @ "json", _) => prompt.json = self.boolean(name, value),
                (name @ "confirm", _) => prompt.confirm = self.boolean(name, value),
                (unknown, _) => self.unknown(key.span().start, unknown, &PROMPT_KEYS),
            }
        }
        prompt
    }

    /// Returns whether each name in braces is one that the prompt has.
    fn is_prompt(&mut self, at: usize, text: &str) -> bool {
        let before = self.mistakes.len();
        if text.chars().any(char::is_control) {
            self.mistake(at, "text: no control characters".to_owned());
        }
        for rest in text.split('{').skip(1) {
            match rest.split_once('}') {
                Some((name, _)) if PROMPT_NAMES.contains(&name) => {}
                Some((name, _)) => self.unknown(at, name, &PROMPT_NAMES),
                None => self.mistake(at, "text: a { without its }".to_owned()),
            }
        }
        self.mistakes.len() == before
    }

    fn string(&mut self, name: &str, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.as_ref().to_owned()),
            _ => {
                self.mistake(value.span().start, format!("{name} is a text in quotes"));
                None
            }
        }
    }

    fn boolean(&mut self, name: &str, value: &Value<'_>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(on) => Some(*on),
            _ => {
                self.mistake(value.span().start, format!("{name} is true or false"));
                None
            }
        }
    }
}

/// Returns a path whose `~/` is the user's home directory.
fn from_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Returns the name that is most like `typed`, if one is like it.
fn nearest<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let far = |name: &str| strsim::damerau_levenshtein(typed, name);
    let (distance, name) = names.map(|name| (far(name), name)).min()?;
    (distance <= name.len().div_ceil(3)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<(usize, String)> {
        parse(text).unwrap_err()
    }

    #[test]
    fn a_file_of_another_kind_ends_after_some_mistakes() {
        let text = "no setting\n".repeat(100_000);
        let found = mistakes(&text);
        assert!((1..=MISTAKES_MAX).contains(&found.len()), "{}", found.len());
    }

    #[test]
    fn a_file_names_servers_and_says_how_the_prompt_begins() {
        let text = r#"
            [prompt]
            format = "TABLE"
            pager = "less -S"
            timing = true
            history = false
            text = "{server}{db}> "
            [servers.staging]
            url = "redis://me:pw@h:7000/3"
            [servers]
            local.url = "unix:///run/kv.sock"
            nodes = { url = "h:7000", cluster = true }
        "#;
        let Settings { servers, prompt } = parse(text).unwrap();
        assert_eq!(servers.names().collect::<Vec<_>>(), ["local", "nodes", "staging"]);
        let staging = servers.find("@staging").unwrap().unwrap();
        assert_eq!((staging.address.port, staging.address.db, staging.is_cluster), (7000, 3, false));
        let nodes = servers.find("@nodes").unwrap().unwrap();
        assert!(nodes.is_cluster && !servers.is_cluster(&staging.address));
        // A flag may give another login.
        assert!(servers.is_cluster(&Address { password: Some("pw".to_owned()), ..nodes.address.clone() }));
        assert_eq!(servers.name_of(&Address { db: 1, ..staging.address.clone() }), Some("staging"));
        assert_eq!(servers.name_of(&Address::default()), None);
        assert_eq!(prompt.format, Some(Style::Table));
        assert_eq!(prompt.pager, Some(PagerSetting::Command("less -S".to_owned())));
        assert_eq!((prompt.timing, prompt.keys, prompt.history), (Some(true), None, Some(PathBuf::new())));
        assert!(servers.find("staging").is_none() && servers.find("@a:b@h").is_none());
        let error = servers.find("@stagin").unwrap().unwrap_err();
        assert_eq!(error, "no server is named @stagin; is @staging meant?; there are @local @nodes @staging");
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let found = mistakes(
            "[prompt]\nformat = \"tabel\"\ntimign = true\ntext = \"{sever} {\"\npager = 3\n[servers.a]\n\
             [servers.b]\nurl = \"http://h\"\nhost = 1\n[server]\n[servers.\"a b\"]\nurl = \"h\"\n",
        );
        let expected = [
            (2, "no format is named tabel; is table meant?"),
            (3, "no setting is named timign; is timing meant?"),
            (4, "no setting is named sever; is server meant?"),
            (4, "text: a { without its }"),
            (5, "pager is true, false, or a command in quotes"),
            (6, "[servers.a] needs a url, as in url = \"redis://host:6379\""),
            (8, "the server's address is wrong: the schemes are redis, line and unix"),
            (9, "no setting is named host; there are cluster url"),
            (10, "no setting is named server; is servers meant?"),
            (11, "a b: a server's name is letters, digits, and . _ -"),
        ];
        for ((line, what), (expected_line, expected)) in found.iter().zip(expected) {
            assert!(*line == expected_line && what.starts_with(expected), "line {line}: {what}");
        }
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert_eq!(mistakes("timing = true")[0], (1, "timing belongs below [prompt]".to_owned()));
        let broken = mistakes("[prompt]\ntiming =\nkeys = yes\n[servers\n");
        for line in 2..=4 {
            assert!(broken.iter().any(|(found, _)| *found == line), "{broken:?}");
        }
    }

    #[test]
    fn no_mistake_repeats_a_password() {
        for text in ["[servers.a]\nurl = \"http://u:secret@h\"", "[servers.a]\nurl = redis://u:secret@h", "secret@h"] {
            assert!(!format!("{:?}", mistakes(text)).contains("secret") || text == "secret@h", "{text}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_file_is_where_the_user_says_or_in_the_directory_of_settings() {
        let with = |flag: Option<&str>, variables: &[(&str, &str)]| {
            let found = path(flag.map(Path::new), |name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            });
            found.map(|(path, is_named)| (path.to_string_lossy().into_owned(), is_named))
        };
        let found = |path: &str, is_named| Some((path.to_owned(), is_named));
        assert_eq!(with(Some("f"), &[("KVCLIENT_CONFIG", "c")]), found("f", true));
        assert_eq!(with(None, &[("KVCLIENT_CONFIG", "c"), ("HOME", "/u")]), found("c", true));
        assert_eq!(with(None, &[("KVCLIENT_CONFIG", ""), ("HOME", "/u")]), None);
        assert_eq!(with(None, &[("XDG_CONFIG_HOME", "/x"), ("HOME", "/u")]), found("/x/kvclient/config.toml", false));
        assert_eq!(
            with(None, &[("XDG_CONFIG_HOME", "x"), ("HOME", "/u")]),
            found("/u/.config/kvclient/config.toml", false)
        );
        assert_eq!(with(None, &[]), None);
    }
}
