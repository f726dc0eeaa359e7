//! How models are run. Invariant: every order of events comes from a seed, which is printed before the first.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Runs `model` in many orders of events: half of them drawn step by step, half with few changes of thread (Burckhardt et
/// al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010). How many, `KV_MODEL_RUNS` says; the
/// seed is `SHUTTLE_RANDOM_SEED`, or chosen.
///
/// Nothing in a run may wait for ever: the checker then tells of a deadlock.
pub fn explore(model: impl Fn() + Clone + Send + Sync + 'static) {
    explore_part(1, model);
}

/// Runs `model` in a third of the orders, for what shows its faults soon.
#[allow(dead_code, reason = "not all who share this file need it")]
pub fn explore_less(model: impl Fn() + Clone + Send + Sync + 'static) {
    explore_part(3, model);
}

fn explore_part(part: usize, model: impl Fn() + Clone + Send + Sync + 'static) {
    let number = |variable| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    let runs = (number("KV_MODEL_RUNS").unwrap_or(1000) as usize).div_ceil(part);
    let seed = number("SHUTTLE_RANDOM_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{runs} runs, SHUTTLE_RANDOM_SEED={seed}");
    let mut config = Config::new();
    config.stack_size = 512 * 1024;
    config.silence_warnings = true;
    let drawn = RandomScheduler::new_from_seed(seed, runs.div_ceil(2));
    Runner::new(drawn, config.clone()).run(model.clone());
    Runner::new(PctScheduler::new_from_seed(seed, 3, runs / 2), config).run(model);
}
