//! `--stat`: a row of the server's figures every second.
//!
//! Invariant: a figure that the server does not have is shown as `-`, never as 0.

use super::{Result, Setting, bytes_of, checked, human_bytes, note_summary, print, senseless};
use crate::output::{Style, terminal_width};
use std::time::{Duration, Instant};

/// The time between two rows.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Rows between two headings on a terminal.
const HEADING_EVERY: u64 = 20;

/// The figures of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures {
    keys: Option<i64>,
    memory: Option<i64>,
    clients: Option<i64>,
    blocked: Option<i64>,
    requests: Option<i64>,
    connections: Option<i64>,
    hits: Option<i64>,
    misses: Option<i64>,
    /// What the server does beside: a snapshot, a rewrite of the log, loading.
    work: &'static str,
}

/// A row: the figures of a moment, and what happened since the one before.
#[derive(Clone, Debug)]
struct Row {
    now: Figures,
    /// Requests since the row before.
    requests: i64,
    requests_per_second: Option<f64>,
    /// Of the lookups since the row before; of all, in the first.
    hit_ratio: Option<f64>,
}

/// Prints a row each interval until Ctrl-C, or until as many as `-r` says.
pub fn run(setting: &Setting<'_>) -> Result<bool> {
    let interval = setting.interval.unwrap_or(INTERVAL_DEFAULT);
    let mut link = setting.connect()?;
    let start = Instant::now();
    let (mut rows, mut first, mut last): (u64, Option<Figures>, Option<(Figures, Instant)>) = (0, None, None);
    let mut left = setting.repeat.unwrap_or(-1);
    let mut due = start;
    while left != 0 {
        let Some(reply) = link.exchange_again(["INFO"])? else { break };
        let taken = Instant::now();
        let reply = checked("INFO", reply)?;
        let now = figures(bytes_of(&reply).ok_or_else(|| senseless("INFO"))?);
        let row = Row::between(last.as_ref().map(|(figures, at)| (figures, taken - *at)), &now);
        print(&render(&row, setting, rows))?;
        rows += 1;
        first.get_or_insert_with(|| now.clone());
        last = Some((now, taken));
        left = if left < 0 { left } else { left - 1 };
        // Rows keep their distance; where a reply took longer than that, the distance begins anew.
        due = if due + interval > taken { due + interval } else { taken + interval };
        if left != 0 && !setting.wait_until(due) {
            break;
        }
    }
    if let (Some(first), Some((last, taken)), true) = (first, last, setting.is_interrupted()) {
        note_summary(&summary(&first, &last, taken - start));
    }
    Ok(true)
}

/// Reads the figures from the text of INFO.
fn figures(info: &[u8]) -> Figures {
    let text = String::from_utf8_lossy(info);
    let fields = || text.lines().filter_map(|line| line.split_once(':'));
    let number =
        |name: &str| fields().find(|(known, _)| *known == name).and_then(|(_, value)| value.trim().parse().ok());
    let keys = fields()
        .filter(|(name, _)| name.strip_prefix("db").is_some_and(|db| db.bytes().all(|byte| byte.is_ascii_digit())))
        .filter_map(|(_, value)| value.split(',').find_map(|part| part.strip_prefix("keys=")))
        .filter_map(|keys| keys.parse::<i64>().ok())
        .fold(0, i64::saturating_add);
    let has_keyspace = text.contains("# Keyspace");
    let is_set = |name: &str| number(name).is_some_and(|value| value != 0);
    Figures {
        keys: has_keyspace.then_some(keys),
        memory: number("used_memory"),
        clients: number("connected_clients"),
        blocked: number("blocked_clients"),
        requests: number("total_commands_processed"),
        connections: number("total_connections_received"),
        hits: number("keyspace_hits"),
        misses: number("keyspace_misses"),
        work: match (is_set("rdb_bgsave_in_progress"), is_set("aof_rewrite_in_progress"), is_set("loading")) {
            (_, _, true) => "LOAD",
            (true, true, _) => "SAVE+AOF",
            (true, false, _) => "SAVE",
            (false, true, _) => "AOF",
            (false, false, false) => "",
        },
    }
}

impl Row {
    fn between(before: Option<(&Figures, Duration)>, now: &Figures) -> Row {
        let since = |field: fn(&Figures) -> Option<i64>| {
            // A server that was restarted counts from 0.
            let before = before.and_then(|(before, _)| field(before)).unwrap_or(0);
            field(now).map(|value| if value < before { value } else { value.saturating_sub(before) })
        };
        let requests = before.and_then(|_| since(|figures| figures.requests)).unwrap_or(0);
        let lookups = since(|figures| figures.hits).zip(since(|figures| figures.misses));
        Row {
            now: now.clone(),
            requests,
            requests_per_second: before.map(|(_, time)| requests as f64 / time.as_secs_f64().max(1e-9)),
            hit_ratio: lookups
                .map(|(hits, misses)| (hits as f64, hits as f64 + misses as f64))
                .filter(|(_, lookups)| *lookups > 0.0)
                .map(|(hits, lookups)| hits / lookups),
        }
    }
}

/// A column: its name, its width, and how long it stays when the terminal is too narrow; 0 stays longest.
struct Column {
    name: &'static str,
    width: usize,
    rank: usize,
}

const COLUMNS: [Column; 9] = [
    Column { name: "keys", width: 11, rank: 0 },
    Column { name: "mem", width: 9, rank: 1 },
    Column { name: "clients", width: 8, rank: 3 },
    Column { name: "blocked", width: 8, rank: 7 },
    Column { name: "requests", width: 21, rank: 5 },
    Column { name: "connections", width: 12, rank: 6 },
    Column { name: "ops/s", width: 10, rank: 2 },
    Column { name: "hits", width: 8, rank: 4 },
    Column { name: "work", width: 8, rank: 8 },
];

fn render(row: &Row, setting: &Setting<'_>, rows: u64) -> String {
    let or_dash = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let Row { now, .. } = row;
    let ops = row.requests_per_second.map(|value| format!("{value:.0}"));
    match setting.style {
        Style::Json | Style::QuotedJson => {
            let value = serde_json::json!({
                "keys": now.keys, "memory_bytes": now.memory, "clients": now.clients, "blocked_clients": now.blocked,
                "requests": now.requests, "requests_since": row.requests, "connections": now.connections,
                "requests_per_second": row.requests_per_second, "hit_ratio": row.hit_ratio, "work": now.work,
            });
            return format!("{value}\n");
        }
        Style::Csv => {
            let heading = "keys,memory_bytes,clients,blocked_clients,requests,requests_since,connections,\
                           requests_per_second,hit_ratio,work\n";
            let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
            let cells = [
                number(now.keys),
                number(now.memory),
                number(now.clients),
                number(now.blocked),
                number(now.requests),
                row.requests.to_string(),
                number(now.connections),
                ops.unwrap_or_default(),
                row.hit_ratio.map(|ratio| format!("{ratio:.4}")).unwrap_or_default(),
                now.work.to_owned(),
            ];
            return format!("{}{}\n", if rows == 0 { heading } else { "" }, cells.join(","));
        }
        _ => {}
    }
    let cells = [
        or_dash(now.keys),
        now.memory.map_or_else(|| "-".to_owned(), human_bytes),
        or_dash(now.clients),
        or_dash(now.blocked),
        now.requests.map_or_else(|| "-".to_owned(), |requests| format!("{requests} (+{})", row.requests)),
        or_dash(now.connections),
        ops.unwrap_or_else(|| "-".to_owned()),
        row.hit_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", 100.0 * ratio)),
        now.work.to_owned(),
    ];
    let shown = shown_columns(terminal_width());
    let line = |text: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for (at, column) in COLUMNS.iter().enumerate().filter(|(at, _)| shown.contains(at)) {
            // A figure that is wider than its column moves the next one.
            line += &format!("{:<1$} ", text(at), column.width - 1);
        }
        line.trim_end().to_owned() + "\n"
    };
    let has_heading = rows == 0 || (setting.draws() && rows.is_multiple_of(HEADING_EVERY));
    let heading = if has_heading { line(&|at| COLUMNS[at].name.to_owned()) } else { String::new() };
    heading + &line(&|at| cells[at].clone())
}

/// Returns the columns that a terminal has room for; all of them in a pipe.
fn shown_columns(width: Option<usize>) -> Vec<usize> {
    let mut by_rank: Vec<usize> = (0..COLUMNS.len()).collect();
    by_rank.sort_by_key(|at| COLUMNS[*at].rank);
    let mut left = width.unwrap_or(usize::MAX);
    by_rank.retain(|at| {
        let fits = COLUMNS[*at].width <= left;
        left = if fits { left - COLUMNS[*at].width } else { 0 };
        fits
    });
    by_rank
}

fn summary(first: &Figures, last: &Figures, time: Duration) -> String {
    let row = Row::between(Some((first, time)), last);
    let seconds = time.as_secs_f64();
    let rate = row.requests_per_second.unwrap_or(0.0);
    let mut text = format!("{seconds:.1} s: {} requests, {rate:.0} a second", row.requests);
    if let Some(ratio) = row.hit_ratio {
        text += &format!(", {:.1}% of the lookups hit", 100.0 * ratio);
    }
    if let (Some(first), Some(last)) = (first.memory, last.memory) {
        let sign = if last >= first { "+" } else { "" };
        text += &format!(", memory {sign}{}", human_bytes(last.saturating_sub(first)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"# Memory\r\nused_memory:2048\r\nused_memory_rss:9\r\n# Clients\r\nconnected_clients:3\r\n\
        blocked_clients:1\r\n# Stats\r\ntotal_commands_processed:100\r\ntotal_connections_received:7\r\n\
        keyspace_hits:3\r\nkeyspace_misses:1\r\nrdb_bgsave_in_progress:1\r\n# Keyspace\r\n\
        db0:keys=4,expires=0,avg_ttl=0\r\ndb15:keys=6,expires=0\r\n";

    #[test]
    fn figures_are_read_from_info() {
        let read = figures(INFO);
        assert_eq!((read.keys, read.memory, read.clients, read.blocked), (Some(10), Some(2048), Some(3), Some(1)));
        assert_eq!((read.requests, read.connections, read.work), (Some(100), Some(7), "SAVE"));
        // What is not there is not 0, but a keyspace without databases is.
        assert_eq!(figures(b""), Figures::default());
        assert_eq!(figures(b"# Keyspace\r\n").keys, Some(0));
    }

    #[test]
    fn a_row_says_what_happened_since_the_one_before() {
        let first = figures(INFO);
        let row = Row::between(None, &first);
        assert_eq!((row.requests, row.requests_per_second, row.hit_ratio), (0, None, Some(0.75)));
        let mut second = first.clone();
        (second.requests, second.hits, second.misses) = (Some(300), Some(4), Some(4));
        let row = Row::between(Some((&first, Duration::from_secs(2))), &second);
        assert_eq!((row.requests, row.requests_per_second, row.hit_ratio), (200, Some(100.0), Some(0.25)));
        assert_eq!(
            summary(&first, &second, Duration::from_secs(2)),
            "2.0 s: 200 requests, 100 a second, 25.0% of the lookups hit, memory +0B"
        );
        // A restart.
        second.requests = Some(5);
        assert_eq!(Row::between(Some((&first, Duration::from_secs(1))), &second).requests, 5);
    }

    #[test]
    fn figures_that_make_no_sense_end_nothing() {
        let info = |number: i64| {
            let names = ["used_memory", "total_commands_processed", "keyspace_hits", "keyspace_misses"];
            let lines: String = names.map(|name| format!("{name}:{number}\r\n")).concat();
            figures(format!("# Keyspace\r\ndb0:keys={number}\r\ndb1:keys={number}\r\n{lines}").as_bytes())
        };
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX];
        for (first, second) in numbers.iter().flat_map(|first| numbers.map(|second| (info(*first), info(second)))) {
            let row = Row::between(Some((&first, Duration::ZERO)), &second);
            assert!(row.hit_ratio.is_none_or(|ratio| ratio.is_finite()));
            summary(&first, &second, Duration::ZERO);
        }
    }

    #[test]
    fn a_narrow_terminal_has_the_columns_that_matter_most() {
        let names = |width| {
            let mut shown = shown_columns(width);
            shown.sort_unstable();
            shown.iter().map(|at| COLUMNS[*at].name).collect::<Vec<_>>()
        };
        assert_eq!(names(None).len(), COLUMNS.len());
        assert_eq!(names(Some(40)), ["keys", "mem", "clients", "ops/s"]);
        assert_eq!(names(Some(5)), [] as [&str; 0]);
    }
}
