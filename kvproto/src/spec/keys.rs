//! Commands on keys, whatever their value.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Category, Flag, Group, KeyFlag, KeySpec, Spec};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("del", -2, Group::Generic, "1.0.0")
        .summary("Removes keys and tells how many there were.")
        .complexity("O(N) in the keys given")
        .aliases(&["delete", "remove"])
        .flags(&[Flag::Write])
        .in_categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::Remove, KeyFlag::Delete])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("exists", -2, Group::Generic, "1.0.0")
        .summary("Counts how many of the keys exist; a key given twice counts twice.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("keys", 2, Group::Generic, "1.0.0")
        .summary("Lists the keys that match a pattern; for a large keyspace prefer SCAN.")
        .complexity("O(N) in the keys of the keyspace")
        .flags(&[Flag::ReadOnly])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .args(&[Arg::pattern("pattern")]),
    Spec::new("print", 1, Group::Generic, "0.1.0")
        .summary("Lists every key of the selected keyspace.")
        .complexity("O(N) in the keys of the keyspace")
        .flags(&[Flag::ReadOnly])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    Spec::new("randomkey", 1, Group::Generic, "1.0.0")
        .summary("Picks one key of the keyspace by chance.")
        .complexity("O(1)")
        .flags(&[Flag::ReadOnly])
        .in_categories(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]),
    Spec::new("rename", 3, Group::Generic, "1.0.0")
        .summary("Moves a value to another key, replacing what was there.")
        .complexity("O(1)")
        .flags(&[Flag::Write])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[
            KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Delete]),
            KeySpec::one(2, &[KeyFlag::Overwrite, KeyFlag::Update]),
        ])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
    Spec::new("scan", -2, Group::Generic, "2.8.0")
        .summary("Walks the keyspace a step at a time.")
        .complexity("O(1) a call, O(N) a whole walk")
        .flags(&[Flag::ReadOnly])
        .in_categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .args(&[
            Arg::integer("cursor"),
            Arg::pattern("pattern").after("MATCH").optional(),
            Arg::integer("count").after("COUNT").optional(),
            Arg::string("type").after("TYPE").optional().since("6.0.0"),
        ]),
    Spec::new("touch", -2, Group::Generic, "3.2.1")
        .summary("Marks keys as just used and counts those that exist.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("type", 2, Group::Generic, "1.0.0")
        .summary("Tells what kind of value a key holds.")
        .complexity("O(1)")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key")]),
    Spec::new("unlink", -2, Group::Generic, "4.0.0")
        .summary("Removes keys and tells how many there were; large values are freed later.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::Remove, KeyFlag::Delete])])
        .args(&[Arg::key("key").multiple()]),
];
