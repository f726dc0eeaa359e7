//! Glob patterns, as KEYS, SCAN and COMMAND LIST match them.
//!
//! Invariant: the answer is that of a matcher that tries every way there is.

use std::collections::HashMap;

use kvproto::Reply;

use super::served::{exchange, go_on};

/// One element of a pattern: any run of bytes, or one byte out of a set.
enum Element {
    Star,
    OneOf(Box<[bool; 256]>),
}

fn fold(byte: u8, nocase: bool) -> u8 {
    if nocase { byte.to_ascii_lowercase() } else { byte }
}

/// The pattern as a list of sets.
fn elements(pattern: &[u8], nocase: bool) -> Vec<Element> {
    let (mut at, mut elements) = (0, Vec::new());
    let of = |holds: &dyn Fn(u8) -> bool| {
        let mut set = Box::new([false; 256]);
        (0..=255_u8).for_each(|byte| set[usize::from(byte)] = holds(byte));
        Element::OneOf(set)
    };
    while at < pattern.len() {
        let rest = &pattern[at..];
        at += 1;
        elements.push(match rest {
            [b'*', ..] => Element::Star,
            [b'?', ..] => of(&|_| true),
            [b'\\', escaped, ..] => {
                at += 1;
                of(&|byte| fold(byte, nocase) == fold(*escaped, nocase))
            }
            [b'[', ..] => {
                let negated = pattern.get(at) == Some(&b'^');
                at += usize::from(negated);
                let mut tests: Vec<Box<dyn Fn(u8) -> bool>> = Vec::new();
                while at < pattern.len() {
                    let rest = &pattern[at..];
                    at += 1;
                    match *rest {
                        [b'\\', escaped, ..] => {
                            at += 1;
                            tests.push(Box::new(move |byte| byte == escaped));
                        }
                        [b']', ..] => break,
                        [start, b'-', end, ..] => {
                            at += 2;
                            let (low, high) = ((start as i8).min(end as i8), (start as i8).max(end as i8));
                            let ends = (fold(low as u8, nocase) as i8, fold(high as u8, nocase) as i8);
                            tests.push(Box::new(move |byte| {
                                let byte = fold(byte, nocase) as i8;
                                ends.0 <= byte && byte <= ends.1
                            }));
                        }
                        [literal, ..] => {
                            tests.push(Box::new(move |byte| fold(byte, nocase) == fold(literal, nocase)));
                        }
                        [] => {}
                    }
                }
                of(&|byte| tests.iter().any(|holds| holds(byte)) != negated)
            }
            [literal, ..] => of(&|byte| fold(byte, nocase) == fold(*literal, nocase)),
            [] => break,
        });
    }
    elements
}

/// Every way, each once.
fn all_ways(
    elements: &[Element],
    text: &[u8],
    (element, at): (usize, usize),
    known: &mut HashMap<(usize, usize), bool>,
) -> bool {
    if let Some(known) = known.get(&(element, at)) {
        return *known;
    }
    let matches = match elements.get(element) {
        None => at == text.len(),
        Some(Element::Star) => {
            all_ways(elements, text, (element + 1, at), known)
                || (at < text.len() && all_ways(elements, text, (element, at + 1), known))
        }
        Some(Element::OneOf(set)) => {
            text.get(at).is_some_and(|byte| set[usize::from(*byte)])
                && all_ways(elements, text, (element + 1, at + 1), known)
        }
    };
    known.insert((element, at), matches);
    matches
}

/// Empty texts are matched by the empty pattern alone.
fn matches(elements: &[Element], text: &[u8]) -> bool {
    if text.is_empty() { elements.is_empty() } else { all_ways(elements, text, (0, 0), &mut HashMap::new()) }
}

fn names(reply: &Reply) -> Vec<Vec<u8>> {
    let Reply::Array(items) = reply else { panic!("no list: {reply:?}") };
    let mut names: Vec<_> = items
        .iter()
        .map(|item| match item {
            Reply::Bulk(name) => name.to_vec(),
            other => panic!("no name: {other:?}"),
        })
        .collect();
    names.sort();
    names
}

/// `[length of the pattern][pattern][text]`
pub fn globs(input: &[u8]) {
    let Some((len, input)) = input.split_first() else { return };
    let (pattern, text) = input.split_at(usize::from(*len).min(input.len()));
    let text = &text[..text.len().min(128)];
    let word = |word: &[u8]| word.to_vec();
    let expected: Vec<Vec<u8>> =
        if matches(&elements(pattern, false), text) || pattern == b"*" { vec![text.to_vec()] } else { Vec::new() };
    let replies = exchange(&[
        vec![word(b"SET"), word(text), word(b"")],
        vec![word(b"KEYS"), word(pattern)],
        vec![word(b"SCAN"), word(b"0"), word(b"COUNT"), word(b"100000"), word(b"MATCH"), word(pattern)],
    ]);
    assert_eq!(names(&replies[1]), expected, "KEYS {} of {}", pattern.escape_ascii(), text.escape_ascii());
    let Reply::Array(scanned) = &replies[2] else { panic!("{:?}", replies[2]) };
    assert_eq!(names(&scanned[1]), expected, "SCAN {} of {}", pattern.escape_ascii(), text.escape_ascii());

    let list = |more: &[&[u8]]| {
        let request = [&[b"COMMAND", &b"LIST"[..]], more].concat();
        names(&go_on(&[request.into_iter().map(<[u8]>::to_vec).collect()])[0])
    };
    let elements = elements(pattern, true);
    let expected: Vec<_> = list(&[]).into_iter().filter(|name| matches(&elements, name)).collect();
    assert_eq!(list(&[b"FILTERBY", b"PATTERN", pattern]), expected, "{}", pattern.escape_ascii());
}
