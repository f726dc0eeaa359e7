//! A user: how it proves who it is, and what it may do.
//!
//! Invariant: a password is kept as its SHA-256 alone and compared in constant time. A [`User`] never changes: a
//! changed one takes its place.

use kvproto::{Request, Spec, Text, spec};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::key_access;
use super::rules::{ITEM_BYTES, RuleError, USER_BYTES_MAX, merge_selectors, quoted, selector_rules};
use super::selector::{Denial, Selector};

/// The name of the user every connection begins as.
pub const DEFAULT: &[u8] = b"default";

/// The SHA-256 of a password.
type Hash = [u8; 32];

/// What a user may do and with which passwords.
#[derive(Clone, Debug, Default)]
pub struct User {
    enabled: bool,
    /// Any password will do.
    nopass: bool,
    /// Kept and shown, and of no effect: RESTORE checks every payload.
    sanitize: Option<Sanitize>,
    passwords: Vec<Hash>,
    root: Selector,
    selectors: Vec<Selector>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sanitize {
    Skip,
    Always,
}

fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

/// A hash from its 64 digits.
fn parse_hash(digits: &[u8]) -> Result<Hash, RuleError> {
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() {
        return Err(RuleError::BadHash);
    }
    let digit = |letter: u8| match letter {
        b'0'..=b'9' => Ok(letter - b'0'),
        b'a'..=b'f' => Ok(letter - b'a' + 10),
        _ => Err(RuleError::BadHash),
    };
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(hash)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

impl User {
    /// A user as it is made: disabled, without password, permitted nothing (but channels, if `all_channels`).
    pub fn new(all_channels: bool) -> User {
        let mut user = User::default();
        user.root.all_channels = all_channels;
        user
    }

    /// The user `default` of a server that was told nothing else: permitted everything without a password.
    pub fn unrestricted() -> User {
        let mut user = User { enabled: true, nopass: true, ..User::default() };
        for rule in ["+@all", "~*", "&*"] {
            // These are rules.
            let _ = user.root.apply(rule.as_bytes());
        }
        user
    }

    /// Whether a connection may act as this user without a password.
    pub fn is_open(&self) -> bool {
        self.enabled && self.nopass
    }

    /// Whether the user is at home with any password.
    pub fn takes_any_password(&self) -> bool {
        self.nopass
    }

    /// Whether the user may do everything.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors().any(Selector::is_unrestricted)
    }

    /// Its sets of permissions, the one outside of parentheses first. What any of them permits is permitted.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Whether `password` is one of this user's. The time it takes tells nothing about the passwords.
    pub fn admits(&self, password: &[u8]) -> bool {
        // No rule can set a longer password, and hashing it would hold up the loop.
        if password.len() > USER_BYTES_MAX {
            return self.is_open();
        }
        let given = hash(password);
        let known = self.passwords.iter().fold(Choice::from(0), |found, own| found | own.ct_eq(&given));
        self.enabled && (self.nopass || bool::from(known))
    }

    /// Makes `password` the only one, or lets any do.
    pub fn set_password(&mut self, password: Option<&[u8]>) {
        self.nopass = password.is_none();
        self.passwords = password.map(hash).into_iter().collect();
    }

    /// Applies one rule; `all_channels` is what `reset` leaves of the channels. A refused rule has changed nothing.
    pub fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.sanitize = Some(Sanitize::Skip),
            b"sanitize-payload" => self.sanitize = Some(Sanitize::Always),
            b"nopass" => self.set_password(None),
            b"resetpass" => (self.nopass, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.selectors = Vec::new(),
            b"reset" => *self = User { sanitize: Some(Sanitize::Always), ..User::new(all_channels) },
            [b'>', ..] => self.add_password(hash(&rule[1..])),
            [b'#', ..] => self.add_password(parse_hash(&rule[1..])?),
            [b'<', ..] => self.remove_password(&hash(&rule[1..]))?,
            [b'!', ..] => self.remove_password(&parse_hash(&rule[1..])?)?,
            _ => match selector_rules(rule) {
                Some(rules) => {
                    let mut selector = Selector::default();
                    selector.all_channels = all_channels;
                    for rule in rules {
                        // Where users are written in lines, it would close the selector.
                        if rule.ends_with(b")") {
                            return Err(RuleError::Syntax);
                        }
                        selector.apply(rule)?;
                    }
                    self.selectors.push(selector);
                }
                None => self.root.apply(rule)?,
            },
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|own| own == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.selectors().map(Selector::bytes).sum::<usize>() + self.passwords.len() * (size_of::<Hash>() + ITEM_BYTES)
    }

    /// This user with `rules` applied to it; or the first that cannot be, and why.
    pub fn with<'r>(
        &self,
        rules: impl IntoIterator<Item = &'r [u8]>,
        all_channels: bool,
    ) -> Result<User, (&'r [u8], RuleError)> {
        let mut user = self.clone();
        let mut bytes = user.bytes();
        for rule in rules {
            // What a rule adds, a selector of many rules included, takes no more than this; looked at closely only when
            // it might matter.
            let spaces = rule.iter().filter(|byte| byte.is_ascii_whitespace()).count();
            let more = rule.len() + (spaces + 1) * ITEM_BYTES + size_of::<Selector>();
            bytes += more;
            if bytes > USER_BYTES_MAX {
                bytes = user.bytes() + more;
                if bytes > USER_BYTES_MAX {
                    return Err((rule, RuleError::TooLong));
                }
            }
            user.apply(rule, all_channels).map_err(|error| (rule, error))?;
        }
        Ok(user)
    }

    /// Returns this user changed by the words of ACL SETUSER, or of a line that describes a user: by all of them.
    ///
    /// # Errors
    ///
    /// The text that Redis sends for the first word that cannot be applied.
    pub fn set<'r>(&self, words: impl IntoIterator<Item = &'r [u8]>, all_channels: bool) -> Result<User, Text> {
        let rules = merge_selectors(words).map_err(|word| {
            Text::join(&[b"ERR Unmatched parenthesis in acl selector starting at '", &quoted(word), b"'."])
        })?;
        self.with(rules.iter().map(|rule| &**rule), all_channels).map_err(|(rule, error)| {
            let why = format!("': {error}");
            Text::join(&[b"ERR Error in ACL SETUSER modifier '", &quoted(rule), why.as_bytes()])
        })
    }

    /// Whether the user may send a request of the command `spec`. If no selector permits it, what is told is the last
    /// thing that could not be had, since the selector that failed there came closest.
    pub fn check(&self, spec: &Spec, request: Request<'_>) -> Result<(), Denial> {
        let keys = if self.selectors().all(Selector::has_all_keys) {
            key_access::KeyAccesses::new()
        } else {
            key_access::of_request(spec, request)
        };
        let mut worst = Denial::Command;
        for selector in self.selectors() {
            match selector.check(spec, request, &keys) {
                Ok(()) => return Ok(()),
                Err(denial) => worst = worst.max(denial),
            }
        }
        Err(worst)
    }

    /// Whether the user may go on with what a command of this name, or this subcommand of it, began.
    pub fn may_go_on(&self, name: &str, subcommand: Option<&str>) -> bool {
        let top = spec::lookup(name.as_bytes());
        let spec = match subcommand {
            Some(name) => top.and_then(|top| top.subcommand(name.as_bytes())),
            None => top,
        };
        spec.is_some_and(|spec| self.selectors().any(|selector| selector.permits_whole(spec)))
    }

    /// Whether the user may keep a subscription that a command of this name began.
    pub fn may_keep_subscription(&self, command: &str, name: &[u8], is_pattern: bool) -> bool {
        spec::lookup(command.as_bytes())
            .is_some_and(|spec| self.selectors().any(|one| one.permits_subscription(spec, name, is_pattern)))
    }

    /// Whether this is the same user as another one, by whatever rules.
    pub fn is_as(&self, other: &User) -> bool {
        (self.enabled, self.nopass, self.sanitize, &self.passwords)
            == (other.enabled, other.nopass, other.sanitize, &other.passwords)
            && self.selectors.len() == other.selectors.len()
            && self.selectors().zip(other.selectors()).all(|(own, other)| own.permits_as(other))
    }

    /// `on`, `nopass` and the like.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        match self.sanitize {
            Some(Sanitize::Skip) => flags.push("skip-sanitize-payload"),
            Some(Sanitize::Always) => flags.push("sanitize-payload"),
            None => {}
        }
        flags
    }

    /// The hashes of its passwords, in digits.
    pub fn passwords(&self) -> impl Iterator<Item = String> {
        self.passwords.iter().map(|hash| hex(hash))
    }

    /// The rules that make this user out of a new one.
    pub fn describe(&self) -> Vec<u8> {
        let mut text = self.flags().join(" ").into_bytes();
        for password in self.passwords() {
            text.extend_from_slice(b" #");
            text.extend_from_slice(password.as_bytes());
        }
        text.push(b' ');
        text.extend_from_slice(&self.root.describe());
        for selector in &self.selectors {
            text.extend_from_slice(b" (");
            text.extend_from_slice(&selector.describe());
            text.push(b')');
        }
        text
    }
}
