//! Commands about one connection.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, Secrets, Spec, Trait};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("auth", -2, Group::Connection, "1.0.0")
        .traits(&[Trait::ChangesSubscriptions])
        .secrets(Secrets::From(1))
        .summary("Proves to the server who is calling.")
        .complexity("O(N) in the passwords of the user")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy])
        .args(&[Arg::string("username").optional().since("6.0.0"), Arg::string("password")]),
    Spec::new("client", -2, Group::Connection, "2.4.0")
        .in_categories(&[])
        .summary("Groups the commands about client connections.")
        .subcommands(&super::client::SUBCOMMANDS),
    Spec::new("echo", 2, Group::Connection, "1.0.0")
        .summary("Sends the message back.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .args(&[Arg::string("message")]),
    Spec::new("hello", -1, Group::Connection, "6.0.0")
        .traits(&[Trait::ChangesSubscriptions])
        .secrets(Secrets::After(&[("AUTH", 2)]))
        .summary("Agrees on the protocol version; may log in and name the connection on the way.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy])
        .args(&[Arg::block(
            "arguments",
            &[
                Arg::integer("protover"),
                Arg::block("auth", &[Arg::string("username"), Arg::string("password")]).after("AUTH").optional(),
                Arg::string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()]),
    Spec::new("help", -1, Group::Connection, "0.1.0")
        .summary("Lists the commands, or shows how to type one and what it does.")
        .complexity("O(N) in the commands")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy])
        .args(&[Arg::string("command").optional(), Arg::string("subcommand").optional()]),
    Spec::new("ping", -1, Group::Connection, "1.0.0")
        .traits(&[Trait::WhileSubscribed])
        .summary("Answers PONG, or sends a message back.")
        .flags(&[Flag::Fast])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[Arg::string("message").optional()]),
    Spec::new("quit", -1, Group::Connection, "1.0.0")
        .traits(&[Trait::NotQueued, Trait::WhileSubscribed])
        .summary("Ends the connection.")
        .flags(&[Flag::AllowBusy, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth])
        .deprecated("7.2.0", "closing the connection"),
    Spec::new("reset", 1, Group::Connection, "6.2.0")
        .traits(&[Trait::NotQueued, Trait::WhileSubscribed])
        .summary("Takes the connection back to the state in which it was opened.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy]),
    Spec::new("select", 2, Group::Connection, "1.0.0")
        .traits(&[Trait::Selects])
        .summary("Changes the keyspace this connection works in.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .args(&[Arg::integer("index")]),
];
