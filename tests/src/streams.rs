//! Random command streams: well-formed commands by grammar, and spoiled ones.
//!
//! Invariant: the same seed gives the same stream on every machine; and no command of a stream makes a server reserve
//! much memory or depends on the moment it is executed in, beyond what a reply tells of the clock.

use fastrand::Rng;

/// A source of numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(Rng);

impl Dice {
    /// A source that starts at `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(Rng::with_seed(seed))
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<'c, T: ?Sized>(&mut self, choices: &[&'c T]) -> &'c T {
        choices[self.0.usize(..choices.len())]
    }
}

/// The words of one command.
pub type Words = Vec<Vec<u8>>;

/// What commands are made of. Words are separated by blanks; `a|b|` is one of its parts, of which one may be empty; a
/// `:` within a part separates words; `+` behind a word repeats it; `$x` is a random word (see [`word`]). A command
/// that stands here several times comes that often. What makes a sketch dense has a key of its own, which nobody
/// watches: Redis changes the value without a word to those who watch it, and kv tells them.
const GRAMMAR: &[&str] = &[
    "get $k",
    "get $k",
    "set $k $v",
    "set $k $v",
    "set $k $i",
    "set $k $v nx|xx|get| ex:$s|px:$m|exat:$S|pxat:$M|keepttl| get|nx|xx|",
    "set $k $v ex:$s|px:$m|exat:$S|pxat:$M|keepttl ex:$s|keepttl|persist|",
    "setnx $k $v",
    "setex $k $s $v",
    "psetex $k $m $v",
    "getset $k $v",
    "getdel $k",
    "getex $k ex:$s|px:$m|exat:$S|pxat:$M|exat:1000|persist|",
    "mget $k+",
    "mset $k:$v+",
    "msetnx $k:$v+",
    "append $k $v",
    "strlen $k",
    "incr $k",
    "decr $k",
    "incrby $k $i",
    "decrby $k $i",
    "incrbyfloat $k $f",
    "setrange $k $o $v",
    "getrange $k $r $r",
    "substr $k $r $r",
    "lcs $k $k len|idx|idx:withmatchlen|minmatchlen:$r|",
    "setbit $k $b $z",
    "getbit $k $b",
    "bitcount $k",
    "bitcount $k $r $r bit|byte|",
    "bitpos $k $z",
    "bitpos $k $z $r",
    "bitpos $k $z $r $r bit|byte|",
    "bitop and|or|xor|not $k $k+",
    "bitop not $k $k",
    "bitfield $k get:$t:$p|set:$t:$p:$i|incrby:$t:$p:$i|overflow:wrap|overflow:sat|overflow:fail+",
    "bitfield_ro $k get:$t:$p+",
    "pfadd $k $v+",
    "pfcount $k+",
    "pfmerge $k $k+",
    "del $k+",
    "unlink $k+",
    "exists $k+",
    "touch $k+",
    "type $k",
    "keys *|k*|k[0-3]|?7|nothing",
    "dbsize",
    "rename $k $k",
    "renamenx $k $k",
    "copy $k $k db:$d| replace|",
    "move $k $d",
    "swapdb $d $d",
    "object encoding|refcount|idletime|freq $k",
    "dump $k",
    "pfdebug encoding|decode $k",
    "pfadd sketch $v+",
    "pfdebug encoding|decode|todense sketch",
    "restore $k 0 $v replace|",
    "expire $k $s nx|xx|gt|lt|",
    "pexpire $k $m nx|xx|gt|lt|",
    "expireat $k $S|1000 nx|xx|gt|lt|",
    "pexpireat $k $M|1000 nx|xx|gt|lt|",
    "ttl $k",
    "pttl $k",
    "expiretime $k",
    "pexpiretime $k",
    "persist $k",
    "select $d",
    "select $d",
    "echo $v",
    "ping $v|",
    "multi",
    "multi",
    "exec",
    "exec",
    "exec",
    "discard",
    "watch $k+",
    "unwatch",
    "publish $k $v",
    "spublish $k $v",
    "pubsub numsub|shardnumsub $k",
    "pubsub channels|numpat|shardchannels",
    "flushdb async|sync|",
    "client getname|setname:$k",
    "client no-evict on|off",
    "wait 0 0",
    "config get timeout|slowlog-max-len|nothing",
    "debug digest-value $k+",
    "nosuchcommand $v $v",
    "object nosuch $k",
];

/// Rare, because it leaves little to look at.
const RARE: &[&str] = &["flushall async|sync|", "reset", "pfdebug getreg sketch", "debug digest"];

/// Words that fit nowhere, or just so.
const ODD: &[&[u8]] = &[
    b"",
    b"0",
    b"-1",
    b"+1",
    b"01",
    b" 1",
    b"1 ",
    b"1.5",
    b"nan",
    b"inf",
    b"1e3",
    b"0x10",
    b"abc",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"99999999999999999999999999",
    b"18446744073709551615",
    b"4294967296",
    b"\xff\x00\r\n",
    b"nx",
    b"get",
    b"ex",
    b"replace",
];

/// The next command of a stream.
pub fn command(dice: &mut Dice) -> Words {
    let template = if dice.once_in(300) { dice.pick(RARE) } else { dice.pick(GRAMMAR) };
    let mut words = Words::new();
    for token in template.split(' ') {
        let (token, times) = match token.strip_suffix('+') {
            Some(token) => (token, 1 + dice.below(4)),
            None => (token, 1),
        };
        for _ in 0..times {
            let parts: Vec<&str> = token.split('|').collect();
            let part = dice.pick(&parts);
            words.extend(part.split(':').filter(|part| !part.is_empty()).map(|part| word(part, dice)));
        }
    }
    if dice.once_in(6) {
        spoil(&mut words, dice);
    }
    if dice.once_in(4) {
        words[0].make_ascii_uppercase();
    }
    words
}

/// Makes a command wrong, or another one.
fn spoil(words: &mut Words, dice: &mut Dice) {
    let at = 1 + dice.below(words.len() as u64) as usize;
    match dice.below(4) {
        0 if words.len() > 1 => words.truncate(at),
        1 => words.insert(at.min(words.len()), dice.pick(ODD).to_vec()),
        2 if words.len() > 1 => drop(words.remove(at.min(words.len() - 1))),
        _ if words.len() > 1 => {
            let at = at.min(words.len() - 1);
            words[at] = dice.pick(ODD).to_vec();
        }
        _ => {}
    }
}

/// A word: itself, or what a `$` stands for.
fn word(part: &str, dice: &mut Dice) -> Vec<u8> {
    let number = |low: i64, count: u64, dice: &mut Dice| (low + dice.below(count) as i64).to_string();
    let text = match part {
        "$k" => format!("k{}", dice.below(14)),
        "$v" => return value(dice),
        // A number to calculate with.
        "$i" => match dice.below(4) {
            0 => number(-3, 7, dice),
            1 => number(-100_000, 200_000, dice),
            2 => dice.0.i64(..).to_string(),
            _ => dice.pick(&["9223372036854775807", "-9223372036854775808", "0", "1", "-1", "255", "65536"]).to_owned(),
        },
        "$f" => match dice.below(3) {
            0 => number(-10, 20, dice),
            1 => format!("{}.{}", number(-50, 100, dice), dice.below(1000)),
            _ => dice.pick(&["0.1", "1e2", "-1.5e-3", "3.0", "1e18", "0.0001", "nan", "inf"]).to_owned(),
        },
        // Where a range begins or ends, and where to write.
        "$r" => number(-25, 60, dice),
        "$o" => match dice.below(6) {
            0 => dice.pick(&["-1", "536870912", "9223372036854775807"]).to_owned(),
            _ => dice.below(300).to_string(),
        },
        "$b" => match dice.below(6) {
            0 => dice.pick(&["-1", "4294967296", "#1"]).to_owned(),
            _ => dice.below(2000).to_string(),
        },
        "$p" => match dice.below(6) {
            0 => dice.pick(&["-1", "4294967296", "#-1", "#a"]).to_owned(),
            1 | 2 => format!("#{}", dice.below(20)),
            _ => dice.below(300).to_string(),
        },
        "$z" => match dice.below(8) {
            0 => dice.pick(&["2", "-1", "a"]).to_owned(),
            _ => dice.below(2).to_string(),
        },
        "$t" => match dice.below(8) {
            0 => dice.pick(&["u64", "i65", "u0", "i0", "x8", "u", "i-1"]).to_owned(),
            _ => format!("{}{}", dice.pick(&["u", "i"]), 1 + dice.below(63)),
        },
        // Never so near that it passes while a test runs, and hardly ever twice the same.
        "$s" => match dice.below(5) {
            0 => dice
                .pick(&["0", "-1", "-100", "9223372036854775807", "9223372036854776", "-9223372036854775808"])
                .to_owned(),
            _ => number(10_000, 100_000_000, dice),
        },
        "$m" => match dice.below(5) {
            0 => dice.pick(&["0", "-1", "-100", "9223372036854775807", "-9223372036854775808"]).to_owned(),
            _ => number(10_000_000, 100_000_000_000, dice),
        },
        "$S" => match dice.below(5) {
            0 => dice.pick(&["0", "-1", "9223372036854775807", "9223372036854776"]).to_owned(),
            _ => number(3_000_000_000, 100_000_000, dice),
        },
        "$M" => match dice.below(5) {
            0 => dice.pick(&["0", "-1", "9223372036854775807"]).to_owned(),
            _ => number(3_000_000_000_000, 100_000_000_000, dice),
        },
        "$d" => match dice.below(8) {
            0 => dice.pick(&["16", "-1", "a", "99999999999"]).to_owned(),
            1 => dice.below(16).to_string(),
            _ => dice.below(3).to_string(),
        },
        itself => itself.to_owned(),
    };
    text.into_bytes()
}

/// A value: a number, something like one, a few letters (so that two have parts in common), or any bytes.
fn value(dice: &mut Dice) -> Vec<u8> {
    match dice.below(6) {
        0 => word("$i", dice),
        1 => word("$f", dice),
        2 => dice.pick(ODD).to_vec(),
        3 => (0..dice.below(60)).map(|_| b'a' + dice.below(4) as u8).collect(),
        4 => (0..dice.below(60)).map(|_| dice.below(256) as u8).collect(),
        _ => vec![b'v'; dice.below(200) as usize],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream() {
        let stream = |seed| {
            let mut dice = Dice::new(seed);
            (0..1000).map(|_| command(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
        assert!(stream(3).iter().all(|words| !words.is_empty() && !words[0].is_empty()));
    }
}
