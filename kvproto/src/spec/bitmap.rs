//! Commands on a value as bits: single ones, ranges, small integers, whole values combined.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2, or from the version
//! that the row names.

use super::{Arg, Flag, Group, KeyFlag, KeySpec, Spec};

/// What the positions before it count.
const UNIT: Arg =
    Arg::one_of("unit", &[Arg::token("byte", "BYTE"), Arg::token("bit", "BIT")]).optional().since("7.0.0");

pub(super) const ROWS: &[Spec] = &[
    Spec::new("bitcount", -2, Group::Bitmap, "2.6.0")
        .summary("Counts the bits that are set in a value or a part of it.")
        .complexity("O(N) in the bytes looked at")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key"), Arg::block("range", &[Arg::integer("start"), Arg::integer("end"), UNIT]).optional()]),
    Spec::new("bitfield", -2, Group::Bitmap, "3.2.0")
        .summary("Reads, sets and counts up integers of any width at any bit of a value.")
        .complexity("O(1) for each operation")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update, KeyFlag::VariableFlags])
            .notes("changes the key only when told to set or to count up")])
        .args(&[
            Arg::key("key"),
            Arg::one_of(
                "operation",
                &[
                    Arg::block("get-block", &[Arg::string("encoding"), Arg::integer("offset")]).after("GET"),
                    Arg::block(
                        "write",
                        &[
                            Arg::one_of(
                                "overflow-block",
                                &[Arg::token("wrap", "WRAP"), Arg::token("sat", "SAT"), Arg::token("fail", "FAIL")],
                            )
                            .after("OVERFLOW")
                            .optional(),
                            Arg::one_of(
                                "write-operation",
                                &[
                                    Arg::block(
                                        "set-block",
                                        &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("value")],
                                    )
                                    .after("SET"),
                                    Arg::block(
                                        "incrby-block",
                                        &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("increment")],
                                    )
                                    .after("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .optional()
            .multiple(),
        ]),
    Spec::new("bitfield_ro", -2, Group::Bitmap, "6.0.0")
        .summary("Reads integers of any width at any bit of a value.")
        .complexity("O(1) for each operation")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[
            Arg::key("key"),
            Arg::block("get-block", &[Arg::string("encoding"), Arg::integer("offset")])
                .after("GET")
                .optional()
                .multiple_with_token(),
        ]),
    Spec::new("bitop", -4, Group::Bitmap, "2.6.0")
        .summary("Combines values bit by bit and stores the outcome.")
        .complexity("O(N) in the bytes of all values")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[
            KeySpec::one(2, &[KeyFlag::Overwrite, KeyFlag::Update]),
            KeySpec::to_end(3, 1, &[KeyFlag::ReadOnly, KeyFlag::Access]),
        ])
        .args(&[
            Arg::one_of(
                "operation",
                &[
                    Arg::token("and", "AND"),
                    Arg::token("or", "OR"),
                    Arg::token("xor", "XOR"),
                    Arg::token("not", "NOT"),
                    Arg::token("diff", "DIFF").since("8.2.0"),
                    Arg::token("diff1", "DIFF1").since("8.2.0"),
                    Arg::token("andor", "ANDOR").since("8.2.0"),
                    Arg::token("one", "ONE").since("8.2.0"),
                ],
            ),
            Arg::key("destkey"),
            Arg::key("key").key_spec(1).multiple(),
        ]),
    Spec::new("bitpos", -3, Group::Bitmap, "2.8.7")
        .summary("Finds the first bit that is set, or the first that is clear.")
        .complexity("O(N) in the bytes looked at")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[
            Arg::key("key"),
            Arg::integer("bit"),
            Arg::block(
                "range",
                &[Arg::integer("start"), Arg::block("end-unit-block", &[Arg::integer("end"), UNIT]).optional()],
            )
            .optional(),
        ]),
    Spec::new("bitrangeintarray", -4, Group::Bitmap, "8.12.0")
        .summary("Lists the positions of the bits that are set, or clear, in a part of a value.")
        .complexity("O(N) in the bytes looked at and the bits found")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[
            Arg::key("key"),
            Arg::integer("start"),
            Arg::integer("end"),
            Arg::one_of("unit", &[Arg::token("byte", "BYTE"), Arg::token("bit", "BIT")]).optional(),
            Arg::integer("count").after("LIMIT").optional(),
            Arg::token("zeros", "ZEROS").optional(),
        ]),
    Spec::new("getbit", 3, Group::Bitmap, "2.2.0")
        .summary("Reads one bit of a value.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key"), Arg::integer("offset")]),
    Spec::new("setbit", 4, Group::Bitmap, "2.2.0")
        .summary("Sets or clears one bit of a value, filling it with zero bytes up to there.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Update])])
        .args(&[Arg::key("key"), Arg::integer("offset"), Arg::integer("value")]),
];
