//! Compares words with the arguments of a command: what may come next, what each word is, and where the words stop to fit.
//!
//! Invariant: options may stand in any order, as servers accept them. What takes too long to compare is not judged.

use super::{Arg, Kind};
use kvproto::number::{parse_float, parse_integer};

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A keyword.
    Option,
    /// A key.
    Key,
    /// A number.
    Number,
    /// Anything else.
    Value,
}

/// What may come after the words.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'g> {
    /// The argument.
    pub arg: &'g Arg,
    /// Its keyword, not what follows it.
    pub is_token: bool,
    /// It belongs to what was begun, and must come now.
    pub is_due: bool,
}

/// Why a word does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is not one of the keywords.
    NotOption,
    /// It is none, and nothing else fits.
    NotInteger,
    /// It is no number.
    NotNumber,
    /// It is a keyword that another one excludes.
    Excluded(String),
    /// Nothing may come there.
    TooMany,
}

/// How words compare with arguments.
#[derive(Clone, Debug, Default)]
pub struct Match<'g> {
    /// The first word that does not fit, and why.
    pub misfit: Option<(usize, Misfit)>,
    /// What may come next, if all of them fit.
    pub expected: Vec<Expected<'g>>,
    /// What the words that fit are.
    pub roles: Vec<Role>,
    /// Which arguments were given, by their position.
    pub given: Vec<bool>,
}

/// More words than this are not compared, nor is what needs more steps, or calls that are nested deeper: those take stack.
const WORDS_MAX: usize = 128;
const STEPS_MAX: usize = 50_000;
const DEPTH_MAX: usize = 600;

/// Compares `words` with `args`; `None` if that takes too long.
pub fn compare<'g>(args: &'g [Arg], words: &[&[u8]]) -> Option<Match<'g>> {
    if words.len() > WORDS_MAX {
        return None;
    }
    let mut matcher = Matcher { words, ..Matcher::default() };
    let length = words.len();
    matcher.sequence(args, 0, Place { is_top: true, ..Place::default() }, &mut |matcher, at| {
        if at == length {
            matcher.reach(at);
        } else {
            matcher.fail(at, Misfit::TooMany);
        }
    });
    if matcher.steps > STEPS_MAX {
        return None;
    }
    let is_reached = matcher.reached == length;
    let misfit = if is_reached { None } else { Some((matcher.reached, matcher.why())) };
    let mut given = vec![false; args.len()];
    for (_, top) in &matcher.best {
        if let Some(given) = given.get_mut(*top) {
            *given = true;
        }
    }
    Some(Match {
        misfit,
        expected: if is_reached { matcher.expected } else { Vec::new() },
        roles: matcher.best.iter().map(|(role, _)| *role).collect(),
        given,
    })
}

/// What goes on after a part has matched up to a word.
type Then<'t, 'g, 'w> = &'t mut dyn FnMut(&mut Matcher<'g, 'w>, usize);

/// Where in the command's arguments a part stands.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Which argument of the command it belongs to.
    top: usize,
    /// It is one of the command's own arguments.
    is_top: bool,
    is_due: bool,
}

#[derive(Default)]
struct Matcher<'g, 'w> {
    words: &'w [&'w [u8]],
    /// What the words matched so far are, and which argument of the command they belong to.
    path: Vec<(Role, usize)>,
    /// The longest path.
    best: Vec<(Role, usize)>,
    /// How many words that is.
    reached: usize,
    /// What did not fit behind it.
    misfits: Vec<Misfit>,
    expected: Vec<Expected<'g>>,
    steps: usize,
    depth: usize,
}

impl<'g, 'w> Matcher<'g, 'w> {
    /// Notes that the words before `at` fit.
    fn reach(&mut self, at: usize) {
        if at > self.reached {
            self.reached = at;
            self.best.clone_from(&self.path);
            self.misfits.clear();
            self.expected.clear();
        }
    }

    fn fail(&mut self, at: usize, misfit: Misfit) {
        self.reach(at);
        if at == self.reached {
            self.misfits.push(misfit);
        }
    }

    /// Goes a step deeper, unless that takes too long.
    fn deeper(&mut self, step: impl FnOnce(&mut Self)) {
        self.steps += 1;
        if self.depth >= DEPTH_MAX {
            self.steps = STEPS_MAX + 1;
        }
        if self.steps > STEPS_MAX {
            return;
        }
        self.depth += 1;
        step(self);
        self.depth -= 1;
    }

    /// The reason that says most.
    fn why(&self) -> Misfit {
        let excluded = self.misfits.iter().find(|misfit| matches!(misfit, Misfit::Excluded(_)));
        if let Some(excluded) = excluded {
            return excluded.clone();
        }
        [Misfit::NotInteger, Misfit::NotNumber, Misfit::NotOption]
            .into_iter()
            .find(|misfit| self.misfits.contains(misfit))
            .unwrap_or(Misfit::TooMany)
    }

    /// Matches one word as `arg`'s keyword or value.
    fn word(&mut self, arg: &'g Arg, is_token: bool, at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return;
        }
        let Some(word) = self.words.get(at) else {
            self.reach(at);
            let is_known = |it: &Expected<'_>| std::ptr::eq(it.arg, arg) && it.is_token == is_token;
            if !self.expected.iter().any(is_known) {
                self.expected.push(Expected { arg, is_token, is_due: place.is_due });
            }
            return;
        };
        let role = match &arg.kind {
            _ if is_token => {
                if !arg.token.as_ref().is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(word)) {
                    return self.fail(at, Misfit::NotOption);
                }
                Role::Option
            }
            Kind::Integer if parse_integer(word).is_none() => return self.fail(at, Misfit::NotInteger),
            Kind::Cursor if !is_cursor(word) => return self.fail(at, Misfit::NotInteger),
            Kind::Double if !is_number(word) => return self.fail(at, Misfit::NotNumber),
            Kind::Integer | Kind::Cursor | Kind::Double => Role::Number,
            Kind::Key => Role::Key,
            _ => Role::Value,
        };
        self.path.push((role, place.top));
        then(self, at + 1);
        self.path.pop();
    }

    /// Matches an argument, once or more often. `then` goes on where it ends.
    fn arg(&mut self, arg: &'g Arg, at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        self.once(arg, true, at, place, &mut |matcher, end| {
            then(matcher, end);
            if arg.multiple && end > at {
                matcher.repeated(arg, end, place, then);
            }
        });
    }

    fn repeated(&mut self, arg: &'g Arg, at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        let again = Place { is_due: false, ..place };
        self.once(arg, arg.multiple_token, at, again, &mut |matcher, end| {
            then(matcher, end);
            if end > at {
                matcher.repeated(arg, end, place, then);
            }
        });
    }

    fn once(&mut self, arg: &'g Arg, with_token: bool, at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        if matches!(arg.kind, Kind::Token) {
            return self.word(arg, true, at, place, then);
        }
        if arg.token.is_none() || !with_token {
            return self.value(arg, at, place, then);
        }
        let due = Place { is_due: true, ..place };
        self.word(arg, true, at, place, &mut |matcher, at| matcher.value(arg, at, due, then));
    }

    fn value(&mut self, arg: &'g Arg, at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        let place = Place { is_top: false, ..place };
        match &arg.kind {
            Kind::OneOf(members) => {
                for member in members {
                    self.arg(member, at, place, then);
                }
            }
            Kind::Block(members) => self.sequence(members, at, place, then),
            _ => self.word(arg, false, at, place, then),
        }
    }

    /// Matches arguments in order; those that may be left out and follow each other, in any order.
    fn sequence(&mut self, args: &'g [Arg], at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        self.deeper(|matcher| matcher.next(args, at, place, then));
    }

    fn next(&mut self, args: &'g [Arg], at: usize, place: Place, then: Then<'_, 'g, 'w>) {
        let moved = |by: usize| if place.is_top { Place { top: place.top + by, ..place } } else { place };
        let count = args.iter().take_while(|arg| arg.optional).count();
        let (options, rest) = args.split_at(count);
        if !options.is_empty() {
            let mut chosen = vec![None; count];
            return self.options(options, &mut chosen, at, Place { is_due: false, ..place }, &mut |matcher, end| {
                let due = place.is_due || (!place.is_top && end > at);
                matcher.sequence(rest, end, Place { is_due: due, ..moved(count) }, then);
            });
        }
        let Some((first, rest)) = args.split_first() else {
            return then(self, at);
        };
        self.arg(first, at, place, &mut |matcher, end| {
            let due = place.is_due || (!place.is_top && end > at);
            matcher.sequence(rest, end, Place { is_due: due, ..moved(1) }, then);
        });
    }

    /// Matches options in any order. `chosen` says which member of each was given.
    fn options(
        &mut self,
        options: &'g [Arg],
        chosen: &mut [Option<usize>],
        at: usize,
        place: Place,
        then: Then<'_, 'g, 'w>,
    ) {
        for (index, option) in options.iter().enumerate() {
            let members = match &option.kind {
                Kind::OneOf(members) if option.token.is_none() && !option.multiple => members.as_slice(),
                _ => std::slice::from_ref(option),
            };
            let before = chosen.get(index).copied().flatten();
            let of = if place.is_top { Place { top: place.top + index, ..place } } else { place };
            for (number, member) in members.iter().enumerate() {
                if let Some(before) = before {
                    // Servers differ in whether they take the same option twice; another one of its group, none takes.
                    let Some(word) = self.words.get(at) else { continue };
                    if !first_token(member).is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(word)) {
                        continue;
                    }
                    if before != number {
                        let other = members.get(before).and_then(first_token).unwrap_or_default();
                        self.fail(at, Misfit::Excluded(other.to_ascii_uppercase()));
                        continue;
                    }
                }
                let mut within = chosen.to_vec();
                if let Some(choice) = within.get_mut(index) {
                    *choice = Some(number);
                }
                self.arg(member, at, of, &mut |matcher, end| {
                    if end > at {
                        matcher.deeper(|matcher| matcher.options(options, &mut within, end, place, then));
                    }
                });
            }
        }
        then(self, at);
    }
}

/// The keyword that an argument begins with.
fn first_token(arg: &Arg) -> Option<&str> {
    match (&arg.token, &arg.kind) {
        (Some(token), _) => Some(token),
        (None, Kind::Block(members)) => members.first().and_then(first_token),
        _ => None,
    }
}

fn is_cursor(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"-").or_else(|| word.strip_prefix(b"+")).unwrap_or(word);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Whether a word may be a number to a server: Redis reads hexadecimal ones, too.
fn is_number(word: &[u8]) -> bool {
    let unsigned = word.strip_prefix(b"-").or_else(|| word.strip_prefix(b"+")).unwrap_or(word);
    parse_float(word).is_some()
        || unsigned.get(..2).is_some_and(|head| head.eq_ignore_ascii_case(b"0x"))
        // Too large for some, and infinite for others.
        || (!unsigned.is_empty() && unsigned.iter().all(|byte| byte.is_ascii_digit()))
}

/// Whether `word` may still become a number.
pub fn begins_number(word: &[u8]) -> bool {
    let unsigned = word.strip_prefix(b"-").or_else(|| word.strip_prefix(b"+")).unwrap_or(word);
    unsigned.is_empty()
        || [&b"infinity"[..], b"nan"]
            .iter()
            .any(|name| name.get(..unsigned.len()).is_some_and(|it| it.eq_ignore_ascii_case(unsigned)))
        || unsigned.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'))
}
