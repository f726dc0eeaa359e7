//! INCRBYFLOAT of everyday numbers to redis-server and to kvserver: the same sums, most of which 64-bit floats do not give.
//!
//! Invariant: this is why kvserver has `long_double`. When every sum here is one of an f64, that code has no reason.
//!
//! It needs `redis-server` of Redis 7.0 on x86-64 and says so, and passes, where there is none; `KV_REFERENCE` names another
//! program, such as a valkey-server.

#![forbid(unsafe_code)]

use fastrand::Rng;
use kvtests::process::Launch;
use kvtests::reference::Reference;
use kvtests::server_program;
use kvtests::wire::{Wire, bulk, push_request, show};

const PAIRS: usize = 10_000;

/// A decimal of 1 to 17 digits, such as a price.
fn decimal(dice: &mut Rng) -> String {
    let (digits, places) = (dice.u32(1..=17), dice.usize(0..=4));
    let number = dice.u64(..10_u64.pow(digits));
    let (sign, ten) = (if dice.u8(..5) == 0 { "-" } else { "" }, 10_u64.pow(places as u32));
    format!("{sign}{}.{:0places$}", number / ten, number % ten).trim_end_matches('.').to_owned()
}

fn sums(wire: &mut Wire, pairs: &[(String, String)]) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for (old, increment) in pairs {
        push_request(&["SET", "k", old], &mut requests);
        push_request(&["INCRBYFLOAT", "k", increment], &mut requests);
    }
    let mut writer = wire.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writer, &requests).expect("all requests are sent"));
        pairs.iter().map(|_| [wire.reply(), wire.reply()][1].clone()).collect()
    })
}

/// The sum as an f64, with 17 digits behind the point as Redis writes them, and with the fewest that tell it apart.
fn sums_of_f64(old: &str, increment: &str) -> [String; 2] {
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let sum = number(old) + number(increment);
    [format!("{sum:.17}").trim_end_matches('0').trim_end_matches('.').to_owned(), sum.to_string()]
}

#[test]
fn sums_are_those_of_redis_and_seldom_those_of_an_f64() {
    if cfg!(not(target_arch = "x86_64")) {
        return println!("skipped: Redis counts in another format here");
    }
    let Some(redis) = Reference::start(&[]) else {
        return println!("skipped: no redis-server of version 7.0 in PATH");
    };
    let kv = Launch::bare(server_program!()).arguments(["--memory-only"]).resp().start();
    let mut dice = Rng::with_seed(7);
    let known =
        [("0.1", "0.2"), ("10.5", "0.1"), ("5.0e3", "200"), ("3.0e2", "1.1"), ("424.45", "197.72"), ("84.1", "97.7")];
    let known = known.map(|(old, increment)| (old.to_owned(), increment.to_owned()));
    let random = (0..PAIRS).map(|_| (decimal(&mut dice), decimal(&mut dice)));
    let pairs: Vec<_> = known.into_iter().chain(random).collect();
    let [by_redis, by_kv] = [redis.address(), kv.address(0)].map(|address| sums(&mut Wire::connect(address), &pairs));
    let mut same_as_f64 = [0; 2];
    for ((old, increment), (redis, kv)) in pairs.iter().zip(by_redis.iter().zip(&by_kv)) {
        assert!(redis == kv, "{old} + {increment}: {} of Redis, {} of kv", show(redis), show(kv));
        for (same, sum) in same_as_f64.iter_mut().zip(sums_of_f64(old, increment)) {
            *same += usize::from(bulk(sum) == *redis);
        }
    }
    println!("of {} sums an f64 gives {same_as_f64:?}", pairs.len());
    assert!(same_as_f64.iter().all(|same| *same < pairs.len() / 2), "{same_as_f64:?} of {} sums", pairs.len());
}
