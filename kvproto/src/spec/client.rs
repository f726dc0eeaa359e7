//! Subcommands of CLIENT.
//!
//! Invariant: arity, flags, categories and arguments are those clients know from Redis 7.2, or from the version that an
//! argument says it came with.

use super::{Arg, Flag, Group, Spec, Trait, each_with, indexed};

const FOR_ALL: &[Flag] = &[Flag::NoScript, Flag::Loading, Flag::Stale];
const FOR_ADMINS: &[Flag] = &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale];
const ON_OR_OFF: &[Arg] = &[Arg::one_of("enabled", &[Arg::token("on", "ON"), Arg::token("off", "OFF")])];

/// A filter of clients that came with Valkey 9.0.
const fn newer(filter: Arg, token: &'static str) -> Arg {
    filter.after(token).optional().since("9.0.0")
}

const NAME: Arg = newer(Arg::string("name"), "NAME");
const IDLE: Arg = newer(Arg::integer("idle"), "IDLE");
const FLAGS: Arg = newer(Arg::string("flags"), "FLAGS");
const LIB_NAME: Arg = newer(Arg::string("lib-name"), "LIB-NAME");
const LIB_VER: Arg = newer(Arg::string("lib-ver"), "LIB-VER");
const DB: Arg = newer(Arg::integer("db"), "DB");
const CAPA: Arg = newer(Arg::string("capa"), "CAPA");
const IP: Arg = newer(Arg::string("ip"), "IP");
const NOT_USER: Arg = newer(Arg::string("not-username"), "NOT-USER");
const NOT_ADDR: Arg = newer(Arg::string("not-addr"), "NOT-ADDR");
const NOT_LADDR: Arg = newer(Arg::string("not-laddr"), "NOT-LADDR");
const NOT_NAME: Arg = newer(Arg::string("not-name"), "NOT-NAME");
const NOT_FLAGS: Arg = newer(Arg::string("not-flags"), "NOT-FLAGS");
const NOT_LIB_NAME: Arg = newer(Arg::string("not-lib-name"), "NOT-LIB-NAME");
const NOT_LIB_VER: Arg = newer(Arg::string("not-lib-ver"), "NOT-LIB-VER");
const NOT_DB: Arg = newer(Arg::integer("not-db"), "NOT-DB");
const NOT_CAPA: Arg = newer(Arg::string("not-capa"), "NOT-CAPA");
const NOT_IP: Arg = newer(Arg::string("not-ip"), "NOT-IP");
const NOT_ID: Arg = newer(Arg::integer("not-client-id"), "NOT-ID").multiple();
const NOT_TYPE: Arg = newer(
    Arg::one_of(
        "not-client-type",
        &[
            Arg::token("normal", "normal"),
            Arg::token("primary", "primary"),
            Arg::token("master", "master"),
            Arg::token("slave", "slave"),
            Arg::token("replica", "replica"),
            Arg::token("pubsub", "pubsub"),
        ],
    ),
    "NOT-TYPE",
);

pub(super) const SUBCOMMANDS: [Spec; 20] = each_with(
    Trait::AboutClient,
    indexed([
        Spec::new("client|capa", -3, Group::Connection, "8.0.0")
            .summary("Says what this connection can handle. CLIENT LIST and CLIENT KILL can choose by it.")
            .flags(FOR_ALL)
            .args(&[Arg::string("capability").multiple()]),
        Spec::new("client|caching", 3, Group::Connection, "6.0.0")
            .summary("Says whether the keys of the next request are tracked.")
            .flags(FOR_ALL)
            .args(&[Arg::one_of("mode", &[Arg::token("yes", "YES"), Arg::token("no", "NO")])]),
        Spec::new("client|getredir", 2, Group::Connection, "6.0.0")
            .summary("Tells which connection is told of changes on behalf of this one.")
            .flags(FOR_ALL),
        Spec::new("client|kill", -3, Group::Connection, "2.4.0")
            .summary("Ends connections.")
            .complexity("O(N) in the open connections")
            .flags(FOR_ADMINS)
            .args(&[Arg::one_of(
                "filter",
                &[
                    Arg::string("old-format"),
                    Arg::one_of(
                        "new-format",
                        &[
                            Arg::integer("client-id").after("ID").optional().multiple().since("2.8.12"),
                            Arg::one_of(
                                "client-type",
                                &[
                                    Arg::token("normal", "normal"),
                                    Arg::token("primary", "primary").since("8.0.0"),
                                    Arg::token("master", "master").since("3.2.0"),
                                    Arg::token("slave", "slave"),
                                    Arg::token("replica", "replica").since("5.0.0"),
                                    Arg::token("pubsub", "pubsub"),
                                ],
                            )
                            .after("TYPE")
                            .optional()
                            .since("2.8.12"),
                            Arg::string("username").after("USER").optional(),
                            Arg::string("addr").after("ADDR").optional(),
                            Arg::string("laddr").after("LADDR").optional().since("6.2.0"),
                            Arg::one_of("skipme", &[Arg::token("yes", "YES"), Arg::token("no", "NO")])
                                .after("SKIPME")
                                .optional(),
                            Arg::integer("maxage").after("MAXAGE").optional().since("7.4.0"),
                            NAME,
                            IDLE,
                            FLAGS,
                            LIB_NAME,
                            LIB_VER,
                            DB,
                            CAPA,
                            IP,
                            NOT_TYPE,
                            NOT_ID,
                            NOT_USER,
                            NOT_ADDR,
                            NOT_LADDR,
                            NOT_NAME,
                            NOT_FLAGS,
                            NOT_LIB_NAME,
                            NOT_LIB_VER,
                            NOT_DB,
                            NOT_CAPA,
                            NOT_IP,
                        ],
                    )
                    .multiple(),
                ],
            )]),
        Spec::new("client|no-evict", 3, Group::Connection, "7.0.0")
            .summary("Says whether this connection is spared when connections are ended for want of memory.")
            .flags(FOR_ADMINS)
            .args(ON_OR_OFF),
        Spec::new("client|no-touch", 3, Group::Connection, "7.2.0")
            .summary("Says whether keys this connection reads count as recently used.")
            .flags(FOR_ALL)
            .args(ON_OR_OFF),
        Spec::new("client|pause", -3, Group::Connection, "3.0.0")
            .summary("Lets requests wait for a while: all, or those that may write.")
            .flags(FOR_ADMINS)
            .args(&[
                Arg::integer("timeout"),
                Arg::one_of("mode", &[Arg::token("write", "WRITE"), Arg::token("all", "ALL")])
                    .optional()
                    .since("6.2.0"),
            ]),
        Spec::new("client|reply", 3, Group::Connection, "3.2.0")
            .summary("Says whether requests of this connection are answered.")
            .flags(FOR_ALL)
            .args(&[Arg::one_of(
                "action",
                &[Arg::token("on", "ON"), Arg::token("off", "OFF"), Arg::token("skip", "SKIP")],
            )]),
        Spec::new("client|tracking", -3, Group::Connection, "6.0.0")
            .summary("Says whether this connection is told when keys it has read change.")
            .complexity("O(1), and O(N) in the prefixes for some options")
            .flags(FOR_ALL)
            .args(&[
                Arg::one_of("status", &[Arg::token("on", "ON"), Arg::token("off", "OFF")]),
                Arg::integer("client-id").after("REDIRECT").optional(),
                Arg::string("prefix").after("PREFIX").optional().multiple_with_token(),
                Arg::token("bcast", "BCAST").optional(),
                Arg::token("optin", "OPTIN").optional(),
                Arg::token("optout", "OPTOUT").optional(),
                Arg::token("noloop", "NOLOOP").optional(),
            ]),
        Spec::new("client|trackinginfo", 2, Group::Connection, "6.2.0")
            .summary("Tells how this connection is told of changes.")
            .flags(FOR_ALL),
        Spec::new("client|unblock", -3, Group::Connection, "5.0.0")
            .summary("Ends the wait of a connection that a blocking command holds up.")
            .complexity("O(log N) in the open connections")
            .flags(FOR_ADMINS)
            .args(&[
                Arg::integer("client-id"),
                Arg::one_of("unblock-type", &[Arg::token("timeout", "TIMEOUT"), Arg::token("error", "ERROR")])
                    .optional(),
            ]),
        Spec::new("client|unpause", 2, Group::Connection, "6.2.0")
            .summary("Ends a pause: what waits goes on.")
            .complexity("O(N) in the connections that wait")
            .flags(FOR_ADMINS),
        Spec::new("client|getname", 2, Group::Connection, "2.6.9")
            .summary("Tells the name this connection gave itself.")
            .flags(FOR_ALL),
        Spec::new("client|id", 2, Group::Connection, "5.0.0")
            .summary("Tells the number the server gave this connection.")
            .flags(FOR_ALL),
        Spec::new("client|info", 2, Group::Connection, "6.2.0")
            .summary("Describes this connection in one line.")
            .flags(FOR_ALL)
            .tips(&["nondeterministic_output"]),
        Spec::new("client|list", -2, Group::Connection, "2.4.0")
            .summary("Describes the open connections, one line each.")
            .complexity("O(N) in the open connections")
            .flags(FOR_ADMINS)
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
                Arg::string("username").after("USER").optional().since("8.1.0"),
                Arg::string("addr").after("ADDR").optional().since("8.1.0"),
                Arg::string("laddr").after("LADDR").optional().since("8.1.0"),
                Arg::one_of("skipme", &[Arg::token("yes", "YES"), Arg::token("no", "NO")])
                    .after("SKIPME")
                    .optional()
                    .since("8.1.0"),
                Arg::integer("maxage").after("MAXAGE").optional().since("8.1.0"),
                NAME,
                IDLE,
                FLAGS,
                LIB_NAME,
                LIB_VER,
                DB,
                CAPA,
                IP,
                NOT_TYPE,
                NOT_ID,
                NOT_USER,
                NOT_ADDR,
                NOT_LADDR,
                NOT_NAME,
                NOT_FLAGS,
                NOT_LIB_NAME,
                NOT_LIB_VER,
                NOT_DB,
                NOT_CAPA,
                NOT_IP,
            ]),
        Spec::new("client|setinfo", 4, Group::Connection, "7.2.0")
            .summary("Records which client library, or which version of it, is calling.")
            .flags(FOR_ALL)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .args(&[Arg::one_of(
                "attr",
                &[Arg::string("libname").after("lib-name"), Arg::string("libver").after("lib-ver")],
            )]),
        Spec::new("client|setname", 3, Group::Connection, "2.6.9")
            .summary("Gives this connection a name, or takes it away.")
            .flags(FOR_ALL)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .args(&[Arg::string("connection-name")]),
        Spec::help("client|help", Group::Connection, "5.0.0"),
        Spec::unsupported("client|import-source", 3, Group::Connection, "8.1.0").flags(FOR_ALL),
    ]),
);
