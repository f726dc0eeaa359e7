//! Commands on the value of a key: reading, storing, counting.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, KeyFlag, KeySpec, Spec};

/// Conditions on the value that is replaced or removed.
const COMPARISONS: [Arg; 4] = [
    Arg::string("ifeq-value").after("IFEQ"),
    Arg::string("ifne-value").after("IFNE"),
    Arg::string("ifdeq-digest").after("IFDEQ"),
    Arg::string("ifdne-digest").after("IFDNE"),
];

const GET: Arg = Arg::token("get", "GET");

const NX_OR_XX: [Arg; 2] = [Arg::token("nx", "NX"), Arg::token("xx", "XX")];

/// Returns the ways to say how long a key lives; `own` is the one that the command has besides.
const fn expiration(own: Arg) -> [Arg; 5] {
    [
        Arg::integer("seconds").after("EX"),
        Arg::integer("milliseconds").after("PX"),
        Arg::unix_time("unix-time-seconds").after("EXAT"),
        Arg::unix_time("unix-time-milliseconds").after("PXAT"),
        own,
    ]
}

const EXPIRATION_OR_PERSIST: [Arg; 5] = expiration(Arg::token("persist", "PERSIST"));
const EXPIRATION_OR_KEEPTTL: [Arg; 5] = expiration(Arg::token("keepttl", "KEEPTTL"));

// Of SET, which got them one after the other.
const SET_CONDITIONS: &[Arg] = &{
    let ([nx, xx], [eq, ne, digest_eq, digest_ne]) = (NX_OR_XX, COMPARISONS);
    [nx, xx, eq.since("8.4.0"), ne.since("8.4.0"), digest_eq.since("8.4.0"), digest_ne.since("8.4.0")]
};
const SET_EXPIRATION: &[Arg] = &{
    let [ex, px, exat, pxat, keepttl] = EXPIRATION_OR_KEEPTTL;
    [ex.since("2.6.12"), px.since("2.6.12"), exat.since("6.2.0"), pxat.since("6.2.0"), keepttl.since("6.0.0")]
};

/// The options with which SET reads the old value: to return it, or to compare it.
pub(super) const SET_READING: &[Arg] = &{
    let [eq, ne, digest_eq, digest_ne] = COMPARISONS;
    [GET, eq, ne, digest_eq, digest_ne]
};

const COUNTED: &[KeySpec] = &[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update])];

/// A command that adds to a number.
const fn counts(name: &'static str, arity: i32, since: &'static str, args: &'static [Arg]) -> Spec {
    Spec::new(name, arity, Group::String, since)
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .keys_at(COUNTED)
        .args(args)
}

pub(super) const ROWS: &[Spec] = &[
    Spec::new("append", 3, Group::String, "2.0.0")
        .summary("Adds bytes to the end of a value, starting from an empty one when the key is missing.")
        .complexity("O(1) amortised: a long value keeps spare room")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Insert])])
        .args(&[Arg::key("key"), Arg::string("value")]),
    counts("decr", 2, "1.0.0", &[Arg::key("key")]).summary("Takes one from an integer; a missing key counts as 0."),
    counts("decrby", 3, "1.0.0", &[Arg::key("key"), Arg::integer("decrement")])
        .summary("Takes an amount from an integer; a missing key counts as 0."),
    Spec::new("delex", -2, Group::String, "8.4.0")
        .summary("Removes a key if its value, or the digest of its value, is the one given, or is not.")
        .complexity("O(N) in the bytes compared")
        .flags(&[Flag::Write, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Delete, KeyFlag::VariableFlags])])
        .args(&[Arg::key("key"), Arg::one_of("condition", &COMPARISONS).optional()]),
    Spec::new("delifeq", 3, Group::String, "9.0.0")
        .summary("Removes a key if its value is the one given.")
        .complexity("O(N) in the bytes compared")
        .flags(&[Flag::Write])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Remove, KeyFlag::Access, KeyFlag::Delete])])
        .args(&[Arg::key("key"), Arg::string("value")]),
    Spec::new("digest", 2, Group::String, "8.4.0")
        .summary("Computes the 64-bit XXH3 digest of a value, in hexadecimal.")
        .complexity("O(N) in the bytes of the value")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
    Spec::new("get", 2, Group::String, "1.0.0")
        .summary("Reads the value of a key.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
    Spec::new("getdel", 2, Group::String, "6.2.0")
        .summary("Reads a value and removes its key.")
        .flags(&[Flag::Write, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Delete])])
        .args(&[Arg::key("key")]),
    Spec::new("getex", -2, Group::String, "6.2.0")
        .summary("Reads a value and may change how long its key lives.")
        .flags(&[Flag::Write, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update])
            .notes("writes because it may change the deadline")])
        .args(&[Arg::key("key"), Arg::one_of("expiration", &EXPIRATION_OR_PERSIST).optional()]),
    Spec::new("getrange", 4, Group::String, "2.4.0")
        .summary("Reads the bytes of a value from one position to another; negative positions count from the end.")
        .complexity("O(N) in the bytes given back")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("end")]),
    Spec::new("getset", 3, Group::String, "1.0.0")
        .summary("Stores a value and gives back the one it replaced.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update])])
        .deprecated("6.2.0", "`SET` with `GET`")
        .args(&[Arg::key("key"), Arg::string("value")]),
    counts("incr", 2, "1.0.0", &[Arg::key("key")]).summary("Adds one to an integer; a missing key counts as 0."),
    counts("incrby", 3, "1.0.0", &[Arg::key("key"), Arg::integer("increment")])
        .summary("Adds an amount to an integer; a missing key counts as 0."),
    Spec::new("increx", -2, Group::String, "8.8.0")
        .summary("Adds to a number within bounds, and sets or takes off its key's deadline.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update])])
        .args(&[
            Arg::key("key"),
            Arg::one_of("increment", &[Arg::double("float").after("BYFLOAT"), Arg::integer("integer").after("BYINT")])
                .optional(),
            Arg::token("saturate", "SATURATE").optional(),
            Arg::string("lowerbound").after("LBOUND").optional(),
            Arg::string("upperbound").after("UBOUND").optional(),
            Arg::one_of("condition", &[Arg::token("nx", "NX").since("9.2.0"), Arg::token("xx", "XX").since("9.2.0")])
                .optional(),
            Arg::one_of("expiration", &EXPIRATION_OR_PERSIST).optional(),
            Arg::token("enx", "ENX").optional(),
        ]),
    counts("incrbyfloat", 3, "2.6.0", &[Arg::key("key"), Arg::double("increment")])
        .summary("Adds an amount to a decimal number; a missing key counts as 0."),
    Spec::new("lcs", -3, Group::String, "7.0.0")
        .summary("Finds the longest sequence of bytes that two values have in common, gaps allowed.")
        .complexity("O(N*M) in the lengths of the two values")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::range(1, 1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[
            Arg::key("key1"),
            Arg::key("key2"),
            Arg::token("len", "LEN").optional(),
            Arg::token("idx", "IDX").optional(),
            Arg::integer("min-match-len").after("MINMATCHLEN").optional(),
            Arg::token("withmatchlen", "WITHMATCHLEN").optional(),
        ]),
    Spec::new("mget", -2, Group::String, "1.0.0")
        .summary("Reads several values at one instant.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .tips(&["request_policy:multi_shard"])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("mset", -3, Group::String, "1.0.1")
        .summary("Stores several values at one instant.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::Write, Flag::DenyOom])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keys_at(&[KeySpec::to_end(1, 2, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .args(&[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()]),
    Spec::new("msetex", -4, Group::String, "8.4.0")
        .summary("Stores several values that live equally long, on conditions that hold for all of them or none.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::Write, Flag::DenyOom])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keys_at(&[KeySpec::counted(1, 2, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .args(&[
            Arg::integer("numkeys"),
            Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple(),
            Arg::one_of("condition", &NX_OR_XX).optional(),
            Arg::one_of("expiration", &EXPIRATION_OR_KEEPTTL).optional(),
        ]),
    Spec::new("msetnx", -3, Group::String, "1.0.1")
        .summary("Stores several values at one instant, or none when any of the keys exists.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::to_end(1, 2, &[KeyFlag::Overwrite, KeyFlag::Insert])])
        .args(&[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()]),
    Spec::new("psetex", 4, Group::String, "2.6.0")
        .summary("Stores a value that lives for so many milliseconds.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .deprecated("2.6.12", "`SET` with `PX`")
        .args(&[Arg::key("key"), Arg::integer("milliseconds"), Arg::string("value")]),
    Spec::new("put", -3, Group::String, "0.1.0")
        .summary("Stores a value; a time to live in seconds may follow, 0 meaning none.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .args(&[Arg::key("key"), Arg::string("value"), Arg::integer("ttl").optional()]),
    Spec::new("set", -3, Group::String, "1.0.0")
        .equivalents(&["put"])
        .summary("Stores a value, whatever was there before; options set conditions and a lifetime.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update, KeyFlag::VariableFlags])
            .notes("reads the old value only when it is to be returned (GET) or compared (IFEQ, IFNE, IFDEQ, IFDNE)")])
        .args(&[
            Arg::key("key"),
            Arg::string("value"),
            Arg::one_of("condition", SET_CONDITIONS).optional().since("2.6.12"),
            GET.optional().since("6.2.0"),
            Arg::one_of("expiration", SET_EXPIRATION).optional(),
        ]),
    Spec::new("setex", 4, Group::String, "2.0.0")
        .summary("Stores a value that lives for so many seconds.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Overwrite, KeyFlag::Update])])
        .deprecated("2.6.12", "`SET` with `EX`")
        .args(&[Arg::key("key"), Arg::integer("seconds"), Arg::string("value")]),
    Spec::new("setnx", 3, Group::String, "1.0.0")
        .summary("Stores a value only where there is none.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::Overwrite, KeyFlag::Insert])])
        .deprecated("2.6.12", "`SET` with `NX`")
        .args(&[Arg::key("key"), Arg::string("value")]),
    Spec::new("setrange", 4, Group::String, "2.2.0")
        .summary("Overwrites a value from a position on, filling it with zero bytes up to there.")
        .complexity("O(N) in the bytes written and filled")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])])
        .args(&[Arg::key("key"), Arg::integer("offset"), Arg::string("value")]),
    Spec::new("strlen", 2, Group::String, "2.2.0")
        .summary("Tells how many bytes a value has.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key")]),
    Spec::new("substr", 4, Group::String, "1.0.0")
        .summary("Reads the bytes of a value from one position to another.")
        .complexity("O(N) in the bytes given back")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .deprecated("2.0.0", "`GETRANGE`")
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("end")]),
];
