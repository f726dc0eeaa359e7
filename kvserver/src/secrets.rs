//! Which words of a request are secrets.
//!
//! Invariant: what may be a secret counts as one.

use kvproto::{Request, Spec};

use crate::parameters;

/// Whether a word of a request is a secret, or may be one.
pub(crate) fn is_secret(spec: &Spec, request: Request<'_>, index: usize) -> bool {
    let word = |at: usize| request.get(at).unwrap_or_default();
    match spec.name {
        "auth" => index >= 1,
        "acl|setuser" => index >= 2,
        "acl|deluser" | "acl|getuser" => index >= 2,
        "config|set" => {
            index >= 3 && index % 2 == 1 && parameters::lookup(word(index - 1)).is_some_and(|row| row.sensitive)
        }
        "hello" => {
            // The user and the password, wherever AUTH stands.
            index >= 3 && (index - 2..index).any(|at| at >= 2 && word(at).eq_ignore_ascii_case(b"auth"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    fn shown(words: &[&str]) -> String {
        let request = OwnedRequest::from_words(words);
        let request = request.as_request();
        let spec = kvproto::spec::resolve(request).unwrap();
        let shown =
            |(at, word): (usize, &&str)| if is_secret(spec, request, at) { "*".to_owned() } else { (*word).to_owned() };
        words.iter().enumerate().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_and_rules_are_secrets() {
        assert_eq!(shown(&["auth", "user", "pass"]), "auth * *");
        assert_eq!(shown(&["hello", "3", "auth", "me", "pass"]), "hello 3 auth * *");
        assert_eq!(shown(&["hello", "3", "setname", "me", "auth", "u", "p"]), "hello 3 setname me auth * *");
        assert_eq!(shown(&["hello", "3", "auth", "u", "p", "setname", "me"]), "hello 3 auth * * setname me");
        assert_eq!(shown(&["config", "set", "masterauth", "x", "timeout", "1"]), "config set masterauth * timeout 1");
        assert_eq!(shown(&["set", "auth", "x"]), "set auth x");
    }
}
