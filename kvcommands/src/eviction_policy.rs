//! Redis' words for eviction, the values of `maxmemory-policy`, and what they mean to a store.
//!
//! Invariant: each word means a policy of its own.

use kvcore::{Candidates, Limits, Policy};

/// Names of `maxmemory-policy`.
pub const POLICIES: [&str; 11] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
    "allkeys-s3fifo",
    "volatile-lrm",
    "allkeys-lrm",
];

/// The place of `noeviction`.
pub const NO_EVICTION: usize = 7;
/// Returns the place in [`POLICIES`] of what a store goes by already.
#[must_use]
pub fn policy_of(limits: &Limits) -> usize {
    let volatile = limits.candidates == Candidates::WithDeadline;
    let name = match limits.policy {
        Policy::Lru if volatile => "volatile-lru",
        Policy::Lru => "allkeys-lru",
        Policy::Lrm if volatile => "volatile-lrm",
        Policy::Lrm => "allkeys-lrm",
        Policy::Lfu if volatile => "volatile-lfu",
        Policy::Lfu => "allkeys-lfu",
        Policy::Random if volatile => "volatile-random",
        Policy::Random => "allkeys-random",
        Policy::NearestDeadline => "volatile-ttl",
        Policy::S3Fifo => "allkeys-s3fifo",
        _ => "noeviction",
    };
    POLICIES.iter().position(|policy| *policy == name).unwrap_or(NO_EVICTION)
}

/// Returns the policy that a word means, and which keys it concerns; of an unknown word that nothing is evicted.
#[must_use]
pub fn parse(policy: &str) -> (Policy, Candidates) {
    let (kind, by) = policy.split_once('-').unwrap_or_default();
    let candidates = if kind == "volatile" { Candidates::WithDeadline } else { Candidates::All };
    let policy = match by {
        "lru" => Policy::Lru,
        "lrm" => Policy::Lrm,
        "lfu" => Policy::Lfu,
        "random" => Policy::Random,
        "ttl" => Policy::NearestDeadline,
        "s3fifo" => Policy::S3Fifo,
        _ => Policy::None,
    };
    (policy, candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_means_a_policy_of_its_own() {
        for (place, name) in POLICIES.iter().enumerate() {
            let (policy, candidates) = parse(name);
            assert_eq!(policy_of(&Limits { policy, candidates, ..Limits::default() }), place, "{name}");
        }
        assert_eq!(POLICIES[NO_EVICTION], "noeviction");
    }
}
