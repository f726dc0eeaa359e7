//! `kvclient bench` against a real server: what it counts, how it ends, and what its report says.
//!
//! Invariant: nothing in here depends on how fast anything is; reports are checked against docs/bench-schema.md.

#![forbid(unsafe_code)]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::Program;
use kvtests::reference::Reference;
use kvtests::server_program;
use kvtests::wait;
use serde_json::Value;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");

fn server(dir: &TempDir) -> ServerProcess {
    let launch = Launch::new(server_program!(), dir.path()).durability("os").resp();
    launch.line("terse").line("plain").line("verbose").start()
}

fn bench(words: &[&str]) -> Command {
    let mut command = Command::new(CLIENT);
    command.arg("bench").args(words).env_remove("KVCLIENT_URL").env_remove("REDISCLI_AUTH");
    command
}

/// Runs the load test to its end: the exit code, the report on standard output, the text on standard error.
#[track_caller]
fn run(words: &[&str]) -> (Option<i32>, Value, String) {
    finish(Program::start(&mut bench(words)))
}

#[track_caller]
fn finish(program: Program) -> (Option<i32>, Value, String) {
    let (code, output, errors) = program.finish();
    let report = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}\n{errors}"));
    check(&report);
    (code, report, errors)
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[track_caller]
fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Checks what holds for every report.
#[track_caller]
fn check(report: &Value) {
    assert_eq!((report["format"].as_str(), number(&report["version"])), (Some("kvclient-bench"), 1));
    assert!(number(&report["started_unix_ms"]) > 0 && number(&report["machine"]["cores"]) > 0);
    assert_eq!(report["failure"].is_string(), report["ended"] == "failed", "{report:#}");
    for run in list(&report["runs"]) {
        let summed = |field: &str| list(&run["operations"]).iter().map(|part| number(&part[field])).sum::<u64>();
        for field in ["count", "hits", "misses", "errors"] {
            assert_eq!(summed(field), number(&run["totals"][field]), "{field}: {run:#}");
        }
        let in_series =
            |field: &str| list(&run["series"]["points"]).iter().map(|part| number(&part[field])).sum::<u64>();
        assert_eq!(in_series("requests"), number(&run["totals"]["count"]));
        assert_eq!(in_series("errors"), number(&run["totals"]["errors"]));
        assert!(list(&run["series"]["points"]).len() <= 600);
        for summary in list(&run["operations"]).iter().chain([&run["totals"]]) {
            check_summary(summary);
        }
    }
}

#[track_caller]
fn check_summary(summary: &Value) {
    let kinds = summary["errors_by_kind"].as_object().expect("errors by kind");
    assert_eq!(kinds.values().map(number).sum::<u64>(), number(&summary["errors"]), "{summary:#}");
    if summary["name"] == "GET" {
        let ended = ["hits", "misses", "errors"].map(|field| number(&summary[field]));
        assert_eq!(ended.iter().sum::<u64>(), number(&summary["count"]), "{summary:#}");
    }
    let latency = &summary["latency_us"];
    if latency.is_null() {
        return;
    }
    let ascending = ["min", "p50", "p90", "p95", "p99", "p99_9", "max"].map(|field| float(&latency[field]));
    assert!(ascending.is_sorted(), "{latency:#}");
    assert!(ascending[0] > 0.0 && (ascending[0]..=ascending[6]).contains(&float(&latency["mean"])), "{latency:#}");
    let curve = list(&summary["percentiles"]);
    let column = |field: &str| curve.iter().map(|point| float(&point[field])).collect::<Vec<_>>();
    assert!(column("percentile").is_sorted() && column("latency_us").is_sorted(), "{summary:#}");
    assert_eq!((column("percentile").first(), column("percentile").last()), (Some(&0.0), Some(&100.0)));
}

fn operation<'r>(report: &'r Value, name: &str) -> &'r Value {
    let found = list(&report["runs"][0]["operations"]).iter().find(|operation| operation["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[test]
fn every_request_is_counted_over_every_protocol() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let urls = [0, 1, 2, 3].map(|listener| {
        let scheme = if listener == 0 { "redis" } else { "line" };
        format!("{scheme}://{}", server.address(listener))
    });
    for url in &urls {
        for mode in [
            &["--pipeline", "7"][..],
            &["--threads", "2", "--distribution", "zipf"],
            &["--distribution", "gaussian:10:5"],
            &["--rate", "20000"],
        ] {
            let words = ["-u", url, "--connections", "4", "--requests", "150", "--keys", "50", "--ttl", "1000"];
            let (code, report, errors) = run(&[&words, mode].concat());
            assert_eq!((code, report["ended"].as_str()), (Some(0), Some("completed")), "{url} {mode:?}: {errors}");
            let totals = &report["runs"][0]["totals"];
            assert_eq!((number(&totals["count"]), number(&totals["errors"])), (600, 0), "{url} {mode:?}: {totals:#}");
            // What GET asks for, this run has stored.
            assert_eq!(number(&operation(&report, "GET")["misses"]), 0, "{url} {mode:?}");
            assert!(number(&operation(&report, "GET")["hits"]) > 0 && number(&operation(&report, "PUT")["count"]) > 0);
            assert_eq!(report["runs"][0]["server"]["software"], "kvserver", "{url}");
            assert!(errors.contains("target met") && errors.contains("p99.9"), "{errors}");
        }
    }
}

#[test]
fn a_new_connection_for_some_requests_loses_none_of_them() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).durability("os").resp().line("terse");
    let server = launch.arguments(["--requirepass", "secret"]).start();
    let mut wire = server.connect();
    wire.ask("AUTH secret", "+OK\r\n");
    let mut received = || {
        let text = wire.text("INFO stats");
        let (_, rest) = text.split_once("total_connections_received:").expect("the number of connections");
        rest.split("\r\n").next().and_then(|digits| digits.parse::<u64>().ok()).expect("a number")
    };
    for url in [format!("redis://:secret@{}/1", server.address(0)), format!("line://:secret@{}/1", server.address(1))] {
        // 40 requests of each of 4 connections: a connection, and as many more as are needed.
        for (mode, opened) in [
            (&["--reconnect", "1"][..], 39 * 4),
            (&["--reconnect", "7", "--pipeline", "3", "--threads", "2"], 5 * 4),
            (&["--reconnect", "40"], 0),
        ] {
            let words = ["-u", &url, "--connections", "4", "--requests", "40", "--keys", "20", "--idle", "3"];
            let before = received();
            let (code, report, errors) = run(&[&words, mode].concat());
            assert_eq!(code, Some(0), "{url} {mode:?}: {errors}");
            let run = &report["runs"][0];
            let totals = &run["totals"];
            assert_eq!((number(&totals["count"]), number(&totals["errors"]), number(&totals["misses"])), (160, 0, 0));
            assert_eq!(number(&run["reconnects"]), opened, "{url} {mode:?}");
            // Four that carry requests, three idle ones, and the one that asks for the processor time.
            assert_eq!(received() - before, 8 + opened, "{url} {mode:?}");
            assert_eq!((number(&report["settings"]["idle"]), number(&run["idle_closed"])), (3, 0));
        }
        let words = ["-u", &url, "--connections", "2", "--requests", "30", "--rate", "5000", "--reconnect", "2"];
        let (code, report, errors) = run(&[&words[..], &["--pipeline", "4"]].concat());
        let run = &report["runs"][0];
        assert_eq!(
            (code, number(&run["totals"]["count"]), number(&run["totals"]["errors"])),
            (Some(0), 60, 0),
            "{errors}"
        );
        // Which connection carries how many is open: one of the two may be in the middle of its share.
        assert!((28..=29).contains(&number(&run["reconnects"])), "{run:#}");
    }
}

#[test]
fn a_server_that_takes_no_new_connections_ends_it() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let words = ["-u", &url, "--connections", "2", "--duration", "1h", "--ratio", "1", "--reconnect", "3"];
    let program = Program::start(&mut bench(&words));
    let mut wire = server.connect();
    wait::until_true("keys of the load test", || {
        wire.send("DBSIZE\r\n");
        wire.line() != b":0\r\n"
    });
    server.kill();
    let (code, report, errors) = finish(program);
    assert_eq!((code, report["ended"].as_str()), (Some(1), Some("failed")), "{errors}");
    assert!(number(&report["runs"][0]["totals"]["count"]) > 0, "{report:#}");
}

#[test]
fn times_to_live_are_of_the_range() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for (index, scheme) in [(0, "redis"), (1, "line"), (2, "line"), (3, "line")] {
        let url = format!("{scheme}://{}", server.address(index));
        let words = ["-u", &url, "--connections", "2", "--requests", "50", "--keys", "40", "--ttl", "5000-6000"];
        let (code, report, errors) = run(&words);
        assert_eq!((code, number(&report["runs"][0]["totals"]["errors"])), (Some(0), 0), "{errors}");
        assert_eq!((number(&report["settings"]["ttl_s"]), number(&report["settings"]["ttl_max_s"])), (5000, 6000));
        let mut found = Vec::new();
        for key in 0..40 {
            found.push(wire.integer(&format!("PTTL key:{key:012}")));
        }
        // How long ago they were stored is not known, but that it was no thousand seconds.
        assert!(found.iter().all(|ttl| (4_000_000..=6_000_000).contains(ttl)), "{found:?}");
        found.sort_unstable();
        found.dedup();
        assert!(found.len() > 20, "{found:?}");
        wire.ask("FLUSHALL", "+OK\r\n");
    }
}

#[test]
fn redis_and_valkey_are_measured_as_kv_is() {
    let servers = [Reference::start(&[]), Reference::start_valkey()];
    if servers.iter().all(Option::is_none) {
        println!("skipped: no redis-server of version 7.0 in PATH, and KV_VALKEY names no valkey-server");
    }
    for server in servers.iter().flatten() {
        let url = format!("redis://{}", server.address());
        let words = ["-u", &url, "--connections", "4", "--requests", "100", "--keys", "50", "--ttl", "50-60"];
        for mode in [&["--pipeline", "16"][..], &["--reconnect", "1", "--idle", "2"]] {
            let (code, report, errors) = run(&[&words, mode].concat());
            let run = &report["runs"][0];
            let totals = &run["totals"];
            assert_eq!((code, number(&totals["count"]), number(&totals["errors"])), (Some(0), 400, 0), "{errors}");
            assert_eq!(number(&operation(&report, "GET")["misses"]), 0);
            assert!(run["server"]["software"] == "redis" || run["server"]["software"] == "valkey", "{run:#}");
        }
        let (code, report, errors) = run(&["-u", &url, "--large", "--requests", "2"]);
        assert_eq!((code, list(&report["large"]["cells"]).len()), (Some(0), 9), "{errors}");
        let template = "SET key:{k} {v} EX 60";
        let words = ["-u", &url, "-u", &url, "--connections", "2", "--requests", "10", "--rounds", "1"];
        let (code, report, errors) = run(&[&words[..], &["--command", template]].concat());
        assert_eq!((code, number(&operation(&report, template)["errors"])), (Some(0), 0), "{errors}");
    }
}

#[test]
fn the_processor_time_of_the_server_is_reported() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let redis = Reference::start(&[]);
    let urls = [server.address(0)].into_iter().chain(redis.as_ref().map(Reference::address));
    for url in urls.map(|address| format!("redis://{address}")) {
        // Long enough for many ticks of the system's clock.
        let (code, report, errors) =
            run(&["-u", &url, "--connections", "4", "--requests", "10000", "--pipeline", "10"]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(float(&report["runs"][0]["server_cpu_us"]) > 0.0, "{report:#}");
        assert!(errors.contains("processor time of the server: "), "{errors}");
    }
}

#[test]
fn a_rate_that_is_not_kept_is_reported() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    // No server takes a request every nanosecond.
    let words = ["-u", &url, "--connections", "2", "--rate", "1000000000", "--duration", "100ms", "--keys", "10"];
    let (code, report, errors) = run(&words);
    let run = &report["runs"][0];
    assert_eq!((code, report["ended"].as_str()), (Some(0), Some("completed")), "{errors}");
    assert!(number(&run["unsent"]) > 0 && number(&run["totals"]["count"]) > 0, "{run:#}");
    assert!(errors.contains("the rate was not kept"), "{errors}");
}

#[test]
fn what_a_warm_up_sends_is_not_counted() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let words = ["-u", &url, "--connections", "3", "--requests", "11", "--warmup", "50ms", "--pipeline", "4"];
    for mode in [&[][..], &["--rate", "5000"]] {
        let (code, report, errors) = run(&[&words, mode].concat());
        assert_eq!((code, number(&report["runs"][0]["totals"]["count"])), (Some(0), 33), "{errors}");
    }
}

#[test]
fn host_and_port_speak_the_line_protocol_and_a_file_takes_the_report() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let port = server.address(1).port().to_string();
    let file = dir.path().join("report.json");
    let words = ["--host", "127.0.0.1", "--port", &port, "--connections", "2", "--requests", "20", "--output"];
    let path = file.to_str().expect("a path");
    let (code, tables, errors) = Program::start(&mut bench(&[&words[..], &[path]].concat())).finish();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{tables}");
    assert!(tables.contains("(line)") && tables.contains("hit rate"), "{tables}");
    check(&read(&file));
    let (code, report, errors) = run(&[&words[..8], &["--compare", path]].concat());
    assert_eq!((code, report["comparison"]["baseline"].as_str()), (Some(0), Some(path)), "{errors}");
    assert!(list(&report["comparison"]["ratios"]).iter().any(|ratio| ratio["operation"] == "GET"));
    // Ratios of different work say nothing.
    let (code, _, errors) =
        Program::start(&mut bench(&[&words[..8], &["--compare", path, "--pipeline", "2"]].concat())).finish();
    assert!(code == Some(2) && errors.contains("pipeline 1 and 2"), "{errors}");
}

#[track_caller]
fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).expect("the report");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn commands_are_templates_and_their_errors_are_told_apart() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let words = ["-u", &url, "--connections", "2", "--requests", "40", "--keys", "1", "--key-size", "4"];
    let set = "SET key:{k} {v} EX 60";
    let (code, report, errors) = run(&[&words[..], &["--command", set, "--command", "INCR key:{k}"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    let (set, incr) = (operation(&report, set), operation(&report, "INCR key:{k}"));
    assert_eq!(number(&set["count"]) + number(&incr["count"]), 80);
    assert_eq!(number(&set["errors"]), 0);
    let kinds = incr["errors_by_kind"].as_object().expect("errors by kind");
    assert!(kinds.keys().all(|kind| kind == "ERR value is not an integer or out of range"), "{kinds:?}");
    assert_eq!(kinds.len(), 1);
    let mut wire = server.connect();
    wire.send("STRLEN key:0000\r\n");
    assert_eq!(wire.line(), b":64\r\n");
}

#[test]
fn a_condition_that_holds_gives_exit_code_1() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let words = ["-u", &url, "--connections", "2", "--requests", "20", "--fail-if"];
    let (code, report, errors) = run(&[&words[..], &["errors>0,hit<0.99,rps<0.001,GET.p99>1000s"]].concat());
    assert_eq!((code, list(&report["fail_if"]).len()), (Some(0), 4), "{errors}");
    let (code, report, errors) = run(&[&words[..], &["errors>0,mean>0us"]].concat());
    assert_eq!((code, report["ended"].as_str()), (Some(1), Some("completed")));
    assert!(errors.contains("kvclient: --fail-if mean>0us") && !errors.contains("--fail-if errors>0"), "{errors}");
    // What is not measured cannot be vouched for.
    let (code, _, errors) = run(&[&words[..], &["hit<0.99", "--ratio", "1"]].concat());
    assert!(code == Some(1) && errors.contains("not measured"), "{errors}");
}

#[test]
fn a_refused_connection_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let (code, report, errors) = run(&["-u", &url]);
    assert_eq!((code, report["ended"].as_str()), (Some(1), Some("failed")));
    assert!(errors.contains("cannot connect to"), "{errors}");
}

#[test]
fn the_wrong_protocol_is_reported() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (code, _, errors) = run(&["-u", &format!("line://{}", server.address(0))]);
    assert!(code == Some(1) && errors.contains("does not speak the line protocol"), "{errors}");
    let (code, _, errors) = run(&["-u", &format!("redis://{}", server.address(1))]);
    assert!(code == Some(1) && errors.contains("is this a RESP port?"), "{errors}");
}

/// Starts a load test without an end, and waits until the server has stored something of it.
#[track_caller]
fn start_endless(server: &ServerProcess) -> Program {
    let url = format!("redis://{}", server.address(0));
    let words = ["-u", &url, "--connections", "4", "--ratio", "1", "--duration", "1h"];
    let program = Program::start(&mut bench(&words));
    let mut wire = server.connect();
    wait::until_true("keys of the load test", || {
        wire.send("DBSIZE\r\n");
        wire.line() != b":0\r\n"
    });
    program
}

#[test]
fn a_server_that_dies_leaves_the_results_so_far() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let program = start_endless(&server);
    server.kill();
    let (code, report, errors) = finish(program);
    assert_eq!((code, report["ended"].as_str()), (Some(1), Some("failed")), "{errors}");
    assert!(errors.contains("kvclient: the load test failed: the "), "{errors}");
    let totals = &report["runs"][0]["totals"];
    assert!(number(&totals["count"]) > 0 && number(&totals["errors"]) > 0, "{totals:#}");
}

#[test]
fn ctrl_c_ends_it_with_a_report() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let program = start_endless(&server);
    program.interrupt();
    let (code, report, errors) = finish(program);
    assert_eq!((code, report["ended"].as_str()), (Some(0), Some("interrupted")), "{errors}");
    assert!(errors.contains("Interrupted"), "{errors}");
}

#[test]
fn ctrl_c_ends_the_wait_for_a_server_that_says_nothing() {
    // The system takes the connection, and nobody replies on it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    for (scheme, mode) in [("redis", &[][..]), ("line", &[]), ("redis", &["--large"])] {
        let program = Program::start(&mut bench(&[&["-u", &format!("{scheme}://{address}")][..], mode].concat()));
        let (_connection, _) = silent.accept().expect("the load test's connection");
        let begin = Instant::now();
        program.interrupt();
        let (code, report, errors) = finish(program);
        assert_eq!((code, report["ended"].as_str()), (Some(0), Some("interrupted")), "{errors}");
        // By itself it would give up after thirty.
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

/// Ctrl-C was first looked at when the connect had failed, after five seconds.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_connect_that_gets_no_reply() {
    let full = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = full.local_addr().expect("its address");
    // The queue of new connections becomes the shortest there is, and then full: the system drops what comes next.
    rustix::net::listen(&full, 0).expect("a short queue");
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
    }
    let program = Program::start(&mut bench(&["-u", &format!("redis://{address}")]));
    // A row of the system's table: the remote address, and that the first packet was sent.
    let connecting = format!(" 0100007F:{:04X} 02 ", address.port());
    wait::until_true("the load test connects", || {
        std::fs::read_to_string("/proc/net/tcp").expect("the system's connections").contains(&connecting)
    });
    program.interrupt();
    let (code, report, errors) = finish(program);
    assert_eq!((code, report["ended"].as_str()), (Some(0), Some("interrupted")), "{errors}");
}

#[test]
fn a_login_is_needed_and_sent() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().line("terse");
    let server = launch.arguments(["--requirepass", "secret"]).start();
    let words = ["--connections", "2", "--requests", "5", "-u"];
    for (index, scheme) in [(0, "redis"), (1, "line")] {
        let address = server.address(index);
        let (code, report, errors) = run(&[&words[..], &[&format!("{scheme}://:secret@{address}/1")]].concat());
        assert_eq!((code, number(&report["runs"][0]["totals"]["errors"])), (Some(0), 0), "{errors}");
        let url = format!("{scheme}://{address}");
        let mut by_variable = bench(&[&words[..], &[&url]].concat());
        let (code, report, errors) = finish(Program::start(by_variable.env("REDISCLI_AUTH", "secret")));
        assert_eq!((code, report["ended"].as_str()), (Some(0), Some("completed")), "{errors}");
        assert!(!errors.contains("secret") && !report.to_string().contains("secret"));
        let (code, _, errors) = run(&[&words[..], &[&url]].concat());
        assert!(code == Some(1) && errors.contains("NOAUTH"), "{errors}");
    }
}

#[test]
fn two_servers_are_measured_in_turn() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (first, second) = (format!("redis://{}", server.address(0)), format!("line://{}", server.address(1)));
    let words = ["-u", &first, "-u", &second, "--connections", "2", "--requests", "10", "--rounds", "2"];
    let (code, report, errors) = run(&words);
    assert_eq!((code, report["kind"].as_str()), (Some(0), Some("comparison")), "{errors}");
    let order = list(&report["runs"]).iter().map(|run| run["server"]["protocol"].as_str().unwrap_or_default());
    assert_eq!(order.collect::<Vec<_>>(), ["resp", "line", "line", "resp"]);
    for ratio in list(&report["comparison"]["ratios"]) {
        let ascending = ["ratio_min", "ratio", "ratio_max"].map(|field| float(&ratio[field]));
        assert!(ascending.is_sorted(), "{ratio:#}");
    }
    assert!(errors.contains("spread"), "{errors}");
}

#[test]
fn a_server_measured_beside_itself_is_two_servers() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let words = ["-u", &url, "-u", &url, "--connections", "2", "--requests", "10", "--rounds", "2"];
    let (code, report, errors) = run(&words);
    assert_eq!(code, Some(0), "{errors}");
    // The second round is in the opposite order.
    let rates: Vec<f64> =
        list(&report["runs"]).iter().map(|run| float(&run["totals"]["requests_per_second"])).collect();
    let ratios = [rates[1] / rates[0], rates[2] / rates[3]];
    let is_of_all = |ratio: &&Value| ratio["operation"] == "all" && ratio["metric"] == "rps";
    let found = list(&report["comparison"]["ratios"]).iter().find(is_of_all).expect("a ratio of the rates");
    assert_eq!(float(&found["ratio_min"]), ratios[0].min(ratios[1]), "{found:#}");
    assert_eq!(float(&found["ratio_max"]), ratios[0].max(ratios[1]), "{found:#}");
}

#[test]
fn large_values_are_measured_cell_by_cell() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let (code, report, errors) = run(&["-u", &url, "--large", "--requests", "2"]);
    assert_eq!((code, report["kind"].as_str()), (Some(0), Some("large")), "{errors}");
    let cells = list(&report["large"]["cells"]);
    assert_eq!(cells.len(), 9);
    for times in cells.iter().flat_map(|cell| [&cell["set"], &cell["get"]]) {
        assert_eq!((number(&times["count"]), number(&times["errors"])), (10, 0));
        assert!(float(&times["p99_us"]) > 0.0 && float(&times["mean_us_min"]) <= float(&times["mean_us_max"]));
    }
    // With room for one of the keys, the others are evicted before they are read.
    let mut wire = server.connect();
    wire.ask("CONFIG SET maxmemory-policy allkeys-lru maxmemory 300kb", "+OK\r\n");
    let (code, report, errors) = run(&["-u", &url, "--large", "--requests", "8"]);
    assert!(code == Some(1) && errors.contains("found no value"), "{errors}");
    let get = &list(&report["large"]["cells"])[8]["get"];
    assert!(number(&get["errors"]) > 0 && number(&get["count"]) == 40, "{get:#}");
    wire.ask("CONFIG SET maxmemory 0", "+OK\r\n");
    // The terse style accepts 256 bytes by default.
    let (code, report, errors) = run(&["-u", &format!("line://{}", server.address(1)), "--large", "--requests", "2"]);
    assert_eq!((code, report["ended"].as_str()), (Some(1), Some("failed")));
    assert!(errors.contains("?max_key="), "{errors}");
}

#[test]
fn wrong_options_give_exit_code_2() {
    for words in [
        &["--ratio", "2"][..],
        &["--connections", "0"],
        &["--threads", "3", "--connections", "2"],
        &["--key-size", "2"],
        &["--command", "'"],
        &["--fail-if", "speed<1"],
        &["--ttl", "0-5"],
        &["--distribution", "gaussian:1:20000"],
        &["--reconnect", "0"],
        &["-u", "http://x"],
        &["-u", "a", "-u", "b", "-u", "c"],
        &["-u", "a", "-u", "b", "--large"],
        &["--nonsense"],
    ] {
        let (code, output, errors) = Program::start(&mut bench(words)).finish();
        assert_eq!((code, output.as_str()), (Some(2), ""), "{words:?}: {errors}");
        assert!(!errors.is_empty(), "{words:?}");
    }
    // Two servers are for the load test only.
    let (code, _, errors) = Program::start(Command::new(CLIENT).args(["-u", "a", "-u", "b", "PING"])).finish();
    assert!(code == Some(2) && errors.contains("once"), "{errors}");
}
