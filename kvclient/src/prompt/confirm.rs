//! Commands that remove everything, stop the server or keep it busy: a person is asked first.
//!
//! Invariant: whatever may be one of them is asked about; without an answer it is not sent.

use crate::output::grouped;
use crate::session::is_one_of;
use kvproto::Request;

/// KEYS is asked about in a database of more keys.
pub const LISTED_KEYS_MAX: i64 = 10_000;

/// What a command that is asked about does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// It removes all keys of all databases.
    RemovesAll,
    /// It removes all keys of the selected database.
    RemovesDb,
    /// It stops the server.
    Stops,
    /// It replaces everything by another server's keys.
    Replaces,
    /// It replaces everything by what was last saved.
    Reloads,
    /// It takes the server out of its cluster, and removes a replica's keys.
    LeavesCluster,
    /// It lists the keys of the selected database.
    Lists,
}

impl Danger {
    /// Returns what `request` does, if it is asked about.
    pub fn of(request: Request<'_>) -> Option<Danger> {
        let has = |at: usize, names: &[&str]| {
            request.get(at).is_some_and(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())))
        };
        if is_one_of(request, &["flushall"]) || (is_one_of(request, &["debug"]) && has(1, &["flushall"])) {
            return Some(Danger::RemovesAll);
        }
        if is_one_of(request, &["flushdb", "flush"]) {
            return Some(Danger::RemovesDb);
        }
        if is_one_of(request, &["shutdown"]) && !(1..request.len()).any(|at| has(at, &["abort"])) {
            return Some(Danger::Stops);
        }
        let reloads = has(1, &["reload"]) && (2..request.len()).any(|at| has(at, &["nosave"]));
        if is_one_of(request, &["debug"]) && (reloads || has(1, &["loadaof"])) {
            return Some(Danger::Reloads);
        }
        if is_one_of(request, &["cluster"]) && has(1, &["reset"]) {
            return Some(Danger::LeavesCluster);
        }
        const ENDS: &[&str] = &["segfault", "panic", "abort", "assert", "oom", "restart", "crash-and-recover"];
        if is_one_of(request, &["debug"]) && has(1, ENDS) {
            return Some(Danger::Stops);
        }
        if is_one_of(request, &["replicaof", "slaveof"]) && !(has(1, &["no"]) && has(2, &["one"])) {
            return Some(Danger::Replaces);
        }
        is_one_of(request, &["keys", "print"]).then_some(Danger::Lists)
    }

    /// Returns the question, for a server at `place` with database `db` selected, which holds `keys` keys if that is known;
    /// `None` if it need not be asked.
    pub fn question(self, name: &str, place: &str, db: u32, keys: Option<i64>) -> Option<String> {
        let count = keys.map(|keys| format!(" ({} keys)", grouped(keys))).unwrap_or_default();
        let what = match self {
            Danger::RemovesAll => format!("removes all keys of all databases of {place}"),
            Danger::RemovesDb => format!("removes all keys{count} of database {db} of {place}"),
            Danger::Stops => format!("stops the server {place}"),
            Danger::Replaces => format!("replaces all keys of {place} by those of another server"),
            Danger::Reloads => format!("replaces all keys of {place} by those that were last saved"),
            Danger::LeavesCluster => format!("takes {place} out of its cluster; a replica loses all keys"),
            Danger::Lists if keys.is_some_and(|keys| keys <= LISTED_KEYS_MAX) => return None,
            Danger::Lists => format!("reads all keys{count} of database {db}; SCAN reads a page at a time"),
        };
        Some(format!("{name} {what}. Go on? [y/N] "))
    }

    /// Returns whether the question needs to know how many keys there are.
    pub fn counts_keys(self) -> bool {
        matches!(self, Danger::RemovesDb | Danger::Lists)
    }
}

/// Returns whether an answer is a yes.
pub fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    #[test]
    fn few_commands_are_asked_about() {
        for (line, danger) in [
            ("FLUSHALL", Some(Danger::RemovesAll)),
            ("flushdb async", Some(Danger::RemovesDb)),
            ("flush", Some(Danger::RemovesDb)),
            ("SHUTDOWN NOSAVE", Some(Danger::Stops)),
            ("SHUTDOWN ABORT", None),
            ("DEBUG SEGFAULT", Some(Danger::Stops)),
            ("DEBUG SLEEP 0", None),
            ("DEBUG RELOAD NOFLUSH nosave", Some(Danger::Reloads)),
            ("DEBUG RELOAD", None),
            ("debug loadaof", Some(Danger::Reloads)),
            ("CLUSTER RESET", Some(Danger::LeavesCluster)),
            ("CLUSTER INFO", None),
            ("REPLICAOF h 1", Some(Danger::Replaces)),
            ("REPLICAOF NO ONE", None),
            ("KEYS a*", Some(Danger::Lists)),
            ("print", Some(Danger::Lists)),
            ("DEL FLUSHALL", None),
            ("GET keys", None),
        ] {
            let request = OwnedRequest::from_words(line.split(' '));
            assert_eq!(Danger::of(request.as_request()), danger, "{line}");
        }
    }

    #[test]
    fn keys_of_a_small_database_are_not_asked_about() {
        let asks = |keys| Danger::Lists.question("KEYS", "h:1", 0, keys).is_some();
        assert!(!asks(Some(LISTED_KEYS_MAX)) && asks(Some(LISTED_KEYS_MAX + 1)) && asks(None));
        let question = Danger::RemovesDb.question("FLUSHDB", "h:1", 3, Some(1234));
        let wanted = "FLUSHDB removes all keys (1,234 keys) of database 3 of h:1. Go on? [y/N] ";
        assert_eq!(question.as_deref(), Some(wanted));
        assert!(is_yes("Y") && is_yes(" yes\n") && !is_yes("") && !is_yes("n") && !is_yes("yy"));
    }
}
