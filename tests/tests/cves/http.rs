//! CVE-2016-10517: a web page makes a browser send HTTP to a server on the same machine, and its lines are executed.
//!
//! TLS is such a way, too: a server of the page's choice names bytes of the browser's next first message ("TLS Poison").
//!
//! Invariant: of a connection on which HTTP or TLS comes nothing more is executed, and nothing is sent on it.

use kvtests::process::ServerProcess;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, request};

use crate::launch;

/// The listeners, in their order.
const LISTENERS: [&str; 4] = ["resp", "terse", "plain", "verbose"];

fn server() -> ServerProcess {
    LISTENERS[1..].iter().fold(launch(), |launch, style| launch.line(style)).start()
}

/// The value of a field of INFO.
fn field(wire: &mut Wire, name: &str) -> u64 {
    let info = wire.text("INFO stats");
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {info}"))
}

const HEADERS: &str = "\r\nHost: 127.0.0.1:6379\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\nSET written by-body\r\n";

#[test]
fn cve_2016_10517_a_request_line_of_http_closes_the_connection() {
    let server = server();
    let mut admin = server.connect();
    admin.ask("SET kept v", "+OK\r\n");
    let mut sent = 0;
    for (listener, _) in LISTENERS.iter().enumerate() {
        for line in [
            "PUT written HTTP/1.1",
            "SET written HTTP/1.0",
            "DELETE kept HTTP/1.1",
            "GET /kept HTTP/1.1",
            "get / http/1.1",
            "POST / HTTP/1.1",
            "oPtIoNs * hTtP/1.1",
            "PRI * HTTP/2.0",
            "FLUSHALL  ASYNC\tHTTP/1.1 ",
            "PUT /\"unbalanced HTTP/1.1",
            "\x16\x03\x01\x02\0\x01",
        ] {
            let whole = format!("{line}{HEADERS}");
            let mut wire = Wire::connect(server.address(listener));
            wire.send(&whole);
            wire.expect_closed();
            // However it arrives, and behind a request that is none of HTTP.
            let mut wire = Wire::connect(server.address(listener));
            wire.send("PING\r\n");
            wire.line();
            for byte in line.bytes().chain("\nSET written x\n".bytes()) {
                if wire.try_send(&[byte]).is_err() {
                    break;
                }
            }
            wire.expect_closed();
            sent += 2;
        }
    }
    admin.ask("GET kept", bulk("v"));
    admin.ask("DBSIZE", ":1\r\n");
    assert_eq!(field(&mut admin, "rejected_http_requests"), sent);
    let warnings = || server.log().lines().filter(|line| line.contains("HTTP or TLS was sent")).count();
    wait::until_true("the warning", || warnings() > 0);
    assert!(warnings() <= 2, "a warning for each of {sent} connections fills the log");
    admin.ask("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!(field(&mut admin, "rejected_http_requests"), 0);
}

/// Where the request line did not look like one, or another listener has cut it off, the next line is this one.
#[test]
fn cve_2016_10517_words_that_only_http_begins_with_close_the_connection() {
    let server = server();
    let mut admin = server.connect();
    let mut sent = 0;
    for (listener, name) in LISTENERS.iter().enumerate() {
        for word in ["Host:", "host:", "HOST:localhost", "POST", "post"] {
            let after = "SET written x\r\n";
            let mut inputs = vec![format!("{word} 127.0.0.1\r\n{after}"), format!("{word}\r\n{after}")];
            if *name == "resp" {
                let array = String::from_utf8(request(&[word, "127.0.0.1"])).unwrap();
                inputs.push(format!("{array}{after}"));
                inputs.push(format!("MULTI\r\n{after}{array}EXEC\r\n"));
            }
            for input in inputs {
                let mut wire = Wire::connect(server.address(listener));
                wire.send(&input);
                if input.starts_with("MULTI") {
                    wire.expect("+OK\r\n+QUEUED\r\n");
                }
                wire.expect_closed();
                sent += 1;
            }
        }
    }
    admin.ask("DBSIZE", ":0\r\n");
    assert_eq!(field(&mut admin, "rejected_http_requests"), sent);
}

#[test]
fn cve_2016_10517_a_client_that_has_not_logged_in_is_cut_off_too() {
    let server = launch().arguments(["--requirepass", "foobared"]).start();
    let mut wire = server.connect();
    wire.send(format!("AUTH foobared HTTP/1.1{HEADERS}"));
    wire.expect_closed();
    let mut wire = server.connect();
    wire.send("Host: localhost\r\n");
    wire.expect_closed();
}

#[test]
fn words_of_http_are_data_like_any_other() {
    let server = server();
    let mut wire = server.connect();
    for word in ["GET / HTTP/1.1", "HTTP/1.1", "Host:", "POST"] {
        wire.send(request(&["SET", word, word]));
        wire.expect("+OK\r\n");
        wire.send(request(&["GET", word]));
        wire.expect(bulk(word));
    }
    // Inline, too, where they do not make it a request line.
    wire.send("SET k \"HTTP/1.1\"\r\nMSET a b c HTTP/1.1\r\nSET Host: POST\r\nECHO HTTP/1.1\r\n");
    wire.expect("+OK\r\n+OK\r\n+OK\r\n");
    wire.expect(bulk("HTTP/1.1"));
    let mut line = Wire::connect(server.address(1));
    line.send("SET Host: POST\n");
    line.expect("OK stored\n");
    assert_eq!(field(&mut wire, "rejected_http_requests"), 0);
}
