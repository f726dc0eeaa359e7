//! How an event loop divides its time among connections.
//!
//! Invariant: what is asserted is how often the loop came round, which the commands' own times make certain, and never how
//! long anything took.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use kvcore::Db;
use kvserver::Server;
use support::Client;

/// Longer than a turn.
const SLOW: &str = "DEBUG SLEEP 0.003\r\n";

fn serve() -> Server {
    let places = "resp://127.0.0.1:0".parse().unwrap();
    Server::builder().store(Db::in_memory()).listen(places).loops(1).debug_commands(true).start().unwrap()
}

/// How often the loops have come round, in the reply to INFO that comes next.
fn cycles(client: &mut Client) -> u64 {
    let info = client.bulk();
    let field = info.lines().find_map(|line| line.strip_prefix("eventloop_cycles:")).unwrap();
    field.parse().unwrap()
}

/// A turn was bounded by the number of its requests: 60 LCS of 11 KB took 5.4 s, in one turn.
#[test]
fn a_turn_ends_when_its_time_has_passed() {
    let server = serve();
    let mut client = Client::of(&server);
    client.send(["INFO stats\r\n", &SLOW.repeat(20), "INFO stats\r\n"].concat());
    let before = cycles(&mut client);
    client.expect("+OK\r\n".repeat(20));
    let after = cycles(&mut client);
    assert!(after - before >= 20, "20 slow commands in {} iterations", after - before);
}

/// Many that have much to do share a part of each iteration, so that it ends in time for all others.
#[test]
fn an_iteration_ends_although_many_have_more_to_do() {
    let server = serve();
    let mut observer = Client::of(&server);
    let mut busy: Vec<Client> = (0..16).map(|_| Client::of(&server)).collect();
    for client in &mut busy {
        client.ask("PING", "+PONG\r\n");
    }
    observer.send("INFO stats\r\n");
    let before = cycles(&mut observer);
    for client in &mut busy {
        client.send(SLOW.repeat(6));
    }
    for client in &mut busy {
        client.expect("+OK\r\n".repeat(6));
    }
    observer.send("INFO stats\r\n");
    let after = cycles(&mut observer);
    // The first of each comes with its request. Of the 80 others at most four fit into the time of one iteration; if all 16
    // came round in each, there would be five more iterations than one for each request that arrives.
    assert!(after - before >= 20, "96 slow commands in {} iterations", after - before);
}
