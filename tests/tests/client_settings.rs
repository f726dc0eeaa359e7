//! The file of settings of `kvclient`: names for servers, how the prompt begins, and what is said of mistakes.
//!
//! Invariant: a file with a mistake sets nothing, and a command that names no server of it does not read it. Without
//! util-linux's `script`, which makes the pseudo-terminal, the tests of the prompt say so and pass.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::{Program, has_terminal, on_terminal};
use kvtests::server_program;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().start()
}

/// Writes a file that only its owner can read.
fn settings(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("config.toml");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its permissions");
    path
}

/// Runs the client to its end: the exit code, the output, the errors.
#[track_caller]
fn run(config: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    Program::start(Command::new(CLIENT).env("KVCLIENT_CONFIG", config).args(words)).finish()
}

#[test]
fn a_name_stands_for_a_url() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}/3", server.address(0));
    let path = settings(&dir, &format!("[servers.staging]\nurl = \"{url}\"\n"));
    let quiet = |output: &str| (Some(0), output.to_owned(), String::new());
    assert_eq!(run(&path, &["-u", "@staging", "SET", "k", "v"]), quiet("OK\n"));
    assert_eq!(run(&path, &["-u", &url, "GET", "k"]), quiet("v\n"));
    // Flags win over the URL, and --config over the variable.
    assert_eq!(run(&path, &["-u", "@staging", "-n", "0", "EXISTS", "k"]), quiet("0\n"));
    let config = path.display().to_string();
    assert_eq!(run(Path::new("/nothing"), &["--config", &config, "-u", "@staging", "DBSIZE"]), quiet("1\n"));
    let mut variable = Command::new(CLIENT);
    variable.envs([("KVCLIENT_CONFIG", config.as_str()), ("KVCLIENT_URL", "@staging")]).arg("DBSIZE");
    assert_eq!(Program::start(&mut variable).finish(), quiet("1\n"));
    let (code, output, errors) = run(&path, &["-u", "@stagin", "PING"]);
    assert_eq!((code, output.as_str()), (Some(2), ""), "{errors}");
    assert_eq!(errors, "kvclient: no server is named @stagin; is @staging meant?; there are @staging\n");
}

#[test]
fn every_mistake_is_shown_with_its_line_and_only_where_the_file_is_needed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let path = settings(&dir, "[prompt]\ntimign = true\nkeys = 1\n\n[servers.a]\nurl = \"redis://me:secret@h:x\"\n");
    let (code, output, errors) = run(&path, &["-u", "@a", "PING"]);
    assert_eq!((code, output.as_str()), (Some(2), ""), "{errors}");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    for (line, expected) in lines.iter().zip([
        "line 2: no setting is named timign; is timing meant?",
        "line 3: keys is true or false",
        "line 6: the server's address is wrong: the port is no number up to 65535",
    ]) {
        assert!(line.starts_with(&format!("kvclient: {}: {expected}", path.display())), "{errors}");
    }
    assert!(!errors.contains("secret"), "{errors}");
    let url = format!("redis://{}", server.address(0));
    assert_eq!(run(&path, &["-u", &url, "PING"]), (Some(0), "PONG\n".to_owned(), String::new()));
    let (code, _, errors) = run(&dir.path().join("none"), &["-u", "@a", "PING"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("none: No such file or directory"), "{errors}");
}

#[test]
fn a_password_that_others_can_read_is_warned_of() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut text = format!("[servers.open]\nurl = \"redis://{}\"\n", server.address(0));
    let warned = |text: &str, mode: u32| {
        let path = settings(&dir, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its permissions");
        let (code, output, errors) = run(&path, &["-u", "@open", "PING"]);
        assert_eq!((code, output.as_str()), (Some(0), "PONG\n"), "{errors}");
        errors.contains("holds a password, and other users can read it: chmod 600 ")
    };
    assert!(!warned(&text, 0o644));
    text += "[servers.closed]\nurl = \"redis://:secret@h\"\n";
    assert!(warned(&text, 0o644) && warned(&text, 0o640) && !warned(&text, 0o600));
}

#[test]
fn the_prompt_begins_as_the_file_says_and_goes_to_servers_by_name() {
    if !has_terminal() {
        return;
    }
    let dirs = [(); 2].map(|()| TempDir::new().expect("a temporary directory"));
    let servers = [server(&dirs[0]), server(&dirs[1])];
    let history = dirs[0].path().join("typed");
    let path = settings(
        &dirs[0],
        &format!(
            "[prompt]\nformat = \"json\"\ntiming = true\nconfirm = false\ntext = \"{{server}}{{db}}{{state}} $ \"\n\
             history = \"{}\"\n[servers.one]\nurl = \"redis://{}\"\n[servers.second]\nurl = \"redis://{}/2\"\n",
            history.display(),
            servers[0].address(0),
            servers[1].address(0),
        ),
    );
    let words = format!("--config {} -u @one", path.display());
    let mut command = on_terminal(CLIENT, &words, &history);
    command.env_remove("KVCLIENT_HISTORY");
    let mut client = Program::start(&mut command);
    let mut types = |line: &str, reply: &str, prompt: &str| {
        client.say(format!("{line}\r"));
        client.hear(reply);
        client.hear(prompt);
    };
    types("", "one $ ", "one $ ");
    types("SET k v", "\"OK\"\r\n(", "one $ ");
    types("FLUSHALL", "\"OK\"\r\n(", "one $ ");
    types("MULTI", "\"OK\"\r\n(", "one(TX) $ ");
    types("DISCARD", "\"OK\"\r\n(", "one $ ");
    types(":connect @secnd", "no server is named @secnd; is @second meant?; there are @one @second", "one $ ");
    // Tab completes the name.
    types(":connect @se\t", "Connected to ", "second[2] $ ");
    types("SELECT 0", "\"OK\"", "second $ ");
    types("connect @one", "Connected to ", "one $ ");
    types(":quit", "Goodbye.", "");
    let kept = fs::read_to_string(&history).expect("the history");
    assert!(kept.contains("connect @one"), "{kept}");
}
