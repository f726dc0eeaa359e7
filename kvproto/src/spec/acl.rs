//! Commands about users and what they may do.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2, or from the version
//! that the row names.

use super::{Arg, Flag, Group, Secrets, Spec, indexed};

pub(super) const ROWS: &[Spec] = &[Spec::new("acl", -2, Group::Server, "6.0.0")
    .summary("Groups the commands about users.")
    .subcommands(&SUBCOMMANDS)];

const FOR_ADMINS: &[Flag] = &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale];

const fn role(name: &'static str, arity: i32) -> Spec {
    Spec::unsupported(name, arity, Group::Server, "9.2.0").flags(FOR_ADMINS).secrets(Secrets::From(2))
}

const SUBCOMMANDS: [Spec; 18] =
    indexed([
        Spec::new("acl|cat", -2, Group::Server, "6.0.0")
            .summary("Lists the categories of commands, or the commands of one.")
            .complexity("O(1): both are fixed")
            .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
            .args(&[Arg::string("category").optional()]),
        Spec::new("acl|deluser", -3, Group::Server, "6.0.0")
            .secrets(Secrets::From(2))
            .summary("Removes users and closes their connections.")
            .complexity("O(N) in the users given and the open connections")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .args(&[Arg::string("username").multiple()]),
        Spec::new("acl|digest", 2, Group::Server, "9.2.0")
            .summary("Computes a fingerprint of all users and their rules, in hexadecimal.")
            .complexity("O(N) in the users")
            .flags(FOR_ADMINS),
        Spec::new("acl|dryrun", -4, Group::Server, "7.0.0")
            .secrets(Secrets::OfRequestAt(3))
            .summary("Tells whether a user may run a command, without running it.")
            .complexity("O(N) in the rules of the user and the keys of the command")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
            .args(&[Arg::string("username"), Arg::string("command"), Arg::string("arg").optional().multiple()]),
        Spec::new("acl|genpass", -2, Group::Server, "6.0.0")
            .summary("Invents a password that nobody can guess.")
            .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
            .args(&[Arg::integer("bits").optional()]),
        Spec::new("acl|getuser", 3, Group::Server, "6.0.0")
            .secrets(Secrets::From(2))
            .summary("Shows the rules of one user.")
            .complexity("O(N) in the rules of the user")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
            .args(&[Arg::string("username")]),
        Spec::new("acl|help", 2, Group::Server, "6.0.0")
            .summary("Explains the subcommands.")
            .flags(&[Flag::Loading, Flag::Stale]),
        Spec::new("acl|list", 2, Group::Server, "6.0.0")
            .summary("Shows all users with their rules, as lines of a file.")
            .complexity("O(N) in the users")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
        Spec::new("acl|load", 2, Group::Server, "6.0.0")
            .summary("Replaces all users by those of the file.")
            .complexity("O(N) in the users")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
        Spec::new("acl|log", -2, Group::Server, "6.0.0")
            .summary("Shows who was refused what lately, or forgets it.")
            .complexity("O(N) in the entries shown")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
            .args(&[Arg::one_of("operation", &[Arg::integer("count"), Arg::token("reset", "RESET")]).optional()]),
        Spec::new("acl|save", 2, Group::Server, "6.0.0")
            .summary("Writes all users to the file.")
            .complexity("O(N) in the users")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        Spec::new("acl|setuser", -3, Group::Server, "6.0.0")
            .secrets(Secrets::From(2))
            .summary("Makes a user, or changes what it may do.")
            .complexity("O(N) in the rules given")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .args(&[Arg::string("username"), Arg::string("rule").optional().multiple()]),
        Spec::new("acl|users", 2, Group::Server, "6.0.0")
            .summary("Lists the names of all users.")
            .complexity("O(N) in the users")
            .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
        Spec::new("acl|whoami", 2, Group::Server, "6.0.0")
            .summary("Tells as which user this connection acts.")
            .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale]),
        // Roles of Valkey 9.2.
        role("acl|delrole", -3).tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        role("acl|getrole", 3),
        role("acl|roles", 2),
        role("acl|setrole", -3).tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ]);
