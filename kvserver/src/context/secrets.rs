//! Which words of a request are secrets. Whatever shows a request to others (MONITOR, SLOWLOG, logs) shows it through this.
//!
//! Invariant: a secret that stands where the command's row says is hidden, also in a request that another one quotes.

use kvproto::spec::{self, Secrets};
use kvproto::{Request, Spec};

use crate::config::parameters;

/// The secrets of one request.
#[derive(Clone, Copy)]
pub(crate) struct Hidden<'r> {
    request: Request<'r>,
    /// The rule of the innermost request that is quoted, and where that begins.
    rule: Secrets,
    from: usize,
}

impl<'r> Hidden<'r> {
    /// Returns what is secret in a request of the command `spec`.
    pub(crate) fn of(spec: &Spec, request: Request<'r>) -> Hidden<'r> {
        let (mut rule, mut from) = (spec.secrets, 0);
        // Bounded by the words: each step goes on by one word at least.
        while let Secrets::OfRequestAt(first) = rule {
            from += first;
            rule = match request.get(from) {
                None => Secrets::None,
                Some(name) => quoted(name, request.get(from + 1)),
            };
        }
        Hidden { request, rule, from }
    }

    /// Whether the word at this position is a secret.
    pub(crate) fn has(&self, index: usize) -> bool {
        let Some(at) = index.checked_sub(self.from) else { return false };
        let word = |at: usize| self.request.get(self.from + at).unwrap_or_default();
        match self.rule {
            Secrets::None | Secrets::OfRequestAt(_) => false,
            Secrets::From(first) => at >= first,
            Secrets::After(keywords) => keywords.iter().any(|&(keyword, count)| {
                (at.saturating_sub(count).max(1)..at).any(|at| word(at).eq_ignore_ascii_case(keyword.as_bytes()))
            }),
            Secrets::SensitiveValues => {
                at >= 3 && at % 2 == 1 && parameters::lookup(word(at - 1)).is_some_and(|row| row.sensitive)
            }
        }
    }
}

/// Returns the rule of a request that begins with these words. What begins with a word that is no command may be one
/// with a typing error: then all that follows is hidden.
fn quoted(name: &[u8], second: Option<&[u8]>) -> Secrets {
    let Some(top) = spec::lookup(name) else { return Secrets::From(1) };
    match second {
        Some(word) if !top.subcommands.is_empty() => top.subcommand(word).map_or(Secrets::From(2), |spec| spec.secrets),
        _ => top.secrets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;
    use kvproto::spec::{Arg, COMMANDS};

    fn shown(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_words(&words);
        let request = request.as_request();
        let spec = spec::resolve(request).unwrap();
        let hidden = Hidden::of(spec, request);
        let shown = |(at, word): (usize, &&str)| if hidden.has(at) { "*".to_owned() } else { (*word).to_owned() };
        words.iter().enumerate().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_and_rules_are_secrets() {
        for (line, expected) in [
            ("auth user pass", "auth * *"),
            ("hello 3 auth me pass", "hello 3 auth * *"),
            ("hello 3 setname me auth u p", "hello 3 setname me auth * *"),
            ("hello 3 auth u p setname me", "hello 3 auth * * setname me"),
            ("acl setuser joe >pw on", "acl setuser * * *"),
            ("config set masterauth x timeout 1", "config set masterauth * timeout 1"),
            ("config set timeout 1 REQUIREPASS x", "config set timeout 1 REQUIREPASS *"),
            ("migrate h 1 k 0 5 AUTH pw", "migrate h 1 k 0 5 AUTH *"),
            ("migrate h 1 k 0 5 auth2 u pw", "migrate h 1 k 0 5 auth2 * *"),
            ("set auth x", "set auth x"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn a_request_within_a_request_hides_what_it_would_hide_alone() {
        for (line, expected) in [
            ("command getkeys AUTH joe pw", "command getkeys AUTH * *"),
            ("command getkeysandflags hello 3 auth u p", "command getkeysandflags hello 3 auth * *"),
            ("command getkeys acl setuser joe >pw", "command getkeys acl setuser * *"),
            (
                "command getkeys command getkeys config set requirepass x",
                "command getkeys command getkeys config set requirepass *",
            ),
            ("acl dryrun joe auth joe pw", "acl dryrun joe auth * *"),
            ("acl dryrun joe command getkeys auth pw", "acl dryrun joe command getkeys auth *"),
            ("command getkeys set auth x", "command getkeys set auth x"),
            // Neither is a command; the first was meant to be one.
            ("command getkeys AUHT joe pw", "command getkeys AUHT * *"),
            ("command getkeys acl setusr joe >pw", "command getkeys acl setusr * *"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn a_request_that_quotes_itself_a_million_times_is_read_at_once() {
        let mut words = ["command", "getkeys"].repeat(500_000);
        words.extend(["auth", "pw"]);
        let request = OwnedRequest::from_words(&words);
        let spec = spec::resolve(request.as_request()).unwrap();
        let hidden = Hidden::of(spec, request.as_request());
        assert_eq!((0..words.len()).filter(|at| hidden.has(*at)).collect::<Vec<_>>(), [words.len() - 1]);
    }

    /// Whether one of the arguments is a password, or rules that may hold one, by its name.
    fn takes_secrets(args: &[Arg]) -> bool {
        args.iter().any(|arg| {
            ["password", "rule", "auth"].iter().any(|word| arg.name.contains(word)) || takes_secrets(arg.kind.members())
        })
    }

    #[test]
    fn every_command_with_a_password_among_its_arguments_says_which_words_are_secrets() {
        for spec in COMMANDS.iter().flat_map(|top| std::iter::once(top).chain(top.subcommands)) {
            assert!(!takes_secrets(spec.args) || spec.secrets != Secrets::None, "{}", spec.name);
            let quotes =
                spec.args.iter().any(|arg| arg.name == "command") && spec.args.iter().any(|arg| arg.name == "arg");
            assert!(!quotes || matches!(spec.secrets, Secrets::OfRequestAt(_)), "{}", spec.name);
        }
    }
}
