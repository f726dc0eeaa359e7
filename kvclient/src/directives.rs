//! The names of the prompt's own commands, which begin with a colon: for the prompt, which runs them, and for HELP.
//!
//! Invariant: [`DIRECTIVES`] is sorted by name.

/// Each directive as it is typed, with its arguments, and what it does in one sentence.
pub const DIRECTIVES: &[(&str, &str)] = &[
    (":clear", "Clears the screen, as CLEAR and Ctrl-L do."),
    (":confirm on|off", "Sets whether FLUSHALL and its like ask first."),
    (":connect URL", "Connects to another server: HOST PORT, or @NAME."),
    (":format table|json|csv|raw", "Sets how replies are shown, or `default`."),
    (":help", "Lists these directives."),
    (":history", "Lists what was typed, or its last N lines."),
    (":json on|off", "Sets whether JSON values are indented."),
    (":keys on|off", "Sets whether <Tab> completes names of keys."),
    (":pager on|off", "Sets whether long replies are paged, or by what."),
    (":peek KEY", "Shows everything about a key, as PEEK does."),
    (":pretty", "Shows the last reply with its JSON indented."),
    (":quit", "Leaves, as QUIT and Ctrl-D do."),
    (":timing on|off", "Sets whether the time of a command is shown."),
    (":watch KEY", "Shows the changes of a key until Ctrl-C."),
];

/// How many columns the names take in a list.
const NAME_COLUMNS: usize = 29;

/// Returns the names of all directives.
pub fn names() -> String {
    let names: Vec<&str> = DIRECTIVES.iter().filter_map(|(usage, _)| usage.split(' ').next()).collect();
    names.join(" ")
}

/// Returns the list of the directives.
pub fn list() -> String {
    DIRECTIVES.iter().map(|(usage, summary)| format!("  {usage:NAME_COLUMNS$}{summary}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_sorted_and_say_what_they_do() {
        assert!(DIRECTIVES.is_sorted());
        for (usage, summary) in DIRECTIVES {
            assert!(usage.starts_with(':') && usage.len() < NAME_COLUMNS && summary.ends_with('.'), "{usage}");
        }
        // On a usual terminal each takes one row.
        assert!(list().lines().all(|line| line.len() < 80), "{}", list());
    }
}
