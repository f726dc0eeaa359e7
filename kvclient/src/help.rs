//! HELP at the prompt, from the command table.
//!
//! Invariant: every command of the table, and every group, has help.

use kvproto::spec::{COMMANDS, Group};
use kvproto::{Request, Spec};

/// The groups, in the order they are listed.
pub const GROUPS: [Group; 9] = [
    Group::String,
    Group::Bitmap,
    Group::HyperLogLog,
    Group::Generic,
    Group::Connection,
    Group::Transactions,
    Group::PubSub,
    Group::Server,
    Group::Scripting,
];

/// What HELP prints for the words after it: an introduction, a command's help, or a group's commands. `Err` is the text
/// for a command or group that is not known.
pub fn text(request: Request<'_>) -> Result<String, String> {
    let Some(name) = request.get(1) else {
        return Ok(introduction());
    };
    if let Some(group) = name.strip_prefix(b"@") {
        return group_help(&String::from_utf8_lossy(group));
    }
    let Some(spec) = kvproto::spec::lookup(name) else {
        return Err(format!("No command is named {}. Try HELP.", String::from_utf8_lossy(name)));
    };
    Ok(match request.get(2).and_then(|word| spec.subcommand(word)) {
        Some(sub) => command_help(sub),
        None => [spec].into_iter().chain(spec.subcommands).map(command_help).collect(),
    })
}

fn introduction() -> String {
    let groups: Vec<String> = GROUPS.iter().map(|group| format!("@{}", group.name())).collect();
    format!(
        "Type a command and its arguments; quote arguments that hold blanks.\n\
         \n\
         \x20 HELP SET        what a command does and how to type it\n\
         \x20 HELP @string    the commands of a group: {}\n\
         \x20 <Tab>           completes a command's name\n\
         \x20 <Alt-Enter>     begins another line; pasted lines run one after the other\n\
         \x20 CLEAR           clears the screen\n\
         \x20 QUIT            leaves, as do EXIT and Ctrl-D\n",
        groups.join(" ")
    )
}

fn command_help(spec: &Spec) -> String {
    let mut text = format!(
        "\n  {}\n  {}\n  group: {}  since: {}  cost: {}\n",
        spec.usage(),
        spec.summary,
        spec.group.name(),
        spec.since,
        spec.complexity
    );
    if !spec.aliases.is_empty() {
        text.push_str(&format!("  also: {}\n", spec.aliases.join(", ").to_ascii_uppercase()));
    }
    if let Some((since, instead)) = spec.deprecated {
        text.push_str(&format!("  deprecated since {since}; use {instead}\n"));
    }
    text
}

fn group_help(name: &str) -> Result<String, String> {
    let mut text = String::new();
    for spec in COMMANDS {
        if !spec.absent && spec.group.name().eq_ignore_ascii_case(name) {
            text.push_str(&format!("\n  {}\n  {}\n", spec.usage(), spec.summary));
        }
    }
    if text.is_empty() {
        return Err(format!("No group is named @{name}. Try HELP."));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    fn text(words: &[&str]) -> String {
        let request = OwnedRequest::from_words(["HELP"].iter().chain(words));
        super::text(request.as_request()).unwrap_or_else(|text| text)
    }

    #[test]
    fn a_command_is_explained_in_any_case() {
        let help = text(&["sEt"]);
        assert!(help.contains("SET key value [NX|XX"), "{help}");
        assert!(help.contains("group: string"), "{help}");
        assert!(text(&["delete"]).contains("also: DELETE, REMOVE"));
        assert!(text(&["client", "list"]).contains("CLIENT LIST"));
        assert!(text(&["client"]).contains("CLIENT SETNAME"));
        assert!(text(&["setex"]).contains("deprecated"));
        assert!(text(&["nope"]).contains("No command"));
        assert!(text(&["@nope"]).contains("No group"));
    }

    #[test]
    fn every_command_is_in_a_group_that_help_lists() {
        let listed: String = GROUPS.iter().map(|group| text(&[&format!("@{}", group.name())])).collect();
        for spec in COMMANDS.iter().filter(|spec| !spec.absent) {
            assert!(listed.contains(spec.summary), "{}", spec.name);
            assert!(text(&[]).contains(spec.group.name()), "{}", spec.name);
        }
    }
}
