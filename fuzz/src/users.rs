//! Rules of ACL SETUSER.
//!
//! Invariant: what is shown of a user whose rules were taken makes a user again that is permitted the same; rules that
//! were refused have changed nothing.

use kvproto::Reply;

use super::served::{check_reply, exchange, go_on, words};

/// What is asked of both users.
const TRIED: &[&[&str]] = &[
    &["get", "key"],
    &["set", "a:1", "v"],
    &["set", "a:1", "v", "get"],
    &["mset", "a", "1", "b", "2"],
    &["rename", "a", "b"],
    &["del", "x"],
    &["config", "get", "x"],
    &["client", "id"],
    &["client", "kill", "x"],
    &["select", "0"],
    &["publish", "news", "x"],
    &["subscribe", "news", "other"],
    &["psubscribe", "n*"],
    &["acl", "list"],
    &["eval", "x", "1", "a"],
    &["flushall"],
];

/// The line that ACL LIST shows of a user, without its name; `None` if there is no such user.
fn line_of(list: &Reply, name: &str) -> Option<Vec<u8>> {
    let Reply::Array(lines) = list else { panic!("{list:?}") };
    let prefix = format!("user {name} ");
    lines.iter().find_map(|line| match line {
        Reply::Bulk(line) => line.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec),
        other => panic!("{other:?}"),
    })
}

/// Rules, a line feed or a zero byte between two.
pub fn acl_rules(input: &[u8]) {
    let rules: Vec<Vec<u8>> = input
        .split(|byte| matches!(byte, b'\n' | 0))
        .filter(|rule| !rule.is_empty())
        .take(32)
        .map(<[u8]>::to_vec)
        .collect();
    let set = |name: &str, rules: &[Vec<u8>]| [&words(&["ACL", "SETUSER", name])[..], rules].concat();
    let replies = exchange(&[words(&["ACL", "DELUSER", "a", "b"]), set("a", &rules), words(&["ACL", "LIST"])]);
    check_reply(&rules, &replies[1]);
    let line = line_of(&replies[2], "a");
    if replies[1] != Reply::Ok {
        assert_eq!(line, None, "refused rules changed something");
        return;
    }
    let line = line.expect("the user's line");
    assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)), "{}", line.escape_ascii());
    let shown = line.escape_ascii();
    // Read again, a rule that an earlier one makes superfluous is left out; what is left says the same for ever.
    let said = |line: &[u8]| line.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let replies = go_on(&[set("b", &said(&line)), words(&["ACL", "LIST"])]);
    assert_eq!(replies[0], Reply::Ok, "{shown}");
    let shorter = line_of(&replies[1], "b").expect("the user's line");
    let mut rest = said(&line).into_iter();
    assert!(said(&shorter).iter().all(|rule| rest.any(|other| other == *rule)), "{shown}: {}", shorter.escape_ascii());
    let replies = go_on(&[
        words(&["ACL", "GETUSER", "b"]),
        words(&["ACL", "DELUSER", "b"]),
        set("b", &said(&shorter)),
        words(&["ACL", "LIST"]),
        words(&["ACL", "GETUSER", "b"]),
        set("b", &[&[b"reset".to_vec()][..], &said(&shorter)].concat()),
        words(&["ACL", "LIST"]),
    ]);
    assert_eq!(replies[2], Reply::Ok, "{shown}");
    assert_eq!(line_of(&replies[3], "b"), Some(shorter.clone()), "{shown}");
    assert_eq!(replies[0], replies[4], "{shown}");
    assert_eq!(replies[5], Reply::Ok, "{shown}");
    // Which says one thing more than a new user does.
    let plain = |line: &[u8]| said(line).into_iter().filter(|word| word != b"sanitize-payload").collect::<Vec<_>>();
    let after_reset = line_of(&replies[6], "b").expect("the user's line");
    assert_eq!(plain(&after_reset), plain(&shorter), "{shown}");
    let asked: Vec<_> = TRIED
        .iter()
        .flat_map(|tried| ["a", "b"].map(|name| [&words(&["ACL", "DRYRUN", name])[..], &words(tried)].concat()))
        .collect();
    for (tried, answers) in TRIED.iter().zip(go_on(&asked).chunks(2)) {
        assert_eq!(answers[0], answers[1], "{tried:?} by {shown}");
    }
}
