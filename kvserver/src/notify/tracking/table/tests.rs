//! Tests of the tracking table.
//!
//! Invariant: each message is one that a client's cache needs.

use super::*;

fn tracker(id: u64) -> Tracker {
    let address = Address { loop_index: 0, slot: 0, client_id: id };
    Tracker { address, redirect: 0, broadcast: false, no_loop: false }
}

fn started(ids: &[u64]) -> Table {
    let mut table = Table::default();
    for id in ids {
        table.start(*id, tracker(*id), &BTreeSet::new());
    }
    table
}

fn changed(key: &str, origin: u64) -> TrackedChange {
    TrackedChange { key: Some(key.as_bytes().into()), origin, lsn: Lsn::new(7) }
}

/// Keys and their readers.
fn counts(table: &Table) -> (usize, usize) {
    (table.totals().keys, table.totals().items)
}

/// Who is told what.
fn told(table: &mut Table, events: &[TrackedChange]) -> Vec<(u64, String)> {
    let mut notices = Vec::new();
    table.tell(events, &mut notices);
    shown(&notices)
}

fn shown(notices: &[Notice]) -> Vec<(u64, String)> {
    let text = |stale: &Stale| match stale {
        Stale::Keys(keys) => keys.iter().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>().join(" "),
        Stale::All => "*".to_owned(),
    };
    notices.iter().map(|notice| (notice.tracker, text(&notice.stale))).collect()
}

#[test]
fn a_reader_is_told_once_of_a_key_it_read() {
    let mut table = started(&[1, 2]);
    table.remember(b"a", 1);
    table.remember(b"a", 1);
    table.remember(b"a", 2);
    table.remember(b"b", 2);
    assert_eq!(counts(&table), (2, 3));
    assert_eq!(told(&mut table, &[changed("a", 1), changed("a", 1)]), [(1, "a".into()), (2, "a".into())]);
    assert_eq!(counts(&table), (1, 1));
    assert_eq!(told(&mut table, &[changed("a", 0)]), []);
}

#[test]
fn a_client_without_loops_is_spared_its_own_changes_only() {
    let mut table = started(&[2]);
    table.start(1, Tracker { no_loop: true, ..tracker(1) }, &BTreeSet::new());
    for key in ["a", "b"] {
        table.remember(key.as_bytes(), 1);
    }
    assert_eq!(told(&mut table, &[changed("a", 1), changed("b", 0)]), [(1, "b".into())]);
}

#[test]
fn a_flush_is_one_message_that_waits_for_all_of_it() {
    let mut table = started(&[1]);
    table.remember(b"a", 1);
    let flush = |lsn| TrackedChange { key: None, origin: 1, lsn: Lsn::new(lsn) };
    let mut notices = Vec::new();
    table.tell(&[changed("a", 1), flush(0), flush(9), flush(8)], &mut notices);
    assert_eq!(shown(&notices), [(1, "a".into()), (1, "*".into())]);
    assert_eq!(notices[1].lsn, Lsn::new(9));
    assert_eq!(counts(&table), (0, 0));
}

#[test]
fn broadcasts_go_by_prefix_and_spare_who_wants_no_loops() {
    let mut table = Table::default();
    let prefixes = |list: &[&str]| list.iter().map(|prefix| Box::from(prefix.as_bytes())).collect::<BTreeSet<_>>();
    let broadcast = |id| Tracker { broadcast: true, ..tracker(id) };
    table.start(1, broadcast(1), &prefixes(&["a:", "b:"]));
    table.start(2, Tracker { no_loop: true, ..broadcast(2) }, &prefixes(&[""]));
    table.remember(b"a:1", 1);
    let events = [changed("b:1", 2), changed("a:2", 0), changed("a:1", 2), changed("c", 2), changed("a:1", 0)];
    let expected = [(2, "a:1 a:2".into()), (1, "a:1 a:2".into()), (1, "b:1".into())];
    assert_eq!(told(&mut table, &events), expected, "and nothing for having read a:1 before");
    assert_eq!(told(&mut table, &[changed("c", 2)]), []);
    table.stop(2, &prefixes(&[""]));
    assert_eq!((table.totals().prefixes, table.totals().clients), (2, 1));
}

#[test]
fn a_full_table_forgets_keys_and_says_so() {
    let mut table = started(&[1]);
    let keys: Vec<String> = (0..100).map(|number| format!("key{number}")).collect();
    for key in &keys {
        table.remember(key.as_bytes(), 1);
    }
    let mut notices = Vec::new();
    table.shrink_to(3, usize::MAX, &mut notices);
    let forgotten: BTreeSet<String> = shown(&notices).into_iter().map(|(_, key)| key).collect();
    assert_eq!((counts(&table), forgotten.len()), ((3, 3), 97));
    for key in keys.iter().filter(|key| !forgotten.contains(*key)) {
        assert_eq!(told(&mut table, &[changed(key, 0)]), [(1, key.clone())]);
    }
    assert_eq!(table.key_count(), 0);
}

#[test]
fn keys_that_are_too_long_together_are_forgotten() {
    let mut table = started(&[1, 2]);
    for number in 0..10 {
        table.remember(format!("{number}{}", "k".repeat(999)).as_bytes(), 1);
    }
    table.remember(format!("0{}", "k".repeat(999)).as_bytes(), 2);
    let each = 1000 + KEY_BYTES + size_of::<u64>();
    assert_eq!(table.bytes(), 10 * each + size_of::<u64>());
    table.shrink_to(usize::MAX, 4 * each, &mut Vec::new());
    assert!((3..=4).contains(&table.key_count()) && table.bytes() <= 4 * each, "{table:?}");
    table.shrink_to(usize::MAX, 0, &mut Vec::new());
    assert_eq!((table.key_count(), table.bytes()), (0, 0));
}

#[test]
fn clients_that_are_gone_do_not_pile_up() {
    let mut table = started(&[1]);
    table.remember(b"a", 1);
    for id in 2..1000 {
        table.start(id, tracker(id), &BTreeSet::new());
        table.remember(b"a", id);
        table.stop(id, &BTreeSet::new());
    }
    assert!(table.totals().items < 8, "{}", table.totals().items);
    assert_eq!(told(&mut table, &[changed("a", 0)]), [(1, "a".into())]);
}
