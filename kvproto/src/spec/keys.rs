//! Commands on keys, whatever their value.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Category, Flag, Group, KeyFlag, KeySpec, Spec, Trait, indexed};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("copy", -3, Group::Generic, "6.2.0")
        .summary("Copies a value and its deadline to another key, in this database or another.")
        .complexity("O(N) in the length of the value")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[
            KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access]),
            KeySpec::one(2, &[KeyFlag::Overwrite, KeyFlag::Update]),
        ])
        .args(&[
            Arg::key("source"),
            Arg::key("destination").key_spec(1),
            Arg::integer("destination-db").after("DB").optional(),
            Arg::token("replace", "REPLACE").optional(),
        ]),
    Spec::new("del", -2, Group::Generic, "1.0.0")
        .summary("Removes keys and tells how many there were.")
        .complexity("O(N) in the keys given")
        .aliases(&["delete", "remove"])
        .flags(&[Flag::Write])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::Remove, KeyFlag::Delete])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("dump", 2, Group::Generic, "2.6.0")
        .summary("Gives a value in the form RESTORE takes, here and in Redis.")
        .complexity("O(N) in the length of the value")
        .flags(&[Flag::ReadOnly])
        .tips(&["nondeterministic_output"])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
    Spec::new("exists", -2, Group::Generic, "1.0.0")
        .summary("Counts how many of the keys exist; a key given twice counts twice.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("keys", 2, Group::Generic, "1.0.0")
        .equivalents(&["print"])
        .summary("Lists the keys that match a pattern; for a large keyspace prefer SCAN.")
        .complexity("O(N) in the keys of the keyspace")
        .flags(&[Flag::ReadOnly])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .args(&[Arg::pattern("pattern")]),
    Spec::new("move", 3, Group::Generic, "1.0.0")
        .summary("Moves a key to another database, unless that has one of this name.")
        .complexity("O(N) in the length of the value")
        .flags(&[Flag::Write, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update])])
        .args(&[Arg::key("key"), Arg::integer("db")]),
    Spec::new("object", -2, Group::Generic, "2.2.3")
        .in_categories(&[])
        .traits(&[Trait::LooksFromOutside])
        .summary("Groups the commands about how a value is kept.")
        .subcommands(&OBJECT_SUBCOMMANDS),
    Spec::new("print", 1, Group::Generic, "0.1.0")
        .summary("Lists every key of the selected keyspace.")
        .complexity("O(N) in the keys of the keyspace")
        .flags(&[Flag::ReadOnly])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    Spec::new("randomkey", 1, Group::Generic, "1.0.0")
        .summary("Picks one key of the keyspace by chance.")
        .flags(&[Flag::ReadOnly])
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]),
    Spec::new("rename", 3, Group::Generic, "1.0.0")
        .summary("Moves a value to another key, replacing what was there.")
        .flags(&[Flag::Write])
        .keys_at(&[
            KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Delete]),
            KeySpec::one(2, &[KeyFlag::Overwrite, KeyFlag::Update]),
        ])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
    Spec::new("renamenx", 3, Group::Generic, "1.0.0")
        .summary("Moves a value to another key, unless that exists.")
        .flags(&[Flag::Write, Flag::Fast])
        .keys_at(&[
            KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Delete]),
            KeySpec::one(2, &[KeyFlag::Overwrite, KeyFlag::Insert]),
        ])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
    Spec::new("restore", -4, Group::Generic, "2.6.0")
        .summary("Makes a key of what DUMP gave, here or in Redis. Only strings are taken.")
        .complexity("O(N) in the length of the value")
        .flags(&[Flag::Write, Flag::DenyOom])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .args(RESTORE_ARGS),
    Spec::new("restore-asking", -4, Group::Server, "3.0.0")
        .summary("The same as RESTORE, for tools that move keys between the nodes of a cluster.")
        .complexity("O(N) in the length of the value")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Asking])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .args(RESTORE_ARGS),
    Spec::new("scan", -2, Group::Generic, "2.8.0")
        .summary("Walks the keyspace a step at a time.")
        .complexity("O(1) a call, O(N) a whole walk")
        .flags(&[Flag::ReadOnly])
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .args(&[
            Arg::integer("cursor"),
            Arg::pattern("pattern").after("MATCH").optional(),
            Arg::integer("count").after("COUNT").optional(),
            Arg::string("type").after("TYPE").optional().since("6.0.0"),
        ]),
    Spec::new("touch", -2, Group::Generic, "3.2.1")
        .traits(&[Trait::AlwaysUses])
        .summary("Marks keys as just used and counts those that exist.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("type", 2, Group::Generic, "1.0.0")
        .summary("Tells what kind of value a key holds.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key")]),
    Spec::new("unlink", -2, Group::Generic, "4.0.0")
        .summary("Removes keys and tells how many there were; large values are freed later.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::Write, Flag::Fast])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::Remove, KeyFlag::Delete])])
        .args(&[Arg::key("key").multiple()]),
];

const RESTORE_ARGS: &[Arg] = &[
    Arg::key("key"),
    Arg::integer("ttl"),
    Arg::string("serialized-value"),
    Arg::token("replace", "REPLACE").optional().since("3.0.0"),
    Arg::token("absttl", "ABSTTL").optional().since("5.0.0"),
    Arg::integer("seconds").after("IDLETIME").optional().since("5.0.0"),
    Arg::integer("frequency").after("FREQ").optional().since("5.0.0"),
];

const OBJECT_KEY: &[KeySpec] = &[KeySpec::one(2, &[KeyFlag::ReadOnly])];
const OBJECT_ARGS: &[Arg] = &[Arg::key("key")];

/// A subcommand of OBJECT that looks at a key.
const fn object(name: &'static str, since: &'static str) -> Spec {
    Spec::new(name, 3, Group::Generic, since)
        .flags(&[Flag::ReadOnly])
        .tips(&["nondeterministic_output"])
        .keys_at(OBJECT_KEY)
        .args(OBJECT_ARGS)
        .traits(&[Trait::LooksFromOutside])
}

const OBJECT_SUBCOMMANDS: [Spec; 5] = indexed([
    object("object|encoding", "2.2.3").summary("Names the encoding Redis would choose for a value."),
    object("object|freq", "4.0.0")
        .summary("Tells how often a key is used, as far as anybody has said; for servers that evict by use."),
    Spec::new("object|help", 2, Group::Generic, "6.2.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
    object("object|idletime", "2.2.3")
        .summary("Tells how many seconds ago a key was used, or another one that is kept beside it."),
    object("object|refcount", "2.2.3").summary("Tells how many references Redis would count to a value."),
]);
