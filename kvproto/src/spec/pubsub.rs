//! Publish and subscribe.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, KeyFlag, KeySpec, Spec, Trait, indexed};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("psubscribe", -2, Group::PubSub, "2.0.0")
        .traits(&[Trait::WhileSubscribed, Trait::ChangesSubscriptions])
        .summary("Follows every channel whose name matches a pattern.")
        .complexity("O(N) in the patterns given")
        .flags(&[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale])
        .args(&[Arg::pattern("pattern").multiple()]),
    Spec::new("publish", 3, Group::PubSub, "2.0.0")
        .traits(&[Trait::Replicates])
        .summary("Sends a message to all who follow a channel.")
        .complexity("O(N+M): N subscribers of the channel, M patterns in use")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale, Flag::Fast])
        .args(&[Arg::string("channel"), Arg::string("message")]),
    Spec::new("pubsub", -2, Group::PubSub, "2.8.0")
        .summary("Groups the commands that look into publish/subscribe.")
        .subcommands(&PUBSUB_SUBCOMMANDS),
    Spec::new("punsubscribe", -1, Group::PubSub, "2.0.0")
        .traits(&[Trait::WhileSubscribed, Trait::ChangesSubscriptions])
        .summary("Stops following patterns; without any, all of them.")
        .complexity("O(N) in the patterns given")
        .flags(&[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale])
        .args(&[Arg::pattern("pattern").optional().multiple()]),
    Spec::new("spublish", 3, Group::PubSub, "7.0.0")
        .traits(&[Trait::Replicates])
        .summary("Sends a message to all who follow a shard channel.")
        .complexity("O(N) in the subscribers of the shard channel")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::NotKey])])
        .args(&[Arg::string("shardchannel"), Arg::string("message")]),
    Spec::new("ssubscribe", -2, Group::PubSub, "7.0.0")
        .traits(&[Trait::WhileSubscribed, Trait::ChangesSubscriptions])
        .summary("Follows shard channels: their messages are pushed to this connection.")
        .complexity("O(N) in the shard channels given")
        .flags(&[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::NotKey])])
        .args(&[Arg::string("shardchannel").multiple()]),
    Spec::new("subscribe", -2, Group::PubSub, "2.0.0")
        .traits(&[Trait::WhileSubscribed, Trait::ChangesSubscriptions])
        .summary("Follows channels: their messages are pushed to this connection.")
        .complexity("O(N) in the channels given")
        .flags(&[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale])
        .args(&[Arg::string("channel").multiple()]),
    Spec::new("sunsubscribe", -1, Group::PubSub, "7.0.0")
        .traits(&[Trait::WhileSubscribed, Trait::ChangesSubscriptions])
        .summary("Stops following shard channels; without any, all of them.")
        .complexity("O(N) in the shard channels given")
        .flags(&[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::NotKey])])
        .args(&[Arg::string("shardchannel").optional().multiple()]),
    Spec::new("unsubscribe", -1, Group::PubSub, "2.0.0")
        .traits(&[Trait::WhileSubscribed, Trait::ChangesSubscriptions])
        .summary("Stops following channels; without any, all of them.")
        .complexity("O(N) in the channels given")
        .flags(&[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Stale])
        .args(&[Arg::string("channel").optional().multiple()]),
];

const PUBSUB_SUBCOMMANDS: [Spec; 6] = indexed([
    Spec::new("pubsub|channels", -2, Group::PubSub, "2.8.0")
        .summary("Lists the channels somebody follows.")
        .complexity("O(N) in the channels in use")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale])
        .args(&[Arg::pattern("pattern").optional()]),
    Spec::new("pubsub|numpat", 2, Group::PubSub, "2.8.0")
        .summary("Counts the distinct patterns somebody follows.")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale]),
    Spec::new("pubsub|numsub", -2, Group::PubSub, "2.8.0")
        .summary("Counts the followers of each channel given.")
        .complexity("O(N) in the channels given")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale])
        .args(&[Arg::string("channel").optional().multiple()]),
    Spec::new("pubsub|shardchannels", -2, Group::PubSub, "7.0.0")
        .summary("Lists the shard channels somebody follows.")
        .complexity("O(N) in the shard channels in use")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale])
        .args(&[Arg::pattern("pattern").optional()]),
    Spec::new("pubsub|shardnumsub", -2, Group::PubSub, "7.0.0")
        .summary("Counts the followers of each shard channel given.")
        .complexity("O(N) in the shard channels given")
        .flags(&[Flag::PubSub, Flag::Loading, Flag::Stale])
        .args(&[Arg::string("shardchannel").optional().multiple()]),
    Spec::help("pubsub|help", Group::PubSub, "6.2.0"),
]);
