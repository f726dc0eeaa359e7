//! docs/origins.md, line by line: what people know from the servers that kv grew out of works as the page says.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kvtests::process::Launch;
use kvtests::server_program;
use tempfile::TempDir;

/// A block of the page: its listener, and what is sent with what comes back, in order.
struct Block {
    listener: String,
    lines: Vec<(String, Vec<String>)>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut block: Option<Block> = None;
    for line in page.lines() {
        match (&mut block, line.strip_prefix("```conversation ")) {
            (None, Some(listener)) => block = Some(Block { listener: listener.to_owned(), lines: Vec::new() }),
            (Some(_), _) if line == "```" => blocks.extend(block.take()),
            (Some(open), _) => match (line.strip_prefix("> "), open.lines.last_mut()) {
                (Some(sent), _) => open.lines.push((sent.to_owned(), Vec::new())),
                (None, Some((_, replies))) => replies.push(line.to_owned()),
                (None, None) => panic!("a reply before anything is sent: {line}"),
            },
            (None, None) => {}
        }
    }
    blocks
}

/// The page's ports may be taken here.
fn on_any_port(listener: &str) -> String {
    let (before, after) = listener.split_once("127.0.0.1:").expect("an address of this machine");
    let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}127.0.0.1:0{rest}")
}

#[test]
fn every_line_of_the_page_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/origins.md");
    let page = fs::read_to_string(path).expect("the page");
    let blocks = blocks(&page);
    let ports = ["3490", "6379", "31337", "7171"];
    assert!(
        ports.iter().all(|port| blocks.iter().any(|block| block.listener.contains(port))),
        "each server has a block"
    );
    for Block { listener, lines } in blocks {
        let dir = TempDir::new().expect("a temporary directory");
        let server = Launch::new(server_program!(), dir.path()).listener(&on_any_port(&listener)).start();
        let mut wire = server.connect();
        let end = if listener.starts_with("resp") { "\r\n" } else { "\n" };
        for (sent, replies) in lines {
            println!("{listener}: {sent}");
            wire.send(format!("{sent}{end}"));
            if sent == "QUIT" {
                wire.expect_closed();
                break;
            }
            wire.expect(replies.iter().map(|line| format!("{line}{end}")).collect::<String>());
        }
    }
}

/// The flags that the page names are flags.
#[test]
fn every_flag_of_the_page_is_known() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/origins.md");
    let page = fs::read_to_string(path).expect("the page");
    let help = Launch::bare(server_program!()).arguments(["--help"]).run_to_end();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let is_of_a_flag = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let mut count = 0;
    for (at, _) in page.match_indices(" --").chain(page.match_indices("`--")) {
        let flag: String = page[at + 1..].chars().take_while(|letter| is_of_a_flag(*letter)).collect();
        assert!(help.contains(&flag), "{flag} is no flag of kvserver");
        count += 1;
    }
    assert!(count > 10, "{count} flags were found");
}
