//! Tests of the users of a server. Invariant: a change of a user is seen by whoever acts as it.

use std::sync::atomic::Ordering::Relaxed;

use kvcommands::acl::USER_BYTES_MAX;

use super::*;

#[test]
fn passwords_come_and_go() {
    let acl = Acl::default();
    let set = |rules: &str| acl.set_user(b"u", rules.split(' ').map(str::as_bytes));
    let admits = |password: &str| acl.authenticate(b"u", password.as_bytes()).is_some();
    set(">one").unwrap();
    assert!(!admits("one"), "it is disabled");
    set("on >two").unwrap();
    assert!(admits("one") && admits("two") && !admits("three") && !admits(""));
    set("<one").unwrap();
    assert!(!admits("one") && admits("two"));
    set("nopass").unwrap();
    assert!(admits("whatever") && admits(&"x".repeat(2 * USER_BYTES_MAX)));
    set("off").unwrap();
    assert!(!admits("whatever") && !admits("") && !admits(&"x".repeat(2 * USER_BYTES_MAX)), "it is disabled again");
    set("on").unwrap();
    set("resetpass").unwrap();
    assert!(!admits("two") && !admits("whatever"));
    acl.set_password(b"secret");
    assert!(acl.authenticate(DEFAULT, b"secret").is_some() && acl.authenticate(DEFAULT, b"").is_none());
    assert!(!acl.is_open());
    acl.set_password(b"");
    assert!(acl.is_open());
}

#[test]
fn a_change_of_users_is_seen_by_sessions_that_know_an_older_one() {
    let acl = Acl::default();
    let mut access = acl.newcomer();
    assert!(access.is_free(&acl));
    acl.set_user(DEFAULT, [&b"-get"[..]]).unwrap();
    assert!(!access.is_free(&acl));
    assert!(!access.user(&acl).is_unrestricted() && !access.is_free(&acl));
    acl.set_user(DEFAULT, [&b"+@all"[..]]).unwrap();
    access.user(&acl);
    assert!(access.is_free(&acl));
    acl.set_password(b"secret");
    access.user(&acl);
    assert!(access.is_free(&acl), "who is in stays in");
    let mut stranger = acl.newcomer();
    assert!(!stranger.is_free(&acl) && !stranger.is_authenticated(&acl));
    acl.set_password(b"");
    stranger.user(&acl);
    assert!(stranger.is_free(&acl));
}

#[test]
fn a_removed_user_is_not_the_one_made_in_its_place() {
    let acl = Acl::default();
    acl.set_user(b"u", [&b"on"[..], b"nopass", b"+@all", b"~*", b"&*"]).unwrap();
    let account = acl.find(b"u").unwrap();
    let mut access = acl.newcomer();
    access.become_user(account.clone(), &acl);
    assert!(access.is_free(&acl));
    acl.remove_user(b"u").unwrap();
    acl.set_user(b"u", [&b"on"[..], b"nopass", b"+@all", b"~*", b"&*"]).unwrap();
    access.user(&acl);
    assert!(!access.is_free(&acl) && access.account().is_removed());
    assert!(!Arc::ptr_eq(&account, &acl.find(b"u").unwrap()));
}

#[test]
fn new_users_may_begin_with_all_channels() {
    let acl = Acl::default();
    acl.all_channels.store(true, Relaxed);
    acl.set_user(b"u", [&b"(+get)"[..]]).unwrap();
    let lines: Vec<_> =
        acl.all().iter().map(|account| kvcommands::acl::user_line(&account.name, &account.user())).collect();
    assert_eq!(lines[1].escape_ascii().to_string(), "user u off &* -@all (&* -@all +get)");
}

#[test]
fn the_rules_of_a_user_are_bounded() {
    let acl = Acl::default();
    let long = [b"~", vec![b'x'; USER_BYTES_MAX].as_slice()].concat();
    acl.set_user(b"u", [long.as_slice()]).unwrap_err();
    let many: Vec<Vec<u8>> = (0..100_000).map(|at| format!("~{at}").into_bytes()).collect();
    acl.set_user(b"u", many.iter().map(Vec::as_slice)).unwrap_err();
    assert!(acl.find(b"u").is_none(), "a refused change makes no user");
    // Said again and again, a rule is still one.
    acl.set_user(b"u", (0..20_000).map(|_| &b"~x"[..])).unwrap();
}

#[test]
fn the_bytes_of_users_are_those_of_the_users_there_are() {
    let acl = Acl::default();
    let fresh = acl.bytes();
    let pattern = format!("~{}", "x".repeat(1000));
    acl.set_user(b"a", [pattern.as_bytes(), b"+get"]).unwrap();
    let with_one = acl.bytes();
    assert!((fresh + 1000..fresh + 2000).contains(&with_one), "{fresh} {with_one}");
    acl.set_user(b"a", [b"resetkeys".as_slice(), b">password"]).unwrap();
    assert!((fresh + 1..with_one - 500).contains(&acl.bytes()));
    acl.set_password(b"secret");
    acl.set_password(b"");
    acl.remove_user(b"a").unwrap();
    assert_eq!(acl.bytes(), fresh);
}
