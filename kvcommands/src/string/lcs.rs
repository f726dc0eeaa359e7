//! LCS: the longest sequence of bytes that two values have in common, gaps allowed.
//!
//! Invariant: the working memory is one bit for each pair of bytes, and bounded before any of it is reserved.

use kvcore::hooks::ReadTxn;
use kvproto::{Args, CommandError, Reply};

use crate::outcome::Outcome;

/// Clients know a table of 4 bytes for each pair of positions, and this limit on it. Ours takes a 32nd of that.
const TABLE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]`
pub fn lcs(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let (a, b) = (txn.get(args.next()?)?, txn.get(args.next()?)?);
    let a = a.as_ref().map_or(&b""[..], |value| value.bytes());
    let b = b.as_ref().map_or(&b""[..], |value| value.bytes());
    let (mut only_length, mut positions, mut with_lengths, mut length_min) = (false, false, false, 0);
    while !args.is_empty() {
        if args.eat("IDX") {
            positions = true;
        } else if args.eat("LEN") {
            only_length = true;
        } else if args.eat("WITHMATCHLEN") {
            with_lengths = true;
        } else if args.eat("MINMATCHLEN") {
            length_min = args.integer()?;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    if only_length && positions {
        return Err(CommandError::custom("ERR If you want both the length and indexes, please just use IDX.").into());
    }
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells.saturating_mul(4) > TABLE_BYTES_MAX {
        return Err(CommandError::custom(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        )
        .into());
    }
    // A cell takes about a nanosecond.
    txn.charge(cells)?;
    if only_length {
        return Ok(Reply::count(Table::fill(a, b, false).length));
    }
    let table = Table::fill(a, b, true);
    if !positions {
        let mut common: Vec<u8> = table.pairs(a, b).map(|(at, _)| a[at]).collect();
        common.reverse();
        return Ok(Reply::bulk(common));
    }
    let length_min = usize::try_from(length_min).unwrap_or(0);
    let matches = runs(table.pairs(a, b)).into_iter().filter(|run| run.length >= length_min).map(|run| {
        let bounds = |last: usize| Reply::Array(vec![Reply::count(last + 1 - run.length), Reply::count(last)]);
        let mut shown = vec![bounds(run.last_in_a), bounds(run.last_in_b)];
        if with_lengths {
            shown.push(Reply::count(run.length));
        }
        Reply::Array(shown)
    });
    Ok(Reply::Map(vec![
        (Reply::bulk(&b"matches"[..]), Reply::Array(matches.collect())),
        (Reply::bulk(&b"len"[..]), Reply::count(table.length)),
    ]))
}

/// What walking back from the ends of both values needs to know, and the length found.
struct Table {
    length: u32,
    /// For the first `i` bytes of `a` and the first `j` of `b`, at bit `i * columns + j`: whether leaving out the last
    /// byte of `a` keeps more in common than leaving out that of `b`.
    shorten_a: Vec<u64>,
    columns: usize,
}

impl Table {
    /// Row by row, of which two are kept. The lengths are bounded by the caller, so every cell fits 32 bits.
    fn fill(a: &[u8], b: &[u8], for_walk: bool) -> Table {
        let columns = b.len() + 1;
        let bits = if for_walk { (a.len() + 1) * columns } else { 0 };
        let mut shorten_a = vec![0u64; bits.div_ceil(64)];
        let mut above = vec![0u32; columns];
        let mut row = vec![0u32; columns];
        for (i, byte) in a.iter().enumerate() {
            for (j, other) in b.iter().enumerate() {
                row[j + 1] = if byte == other { above[j] + 1 } else { above[j + 1].max(row[j]) };
                if for_walk && above[j + 1] > row[j] {
                    let bit = (i + 1) * columns + j + 1;
                    shorten_a[bit / 64] |= 1 << (bit % 64);
                }
            }
            std::mem::swap(&mut above, &mut row);
        }
        Table { length: above[b.len()], shorten_a, columns }
    }

    /// The positions, in `a` and in `b`, of the bytes in common, from the last to the first.
    fn pairs(&self, a: &[u8], b: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        let (mut i, mut j) = (a.len(), b.len());
        std::iter::from_fn(move || {
            while i > 0 && j > 0 {
                let bit = i * self.columns + j;
                if a[i - 1] == b[j - 1] {
                    (i, j) = (i - 1, j - 1);
                    return Some((i, j));
                } else if self.shorten_a[bit / 64] >> (bit % 64) & 1 == 1 {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
            None
        })
    }
}

/// Bytes in common that follow each other in both values.
struct Run {
    last_in_a: usize,
    last_in_b: usize,
    length: usize,
}

/// `pairs`, which come last first, put together where they touch.
fn runs(pairs: impl Iterator<Item = (usize, usize)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (a, b) in pairs {
        match runs.last_mut() {
            Some(run) if run.last_in_a == a + run.length && run.last_in_b == b + run.length => run.length += 1,
            _ => runs.push(Run { last_in_a: a, last_in_b: b, length: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use crate::shell::Shell;

    #[test]
    fn lcs_shows_bytes_length_or_positions() {
        let shell = Shell::new();
        shell.converse(
            r#"
            LCS a b                  -> ""
            LCS a b LEN              -> 0
            SET a ohmytext           -> OK
            LCS a b                  -> ""
            SET b mynewtext          -> OK
            LCS a b                  -> "mytext"
            LCS a a                  -> "ohmytext"
            LCS a b len              -> 6
            LCS a b MINMATCHLEN 99   -> "mytext"
            LCS a b LEN WITHMATCHLEN -> 6
            "#,
        );
        for (options, shown) in [
            (
                "IDX",
                "[Array([Array([Integer(4), Integer(7)]), Array([Integer(5), Integer(8)])]), \
                Array([Array([Integer(2), Integer(3)]), Array([Integer(0), Integer(1)])])]",
            ),
            (
                "IDX MINMATCHLEN 4 WITHMATCHLEN",
                "[Array([Array([Integer(4), Integer(7)]), \
                Array([Integer(5), Integer(8)]), Integer(4)])]",
            ),
            ("IDX MINMATCHLEN -3 MINMATCHLEN 5", "[]"),
        ] {
            let shown = format!("Map([(Bulk(b\"matches\"), Array({shown})), (Bulk(b\"len\"), Integer(6))])");
            assert_eq!(shell.run(&format!("LCS a b {options}")), shown);
        }
        shell.refuses(&[
            ("LCS a", "ERR wrong number of arguments for 'lcs' command"),
            ("LCS a b x", "ERR syntax error"),
            ("LCS a b MINMATCHLEN", "ERR syntax error"),
            ("LCS a b MINMATCHLEN x", "ERR value is not an integer or out of range"),
            ("LCS a b LEN IDX", "ERR If you want both the length and indexes, please just use IDX."),
        ]);
    }

    #[test]
    fn lcs_of_what_is_too_long_is_refused() {
        let shell = Shell::new();
        shell.run("SETRANGE a 20000 x");
        shell.converse(
            r#"
            LCS a a LEN -> ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len
            LCS a b LEN -> 0
            "#,
        );
    }
}
