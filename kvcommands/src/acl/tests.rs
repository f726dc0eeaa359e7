//! Tests of users and their rules. Invariant: what a user is shown as makes the same user again.

use kvproto::OwnedRequest;

use super::rules::RuleError;
use super::*;

/// A user made by rules, as ACL SETUSER makes one.
fn user(rules: &str) -> Result<User, String> {
    let set = User::new(false).set(rules.split(' ').map(str::as_bytes), false);
    set.map_err(|error| String::from_utf8_lossy(error.without_err()).into_owned())
}

fn described(rules: &str) -> String {
    user(rules).map_or_else(|error| error, |user| user.describe().escape_ascii().to_string())
}

fn check(rules: &str, line: &str) -> Result<(), Denial> {
    let owned = OwnedRequest::from_words(line.split(' '));
    let spec = kvproto::spec::resolve(owned.as_request()).unwrap();
    user(rules).unwrap().check(spec, owned.as_request())
}

#[test]
fn a_user_is_described_by_the_rules_that_make_it() {
    for (rules, description) in [
        ("", "off resetchannels -@all"),
        ("on nopass ~* &* +@all", "on nopass ~* &* +@all"),
        ("on ALLKEYS AllChannels allcommands -GET", "on ~* &* +@all -get"),
        ("%R~a %W~a %W~b %rw~c ~c", "off ~a %W~b ~c resetchannels -@all"),
        ("+get +@read -get", "off resetchannels -@all +@read -get"),
        ("+client|id +client|list -client|id +client", "off resetchannels -@all +client"),
        ("+@all -client +client|id", "off resetchannels +@all -client +client|id"),
        ("+SELECT|0 +select|1", "off resetchannels -@all +select|0 +select|1"),
        ("+select|0 +select", "off resetchannels -@all +select"),
        ("+@all +client|id +get -@all +@read +get -set", "off resetchannels -@all +@read"),
        ("+@all -@string +@string", "off resetchannels +@all"),
        ("+get -get", "off resetchannels -@all"),
        ("+get|x -get", "off resetchannels -@all"),
        ("+get|x +set -get", "off resetchannels -@all +set"),
        ("-@all +put|k -set", "off resetchannels -@all"),
        ("+set +put|k -set", "off resetchannels -@all"),
        ("+@all -flushdb +flush", "off resetchannels +@all -flushdb +flush"),
        ("+@all -flushdb +flushdb", "off resetchannels +@all"),
        ("+delete", "off resetchannels -@all +del"),
        ("&a &a &b", "off resetchannels &a &b -@all"),
        (
            "~a (+get ~b) ( %R~c &d )",
            "off ~a resetchannels -@all (~b resetchannels -@all +get) (%R~c resetchannels &d -@all)",
        ),
        ("(+get) clearselectors", "off resetchannels -@all"),
        ("on >a nopass", "on nopass resetchannels -@all"),
        ("on >a ~a reset", "off sanitize-payload resetchannels -@all"),
        (
            "on nopass >foobared",
            "on #1b58ee375b42e41f0e48ef2ff27d10a5b1f6924a9acdcdba7cae868e7adce6bf resetchannels -@all",
        ),
    ] {
        assert_eq!(described(rules), description, "{rules}");
        assert_eq!(described(description), description, "{rules}");
    }
}

#[test]
fn a_bad_rule_is_refused_with_the_text_of_redis() {
    let error = |rule: &str, why: &str| format!("Error in ACL SETUSER modifier '{rule}': {why}");
    for (rules, rule, why) in [
        ("nonsense", "nonsense", "Syntax error"),
        ("+nope", "+nope", "Unknown command or category name in ACL"),
        ("-client|nope", "-client|nope", "Unknown command or category name in ACL"),
        ("+client|nope", "+client|nope", "Unknown command or category name in ACL"),
        ("-select|0", "-select|0", "Unknown command or category name in ACL"),
        ("+get|a|b", "+get|a|b", "Unknown command or category name in ACL"),
        ("+config|get|x", "+config|get|x", "Allowing first-arg of a subcommand is not supported"),
        ("+select|", "+select|", "Syntax error"),
        ("+@nope", "+@nope", "Unknown command or category name in ACL"),
        ("+", "+", "Unknown command or category name in ACL"),
        ("%", "%", "Syntax error"),
        ("(~a &* &b)", "(~a &* &b)", &RuleError::AllChannelsAlready.to_string()),
        ("~* ~a", "~a", &RuleError::AllKeysAlready.to_string()),
        ("<nope", "<nope", "The password you are trying to remove from the user does not exist"),
        ("#12", "#12", &RuleError::BadHash.to_string()),
        (")", ")", "Syntax error"),
        ("(nonsense)", "(nonsense)", "Syntax error"),
        ("((~a))", "((~a))", "Syntax error"),
        // Written down it would be `(~a) ...)`, which nobody could read.
        ("(~a))", "(~a))", "Syntax error"),
    ] {
        assert_eq!(described(rules), error(rule, why), "{rules}");
    }
    assert_eq!(described("on (~a"), "Unmatched parenthesis in acl selector starting at '(~a'.");
}

#[test]
fn a_selector_permits_what_its_rules_say() {
    for (rules, permitted, refused) in [
        ("~* +get", &["GET k"][..], &[("SET k v", Denial::Command)][..]),
        ("~* +@read -get", &["MGET a b"], &[("GET k", Denial::Command)]),
        ("~* +@all -@write", &["GET k", "PING"], &[("SET k v", Denial::Command)]),
        ("+client|id", &["CLIENT ID"], &[("CLIENT LIST", Denial::Command)]),
        // Subcommands whose container is in no such category.
        (
            "+@all -@dangerous",
            &["CLIENT ID", "PING"],
            &[("CLIENT KILL x", Denial::Command), ("CLIENT LIST", Denial::Command)],
        ),
        ("+@admin", &["CLIENT KILL x", "CONFIG GET x"], &[("CLIENT ID", Denial::Command)]),
        ("+@all -client +client|id", &["CLIENT ID", "PING"], &[("CLIENT INFO", Denial::Command)]),
        ("+select|0", &["SELECT 0"], &[("SELECT 1", Denial::Command)]),
        (
            "+@all ~a:*",
            &["GET a:1", "MSET a:1 x a:2 y"],
            &[("GET b", Denial::Key(1)), ("MSET a:1 x b y", Denial::Key(3))],
        ),
        (
            "+@all %R~a",
            &["GET a", "EXISTS a", "TYPE a"],
            &[("SET a v", Denial::Key(1)), ("GETSET a v", Denial::Key(1))],
        ),
        ("+@all %W~a", &["SET a v", "EXISTS a"], &[("SET a v GET", Denial::Key(1)), ("INCR a", Denial::Key(1))]),
        ("+@all %R~a %W~b", &[], &[("RENAME a b", Denial::Key(1)), ("RENAME b a", Denial::Key(1))]),
        ("+@all ~a %W~b", &["RENAME a b"], &[("RENAME b a", Denial::Key(1))]),
        (
            "+@all &a* &lit[1]",
            &["PUBLISH ab x", "SPUBLISH ab x", "SUBSCRIBE a", "PSUBSCRIBE a*", "UNSUBSCRIBE z", "SUBSCRIBE lit1"],
            &[
                ("PUBLISH b x", Denial::Channel(1)),
                ("SPUBLISH b x", Denial::Channel(1)),
                ("SSUBSCRIBE a b", Denial::Channel(2)),
                ("SUBSCRIBE a b", Denial::Channel(2)),
                ("PSUBSCRIBE ab", Denial::Channel(1)),
            ],
        ),
        ("(+get ~a) (+set ~b)", &["GET a", "SET b v"], &[("GET b", Denial::Key(1)), ("INCR a", Denial::Command)]),
        ("+mget ~key (+mget ~key ~other)", &["MGET other key"], &[("MGET other third", Denial::Key(2))]),
    ] {
        for line in permitted {
            assert_eq!(check(rules, line), Ok(()), "{rules}: {line}");
        }
        for (line, denial) in refused {
            assert_eq!(check(rules, line), Err(*denial), "{rules}: {line}");
        }
    }
    // Nobody is kept from saying who he is.
    for line in ["AUTH x", "HELLO", "QUIT"] {
        assert_eq!(check("-@all", line), Ok(()), "{line}");
    }
}
