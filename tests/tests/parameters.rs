//! CONFIG SET of parameters that say how values are kept: what it changes, and that it changes no answer.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wire::Wire;

fn server() -> ServerProcess {
    Launch::bare(server_program!()).arguments(["--memory-only"]).resp().start()
}

fn add(wire: &mut Wire, key: &str, elements: std::ops::Range<u32>) {
    for element in elements {
        wire.integer(&format!("PFADD {key} {element}"));
    }
}

#[test]
fn a_sketch_stays_sparse_as_long_as_it_is_told_to() {
    let server = server();
    let mut wire = server.connect();
    for (max, form) in [("18", "dense"), ("3000", "sparse"), ("0", "dense"), ("32kb", "sparse")] {
        wire.ask(&format!("CONFIG SET hll-sparse-max-bytes {max}"), "+OK\r\n");
        wire.command("DEL k merged");
        add(&mut wire, "k", 0..300);
        wire.ask("PFDEBUG ENCODING k", format!("+{form}\r\n"));
        wire.ask("PFMERGE merged k", "+OK\r\n");
        wire.ask("PFDEBUG ENCODING merged", format!("+{form}\r\n"));
        let estimate = wire.integer("PFCOUNT k");
        assert!((290..=310).contains(&estimate), "{estimate} of 300");
        assert_eq!(wire.integer("PFCOUNT merged"), estimate);
    }
    // Inside EXEC too, and of a value that is there already.
    add(&mut wire, "k", 300..5000);
    wire.ask("PFDEBUG ENCODING k", "+sparse\r\n");
    assert!(wire.integer("STRLEN k") > 3000);
    wire.ask("CONFIG SET hll-sparse-max-bytes 3000", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("PFADD k a b c d e f g h", "+QUEUED\r\n");
    wire.ask("EXEC", "*1\r\n:1\r\n");
    wire.ask("PFDEBUG ENCODING k", "+dense\r\n");
}

#[test]
fn how_uses_are_counted_can_be_said() {
    let server = server();
    let mut wire = server.connect();
    let frequency = |factor: u32, wire: &mut Wire| {
        wire.ask(
            &format!("CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor {factor} lfu-decay-time 0"),
            "+OK\r\n",
        );
        wire.ask("SET k v", "+OK\r\n");
        // What is known of a key goes with it.
        wire.command("DEL k");
        wire.ask("SET k v", "+OK\r\n");
        (0..100).for_each(|_| wire.ask("GET k", "$1\r\nv\r\n"));
        wire.integer("OBJECT FREQ k")
    };
    assert_eq!(frequency(0, &mut wire), 105, "each use counts");
    let hardly = frequency(100_000, &mut wire);
    assert!((5..10).contains(&hardly), "{hardly}");
    for (name, value) in [("lfu-log-factor", "100000"), ("lfu-decay-time", "0")] {
        let shown = format!("*2\r\n${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len());
        wire.ask(&format!("CONFIG GET {name}"), shown);
    }
}
