//! Glob patterns as Redis matches them: KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET.
//!
//! `*` any run of bytes, `?` any one byte, `[abc]` `[a-z]` `[^a-z]` one byte of a class, `\x` the byte x itself.
//! Bytes, not characters. A pattern is never rejected; the odd ones mean what they mean in Redis:
//! an unclosed class ends with the pattern, `[]` matches nothing, `[^]` anything, a lone `\` at the end is itself,
//! and the empty text is matched by the empty pattern alone.
//!
//! Invariant: memory is constant and time is linear in the lengths of pattern and text, whatever they are. Every step but
//! `*` takes exactly one byte, so only the last `*` seen can need another try: giving an earlier one more bytes would only
//! move the later one to the right, where it has been tried already. What one try after the other looks at again is
//! bounded by `RETRIED_MAX`.

/// Bytes of the pattern looked at in vain: so many, and so many more for each byte of the text; beyond them the text counts
/// as not matched. Where the product of the lengths is no more than the first, or the pattern has no more bytes than the
/// second, it never comes to that; nor if most tries fail soon, as they do unless pattern and text are long repetitions
/// of the same. A key of a mebibyte against half as long a pattern would otherwise take minutes.
const RETRIED_MAX: usize = 64 * 1024;
const RETRIED_PER_BYTE_MAX: usize = 16;

/// Returns how many steps it takes at most to match a text with a pattern, by their lengths.
pub fn steps_max(pattern_bytes: usize, text_bytes: usize) -> usize {
    let retried_max = RETRIED_MAX + RETRIED_PER_BYTE_MAX.saturating_mul(text_bytes);
    text_bytes + pattern_bytes + pattern_bytes.saturating_mul(text_bytes).min(retried_max)
}

/// Whether `pattern` matches the whole of `text`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, exactly)
}

/// Like [`matches()`], with ASCII letters equal in either case.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, |byte| byte.to_ascii_lowercase())
}

fn exactly(byte: u8) -> u8 {
    byte
}

/// Where to go on after a mismatch: behind the last `*`, which takes one byte more than before.
struct Retry {
    pattern_at: usize,
    text_at: usize,
}

fn run(pattern: &[u8], text: &[u8], fold: fn(u8) -> u8) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    let mut retry: Option<Retry> = None;
    let mut left = RETRIED_MAX + RETRIED_PER_BYTE_MAX * text.len();
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            if pattern_at == pattern.len() {
                return true;
            }
            retry = Some(Retry { pattern_at, text_at });
            continue;
        }
        let step = pattern.get(pattern_at..).map_or(Err(0), |rest| one_byte(rest, text[text_at], fold));
        match (step, &mut retry) {
            (Ok(taken), _) => {
                pattern_at += taken;
                text_at += 1;
            }
            (Err(looked_at), Some(retry)) => {
                left = left.saturating_sub(pattern_at - retry.pattern_at + looked_at);
                if left == 0 {
                    return false;
                }
                retry.text_at += 1;
                pattern_at = retry.pattern_at;
                text_at = retry.text_at;
            }
            (Err(_), None) => return false,
        }
    }
    pattern[pattern_at..].iter().all(|&byte| byte == b'*')
}

/// Holds `byte` against the first element of `pattern`, which is not a `*`. Answers the element's length, as an error if
/// it does not match.
fn one_byte(pattern: &[u8], byte: u8, fold: fn(u8) -> u8) -> Result<usize, usize> {
    let (literal, length) = match *pattern {
        [] => return Err(0),
        [b'?', ..] => return Ok(1),
        [b'[', ref class @ ..] => {
            let (matched, length) = class_holds(class, byte, fold);
            return if matched { Ok(1 + length) } else { Err(1 + length) };
        }
        [b'\\', escaped, ..] => (escaped, 2),
        [literal, ..] => (literal, 1),
    };
    if fold(literal) == fold(byte) { Ok(length) } else { Err(length) }
}

/// Whether the class that starts behind a `[` holds `byte`, and how long the class is with its `]`, if it has one.
fn class_holds(class: &[u8], byte: u8, fold: fn(u8) -> u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        let taken = match class[at..] {
            [] => break,
            // Redis folds no case here.
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                2
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            // Whatever stands behind the dash is the end of a range, a `]` too.
            [start, b'-', end, ..] => {
                found |= range_holds(start, end, byte, fold);
                3
            }
            [literal, ..] => {
                found |= fold(literal) == fold(byte);
                1
            }
        };
        at += taken;
    }
    (found != negated, at)
}

/// A range holds both its ends, given in either order. Bytes from 0x80 up come before ASCII: Redis compares `char`s,
/// which have a sign on the machines most people run it on, and a range across that border means the same here.
fn range_holds(start: u8, end: u8, byte: u8, fold: fn(u8) -> u8) -> bool {
    let signed = |byte: u8| byte.cast_signed();
    // The order is settled before the case is folded, so `[Z-a]` is empty where case is ignored: as in Redis.
    let (low, high) = if signed(start) <= signed(end) { (start, end) } else { (end, start) };
    (signed(fold(low))..=signed(fold(high))).contains(&signed(fold(byte)))
}

#[cfg(test)]
mod tests;
