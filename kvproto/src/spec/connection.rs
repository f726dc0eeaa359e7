//! Commands about one connection.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Category, Flag, Group, Spec, indexed};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("auth", -2, Group::Connection, "1.0.0")
        .summary("Proves to the server who is calling.")
        .complexity("O(N) in the passwords of the user")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy])
        .in_categories(&[Category::Connection])
        .args(&[Arg::string("username").optional().since("6.0.0"), Arg::string("password")]),
    Spec::new("client", -2, Group::Connection, "2.4.0")
        .summary("Groups the commands about client connections.")
        .complexity("That of the subcommand")
        .subcommands(&CLIENT_SUBCOMMANDS),
    Spec::new("echo", 2, Group::Connection, "1.0.0")
        .summary("Sends the message back.")
        .complexity("O(1)")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .in_categories(&[Category::Connection])
        .args(&[Arg::string("message")]),
    Spec::new("hello", -1, Group::Connection, "6.0.0")
        .summary("Agrees on the protocol version; may log in and name the connection on the way.")
        .complexity("O(1)")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy])
        .in_categories(&[Category::Connection])
        .args(&[Arg::block(
            "arguments",
            &[
                Arg::integer("protover"),
                Arg::block("auth", &[Arg::string("username"), Arg::string("password")]).after("AUTH").optional(),
                Arg::string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()]),
    Spec::new("ping", -1, Group::Connection, "1.0.0")
        .summary("Answers PONG, or sends a message back.")
        .complexity("O(1)")
        .flags(&[Flag::Fast])
        .in_categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[Arg::string("message").optional()]),
    Spec::new("quit", -1, Group::Connection, "1.0.0")
        .summary("Ends the connection.")
        .complexity("O(1)")
        .flags(&[Flag::AllowBusy, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth])
        .in_categories(&[Category::Connection])
        .deprecated("7.2.0", "closing the connection"),
    Spec::new("select", 2, Group::Connection, "1.0.0")
        .summary("Changes the keyspace this connection works in.")
        .complexity("O(1)")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .in_categories(&[Category::Connection])
        .args(&[Arg::integer("index")]),
];

const CLIENT_SUBCOMMANDS: [Spec; 6] = indexed([
    Spec::new("client|getname", 2, Group::Connection, "2.6.9")
        .summary("Tells the name this connection gave itself.")
        .complexity("O(1)")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection]),
    Spec::new("client|id", 2, Group::Connection, "5.0.0")
        .summary("Tells the number the server gave this connection.")
        .complexity("O(1)")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection]),
    Spec::new("client|info", 2, Group::Connection, "6.2.0")
        .summary("Describes this connection in one line.")
        .complexity("O(1)")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["nondeterministic_output"]),
    Spec::new("client|list", -2, Group::Connection, "2.4.0")
        .summary("Describes the open connections, one line each.")
        .complexity("O(N) in the open connections")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["nondeterministic_output"])
        .args(&[
            Arg::one_of(
                "client-type",
                &[
                    Arg::token("normal", "normal"),
                    Arg::token("master", "master"),
                    Arg::token("replica", "replica"),
                    Arg::token("pubsub", "pubsub"),
                ],
            )
            .after("TYPE")
            .optional()
            .since("5.0.0"),
            Arg::integer("client-id").after("ID").optional().multiple().since("6.2.0"),
        ]),
    Spec::new("client|setinfo", 4, Group::Connection, "7.2.0")
        .summary("Records which client library, or which version of it, is calling.")
        .complexity("O(1)")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::one_of(
            "attr",
            &[Arg::string("libname").after("lib-name"), Arg::string("libver").after("lib-ver")],
        )]),
    Spec::new("client|setname", 3, Group::Connection, "2.6.9")
        .summary("Gives this connection a name, or takes it away.")
        .complexity("O(1)")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::string("connection-name")]),
]);
