//! The prompt's own commands, which begin with a colon and are never sent.
//!
//! Invariant: [`DIRECTIVES`] is sorted by name, and what it does not list is no directive.

/// Each directive as it is typed, with its arguments, and what it does in one sentence.
pub const DIRECTIVES: &[(&str, &str)] = &[
    (":connect URL", "Connects to another server."),
    (":format table|json|csv|raw", "Chooses how replies are shown."),
    (":help", "Lists these directives."),
    (":history", "Lists the lines that were typed."),
    (":keys on|off", "Chooses whether <Tab> completes the names of keys, which reads them from the server."),
    (":pager on|off", "Chooses whether long replies are shown in a pager."),
    (":quit", "Leaves, as QUIT and Ctrl-D do."),
    (":timing on|off", "Chooses whether the time that a command took is shown."),
];
