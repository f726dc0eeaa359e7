//! Replies as aligned columns, for people.
//!
//! Invariant: every row is one line and holds no control character; where a width is given no line is wider.
//!
//! What becomes of a reply:
//!
//! | Reply | Table |
//! |---|---|
//! | a map, or the fields and values of HGETALL, CONFIG GET, ... in turn | a row for each pair |
//! | MGET, HMGET | a row for each key or field, with its value |
//! | a list of maps, or of lists with the same names in turn | a row for each of them, the names above |
//! | a list of lists | a row for each of them |
//! | CLIENT LIST, INFO | a row for each client, for each field |
//! | another list | numbered rows |
//! | anything else | its text |
//!
//! What lies deeper is JSON in its cell. A table of which too little would be left in the width is turned: each record's
//! fields stand below each other.

use crate::output::json::{Strings, write_json};
use kvclient::format::write_visible_line;
use kvproto::{Reply, Request, parse_integer};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Blanks between two columns.
const GAP: usize = 2;
/// A column that has to be narrower than it is keeps so much.
const COLUMN_WIDTH_MIN: usize = 8;
/// What stands for what was cut off.
const ELLIPSIS: char = '…';

/// Cells in rows, all as long as the longest of them.
#[derive(Debug, Default)]
struct Table {
    /// The names of the columns; may be none.
    names: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    text: String,
    is_number: bool,
}

/// Appends the reply to `request` as a table; `width` is that of the terminal, if it is one.
pub fn write_reply(request: Request<'_>, reply: &Reply, width: Option<usize>, out: &mut Vec<u8>) {
    match table_of(request, reply) {
        Some(table) if table.rows.is_empty() => out.extend_from_slice(b"(empty)\n"),
        Some(table) => table.write(width, out),
        None => {
            write_text(reply, out);
            out.push(b'\n');
        }
    }
}

impl Table {
    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.names.len())
    }

    /// Appends the table.
    fn write(&self, width: Option<usize>, out: &mut Vec<u8>) {
        let columns = self.columns();
        let mut widths = vec![0; columns];
        let mut is_number = vec![true; columns];
        for (at, name) in self.names.iter().enumerate() {
            widths[at] = name.width();
        }
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                widths[at] = widths[at].max(cell.text.width());
                is_number[at] &= cell.is_number;
            }
        }
        if let Some(width) = width
            && !fit(&mut widths, width)
        {
            return self.write_turned(width, out);
        }
        if !self.names.is_empty() {
            let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
            write_row(&names, &widths, &is_number, out);
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            write_row(&rules.iter().map(String::as_str).collect::<Vec<_>>(), &widths, &is_number, out);
        }
        for row in &self.rows {
            let texts: Vec<&str> = row.iter().map(|cell| cell.text.as_str()).collect();
            write_row(&texts, &widths, &is_number, out);
        }
    }

    /// Appends each record with its fields below each other.
    fn write_turned(&self, width: usize, out: &mut Vec<u8>) {
        let name = |at: usize| self.names.get(at).cloned().unwrap_or_else(|| (at + 1).to_string());
        let names_width = (0..self.columns()).map(|at| name(at).width()).max().unwrap_or(0);
        for (at, row) in self.rows.iter().enumerate() {
            let head = format!("-- {}", at + 1);
            out.extend_from_slice(cut(&head, width).as_bytes());
            out.push(b'\n');
            let mut widths = [names_width, width.saturating_sub(names_width + GAP).max(1)];
            if !fit(&mut widths, width) {
                widths = [width, 0];
            }
            for (at, cell) in row.iter().enumerate() {
                write_row(&[&name(at), &cell.text], &widths, &[false, false], out);
            }
        }
    }
}

/// Makes the widest columns narrower until all of them fit; returns whether enough is left of each.
fn fit(widths: &mut [usize], width: usize) -> bool {
    let gaps = GAP * widths.len().saturating_sub(1);
    let mut total = widths.iter().sum::<usize>() + gaps;
    while total > width {
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width) else { return true };
        if *widest <= COLUMN_WIDTH_MIN {
            return false;
        }
        *widest -= 1;
        total -= 1;
    }
    true
}

/// Returns what fits `width` of a text.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = width.saturating_sub(1);
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        kept.push(character);
    }
    if width > 0 {
        kept.push(ELLIPSIS);
    }
    kept
}

fn write_row(texts: &[&str], widths: &[usize], is_number: &[bool], out: &mut Vec<u8>) {
    let mut line = String::new();
    for (at, ((text, &width), &is_number)) in texts.iter().zip(widths).zip(is_number).enumerate() {
        if at > 0 && width > 0 {
            line.extend(std::iter::repeat_n(' ', GAP));
        }
        let text = cut(text, width);
        let blanks = std::iter::repeat_n(' ', width.saturating_sub(text.width()));
        if is_number {
            line.extend(blanks);
            line.push_str(&text);
        } else {
            line.push_str(&text);
            line.extend(blanks);
        }
    }
    out.extend_from_slice(line.trim_end().as_bytes());
    out.push(b'\n');
}

/// Appends a scalar as it is read, anything else as JSON, on one line.
fn write_text(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Nil | Reply::NilArray | Reply::Nothing | Reply::Attribute(_) => out.extend_from_slice(b"(nil)"),
        Reply::Ok => out.extend_from_slice(b"OK"),
        Reply::Simple(text) => write_visible_line(text.as_bytes(), out),
        Reply::Error(text) => {
            out.extend_from_slice(b"(error) ");
            write_visible_line(text.as_bytes(), out);
        }
        Reply::Bulk(bytes) => write_visible_line(bytes, out),
        Reply::Verbatim { text, .. } => write_visible_line(text, out),
        Reply::BigNumber(digits) => write_visible_line(digits.as_bytes(), out),
        reply => write_json(reply, Strings::Utf8, out),
    }
}

fn text(reply: &Reply) -> String {
    let mut out = Vec::new();
    write_text(reply, &mut out);
    // A tab has no width that is known here.
    String::from_utf8_lossy(&out).replace('\t', "\\t")
}

fn cell(reply: &Reply) -> Cell {
    let text = text(reply);
    let is_number = match reply {
        Reply::Integer(_) | Reply::Double(_) | Reply::Decimal(_) | Reply::BigNumber(_) => true,
        Reply::Bulk(_) => text.parse::<f64>().is_ok(),
        _ => false,
    };
    Cell { text, is_number }
}

fn table_of(request: Request<'_>, reply: &Reply) -> Option<Table> {
    match reply {
        Reply::Map(pairs) => Some(pairs_table(pairs.iter().map(|(key, value)| (key, value)))),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Some(list_table(request, items)),
        Reply::Bulk(bytes) => report_table(request, bytes),
        Reply::Verbatim { text, .. } => report_table(request, text),
        _ => None,
    }
}

fn pairs_table<'r>(pairs: impl Iterator<Item = (&'r Reply, &'r Reply)>) -> Table {
    Table { names: Vec::new(), rows: pairs.map(|(key, value)| vec![cell(key), cell(value)]).collect() }
}

fn list_table(request: Request<'_>, items: &[Reply]) -> Table {
    if let Some(keys) = words_of_items(request).filter(|keys| keys.len() == items.len()) {
        let key = |at: usize| Reply::bulk(keys[at]);
        let rows = items.iter().enumerate().map(|(at, item)| vec![cell(&key(at)), cell(item)]).collect();
        return Table { names: Vec::new(), rows };
    }
    // RESP3 may send lists of two instead.
    let is_flat = !items.iter().any(|item| matches!(item, Reply::Array(_) | Reply::Map(_)));
    if is_flat && holds_pairs(request) && items.len().is_multiple_of(2) {
        return pairs_table(items.chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?))));
    }
    if let Some(records) = items.iter().map(record).collect::<Option<Vec<_>>>()
        && !items.is_empty()
        && have_the_same_names(items, &records)
        && (records.len() > 1 || matches!(items, [Reply::Map(_)]))
    {
        return records_table(&records);
    }
    let row = |item: &Reply| match item {
        Reply::Array(cells) | Reply::Set(cells) | Reply::Push(cells) if !cells.is_empty() => {
            Some(cells.iter().map(cell).collect())
        }
        _ => None,
    };
    if let Some(rows) = items.iter().map(row).collect::<Option<Vec<Vec<Cell>>>>() {
        return Table { names: Vec::new(), rows };
    }
    let number = |at: usize| Cell { text: (at + 1).to_string(), is_number: true };
    let rows = items.iter().enumerate().map(|(at, item)| vec![number(at), cell(item)]).collect();
    Table { names: Vec::new(), rows }
}

/// Returns the words of a request that name the items of its reply.
fn words_of_items<'r>(request: Request<'r>) -> Option<Vec<&'r [u8]>> {
    let skipped = match request.name().to_ascii_lowercase().as_slice() {
        b"mget" => 1,
        b"hmget" => 2,
        _ => return None,
    };
    Some(request.iter().skip(skipped).collect())
}

/// Returns whether the reply holds names and values in turn, which RESP2 sends as a plain list.
fn holds_pairs(request: Request<'_>) -> bool {
    let is = |at: usize, word: &str| request.get(at).is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()));
    is(0, "hgetall")
        || is(0, "hello")
        || (is(0, "config") && is(1, "get"))
        || (is(0, "memory") && is(1, "stats"))
        || (is(0, "acl") && is(1, "getuser"))
        || (is(0, "pubsub") && (is(1, "numsub") || is(1, "shardnumsub")))
        || (is(0, "xinfo") && is(1, "stream"))
        || has_scores(request)
}

/// Returns whether the request has the option WITHSCORES or WITHVALUES, behind the words that may be anything.
fn has_scores(request: Request<'_>) -> bool {
    let number = |at: usize| request.get(at).and_then(parse_integer).and_then(|number| usize::try_from(number).ok());
    let skipped = match request.name().to_ascii_lowercase().as_slice() {
        b"zrange" | b"zrevrange" | b"zrangebyscore" | b"zrevrangebyscore" => 4,
        b"zrandmember" | b"hrandfield" => 3,
        b"zdiff" | b"zinter" | b"zunion" => number(1).unwrap_or(0).saturating_add(2),
        _ => return false,
    };
    let is_option =
        |word: &[u8]| [&b"withscores"[..], b"withvalues"].iter().any(|option| word.eq_ignore_ascii_case(option));
    request.iter().skip(skipped).any(is_option)
}

/// The names and values of a map, or of a list in which texts and values stand in turn.
type Record<'r> = Vec<(&'r Reply, &'r Reply)>;

fn record(reply: &Reply) -> Option<Record<'_>> {
    match reply {
        Reply::Map(pairs) => Some(pairs.iter().map(|(key, value)| (key, value)).collect()),
        Reply::Array(items) if items.len() >= 4 && items.len() % 2 == 0 => items
            .chunks_exact(2)
            .map(|pair| match pair {
                [key @ (Reply::Bulk(_) | Reply::Simple(_)), value] => Some((key, value)),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Returns whether the lists among the records have the same names, so that these are names and not values. A map says so
/// itself.
fn have_the_same_names(items: &[Reply], records: &[Record<'_>]) -> bool {
    let names = |record: &Record<'_>| record.iter().map(|(name, _)| text(name)).collect::<Vec<_>>();
    let first = records.first().map(names);
    items.iter().zip(records).all(|(item, record)| matches!(item, Reply::Map(_)) || Some(names(record)) == first)
}

fn records_table(records: &[Record<'_>]) -> Table {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in records.iter().flatten() {
        let name = text(name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rows = records
        .iter()
        .map(|record| {
            let mut row = vec![Cell::default(); names.len()];
            for (name, value) in record {
                let name = text(name);
                if let Some(place) = names.iter().position(|known| *known == name).and_then(|at| row.get_mut(at)) {
                    *place = cell(value);
                }
            }
            row
        })
        .collect();
    Table { names, rows }
}

/// Returns the table of a text that is one: INFO, and CLIENT LIST and INFO.
fn report_table(request: Request<'_>, bytes: &[u8]) -> Option<Table> {
    let is = |at: usize, word: &str| request.get(at).is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()));
    let lines = || bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let split = |text: &[u8], mark: u8| {
        let at = text.iter().position(|byte| *byte == mark)?;
        Some((Reply::bulk(text.get(..at)?), Reply::bulk(text.get(at + 1..)?)))
    };
    if is(0, "client") && (is(1, "list") || is(1, "info")) {
        let clients: Vec<Vec<(Reply, Reply)>> = lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.split(|byte| *byte == b' ').filter_map(|word| split(word, b'=')).collect())
            .collect();
        let records: Vec<Record<'_>> =
            clients.iter().map(|client| client.iter().map(|(key, value)| (key, value)).collect()).collect();
        return Some(records_table(&records));
    }
    if is(0, "info") {
        let pairs: Vec<(Reply, Reply)> =
            lines().filter(|line| !line.starts_with(b"#")).filter_map(|line| split(line, b':')).collect();
        let rows = pairs.iter().map(|(key, value)| vec![cell(key), Cell { is_number: false, ..cell(value) }]).collect();
        return Some(Table { names: Vec::new(), rows });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    fn shown(words: &[&str], reply: &Reply, width: Option<usize>) -> String {
        let request = OwnedRequest::from_words(words);
        let mut out = Vec::new();
        write_reply(request.as_request(), reply, width, &mut out);
        let text = String::from_utf8(out).unwrap();
        if let Some(width) = width {
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
        }
        text
    }

    #[test]
    fn pairs_and_lists_are_aligned() {
        let map = Reply::Map(vec![
            (Reply::bulk("name"), Reply::bulk("k\u{1b}v")),
            (Reply::bulk("n"), Reply::Array(vec![Reply::Integer(1), Reply::Nil])),
        ]);
        assert_eq!(shown(&["HELLO", "3"], &map, None), "name  k\\x1bv\nn     [1,null]\n");
        let flat = Reply::bulks(["maxmemory", "0", "dir", "/x"]);
        assert_eq!(shown(&["CONFIG", "get", "*"], &flat, None), "maxmemory  0\ndir        /x\n");
        assert_eq!(shown(&["KEYS", "*"], &Reply::bulks(["a", "b"]), None), "1  a\n2  b\n");
        let some = Reply::Array(vec![Reply::Integer(10), Reply::Nil]);
        assert_eq!(shown(&["MGET", "k", "long"], &some, None), "k     10\nlong  (nil)\n");
        assert_eq!(shown(&["KEYS", "*"], &Reply::Array(vec![]), None), "(empty)\n");
        assert_eq!(shown(&["GET", "k"], &Reply::bulk("a\nb"), None), "a\\nb\n");
        assert_eq!(shown(&["GET"], &Reply::error("ERR no"), None), "(error) ERR no\n");
    }

    #[test]
    fn records_have_their_names_above() {
        let row = |id: i64, name: &str| {
            Reply::Array(vec![Reply::bulk("id"), Reply::Integer(id), Reply::bulk("name"), Reply::bulk(name)])
        };
        let rows = Reply::Array(vec![row(1, "a"), row(20, "bb")]);
        assert_eq!(shown(&["ACL", "LOG"], &rows, None), "id  name\n--  ----\n 1  a\n20  bb\n");
        let maps = Reply::Array(vec![
            Reply::Map(vec![(Reply::bulk("a"), Reply::Integer(1))]),
            Reply::Map(vec![(Reply::bulk("b"), Reply::Integer(2))]),
        ]);
        assert_eq!(shown(&["X"], &maps, None), "a  b\n-  -\n1\n   2\n");
        let clients = Reply::bulk("id=1 name= cmd=get\nid=22 name=w cmd=set\n");
        assert_eq!(
            shown(&["CLIENT", "LIST"], &clients, None),
            "id  name  cmd\n--  ----  ---\n 1        get\n22  w     set\n"
        );
        let info = Reply::bulk("# Server\r\nrun_id:x\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=0\r\n");
        assert_eq!(shown(&["INFO"], &info, None), "run_id  x\ndb0     keys=1,expires=0\n");
    }

    #[test]
    fn values_are_no_names() {
        let pair = |name: &str, score| Reply::Array(vec![Reply::bulk(name), Reply::Integer(score)]);
        let resp3 = Reply::Array(vec![pair("a", 1), pair("b", 2)]);
        let request = ["ZRANGE", "z", "0", "-1", "WITHSCORES"];
        assert_eq!(shown(&request, &resp3, None), "a  1\nb  2\n");
        let resp2 = Reply::bulks(["a", "1", "b", "2"]);
        for request in [&request[..], &["hrandfield", "h", "2", "withvalues"], &["ZDIFF", "1", "z", "WITHSCORES"]] {
            assert_eq!(shown(request, &resp2, None), "a  1\nb  2\n");
        }
        // Of a key.
        for request in [&["LRANGE", "withscores", "0", "-1"][..], &["ZDIFF", "1", "withscores"]] {
            assert_eq!(shown(request, &resp2, None), "1  a\n2  1\n3  b\n4  2\n");
        }
        let lists = Reply::Array(vec![Reply::bulks(["a", "b", "c", "d"]), Reply::bulks(["e", "f", "g", "h"])]);
        assert_eq!(shown(&["EXEC"], &lists, None), "a  b  c  d\ne  f  g  h\n");
    }

    #[test]
    fn lists_of_lists_are_rows() {
        let rows = Reply::Array(vec![
            Reply::Array(vec![Reply::Integer(1), Reply::bulk("x"), Reply::bulks(["a", "b"])]),
            Reply::Array(vec![Reply::Integer(100), Reply::bulk("yy")]),
        ]);
        assert_eq!(shown(&["SLOWLOG", "GET"], &rows, None), "  1  x   [\"a\",\"b\"]\n100  yy\n");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let map = Reply::Map(vec![(Reply::bulk("日本"), Reply::bulk("x")), (Reply::bulk("a"), Reply::bulk("y"))]);
        assert_eq!(shown(&["X"], &map, None), "日本  x\na     y\n");
        assert_eq!(shown(&["X"], &Reply::bulks(["日本日本日本日本"]), Some(12)), "1  日本日本…\n");
    }

    #[test]
    fn what_is_too_wide_is_cut_or_turned() {
        let long = "x".repeat(100);
        let map = Reply::Map(vec![(Reply::bulk("key"), Reply::bulk(long.as_str()))]);
        assert_eq!(shown(&["X"], &map, Some(20)), format!("key  {}…\n", "x".repeat(14)));
        let clients = Reply::bulk("id=1 address=127.0.0.1:6379 flags=NNNNNNNNNNNN command=subscribe\n");
        let turned = shown(&["CLIENT", "LIST"], &clients, Some(24));
        assert_eq!(turned, "-- 1\nid       1\naddress  127.0.0.1:6379\nflags    NNNNNNNNNNNN\ncommand  subscribe\n");
        for width in 1..40 {
            shown(&["CLIENT", "LIST"], &clients, Some(width));
            shown(&["X"], &map, Some(width));
        }
    }
}
