//! Where typed lines are kept from one day to the next.
//!
//! Invariant: a line that holds a password is never kept.

use crate::settings;
use kvproto::{OwnedRequest, Request};
use std::ffi::OsString;
use std::path::PathBuf;

/// The history's file: `KVCLIENT_HISTORY` if that is set, else what the file of settings says (both: empty: keep none),
/// else `kvclient/history` in the user's data directory. `None` if there is no such directory.
pub fn path(chosen: Option<PathBuf>) -> Option<PathBuf> {
    path_in(chosen, |name| std::env::var_os(name))
}

fn path_in(chosen: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(path) = variable("KVCLIENT_HISTORY").map(PathBuf::from).or(chosen) {
        return Some(path).filter(|path| !path.as_os_str().is_empty());
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))
        .or_else(|| absolute("APPDATA"))?;
    Some(data.join("kvclient").join("history"))
}

/// Whether a text that cannot be read as commands may hold a password: one of its lines, or what follows a separator of the
/// shell's in it, begins as a command that does, be it a comment or a directive.
pub fn may_hold_secret(text: &str) -> bool {
    text.split(['\n', ';', '|', '&']).any(|command| {
        let command = command.trim_start_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '#' | ':'));
        let words = command.split(|c: char| c.is_ascii_whitespace() || c == '"' || c == '\'');
        is_secret(&OwnedRequest::from_words(words.filter(|word| !word.is_empty())))
    })
}

/// Whether a command holds a password.
pub fn is_secret(request: &OwnedRequest) -> bool {
    let request = request.as_request();
    // Behind the number of times that it is to be run, even if that is none.
    let is_name = |word: &[u8]| word.first().is_some_and(u8::is_ascii_alphabetic);
    let at = request.iter().take_while(|word| !is_name(word)).count();
    let connects = (0..request.len()).any(|at| has_word(request, at, "connect"));
    has_word(request, at, "auth")
        || has_word(request, at, "acl")
        || (has_word(request, at, "hello") && request.len() > at + 2)
        || (has_word(request, at, "config") && has_word(request, at + 1, "set"))
        || has_word(request, at, "migrate")
        || (has_word(request, at, "sentinel") && request.len() > at + 4)
        || request.iter().any(|word| is_login(word, connects))
}

/// Whether a word may be an address with a login, which begins with a scheme unless `connects`.
fn is_login(word: &[u8], connects: bool) -> bool {
    // A server's name holds no login.
    let is_name = word.strip_prefix(b"@").is_some_and(|name| std::str::from_utf8(name).is_ok_and(settings::is_name));
    let scheme = word.windows(3).position(|three| three == b"://");
    !is_name && (connects || scheme.is_some()) && word.iter().skip(scheme.unwrap_or(0)).any(|byte| *byte == b'@')
}

fn has_word(request: Request<'_>, at: usize, name: &str) -> bool {
    request.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Option<String> {
        let variables = variables.to_vec();
        path_in(None, move |name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(found.1))
        })
        .map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    #[cfg(unix)]
    fn the_file_is_where_the_user_says_or_in_the_data_directory() {
        assert_eq!(with(&[("KVCLIENT_HISTORY", "h"), ("HOME", "/u")]).as_deref(), Some("h"));
        assert_eq!(with(&[("KVCLIENT_HISTORY", ""), ("HOME", "/u")]), None);
        assert_eq!(with(&[("XDG_DATA_HOME", "/d"), ("HOME", "/u")]).as_deref(), Some("/d/kvclient/history"));
        // The XDG rules: a relative path is as good as none.
        assert_eq!(
            with(&[("XDG_DATA_HOME", "d"), ("HOME", "/u")]).as_deref(),
            Some("/u/.local/share/kvclient/history")
        );
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn passwords_are_not_kept() {
        for (line, secret) in [
            (&["AUTH", "pw"][..], true),
            (&["hello", "3", "AUTH", "u", "pw"], true),
            (&["HELLO", "3"], false),
            (&["CONFIG", "SET", "requirepass", "pw"], true),
            (&["CONFIG", "GET", "*"], false),
            (&["SET", "auth", "x"], false),
            (&["2", "AUTH", "pw"], true),
            (&["connect", "redis://:pw@h"], true),
            (&["connect", "h", "1"], false),
            (&["connect", "@staging"], false),
            (&["connect", "@a:pw@h"], true),
            (&["help", "connect", "u:pw@h"], true),
            (&["HELP", "AUTH"], false),
            (&["-1", "AUTH", "pw"], true),
            (&["2", "3", "AUTH", "pw"], true),
            (&["SENTINEL", "SET", "m", "auth-pass", "pw"], true),
            (&["SENTINEL", "MASTERS"], false),
            (&["SET", "u", "postgres://u:pw@h"], true),
            (&["SET", "u", "https://h/a"], false),
            (&["SET", "mail", "u@h"], false),
        ] {
            assert_eq!(is_secret(&OwnedRequest::from_words(line)), secret, "{line:?}");
            let broken = format!("GET 'a'b\n  \"{}\" '{}", line[0], line[1..].join(" "));
            assert_eq!(may_hold_secret(&broken), secret, "{broken}");
        }
        for text in
            ["#AUTH pw", " ## AUTH pw", "GET k > x; AUTH pw", "GET k | redis-cli -u redis://:pw@h GET k", "a\n:AUTH pw"]
        {
            assert!(may_hold_secret(text), "{text}");
        }
    }
}
