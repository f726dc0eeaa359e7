//! A server that stores nothing: what the load test measures of the system alone.
//!
//! Invariant: each line gets exactly one line; the same calls to the system are made as by any server with one event loop.
//!
//! ```sh
//! cargo run --profile dist -p kvclient --example floor -- 127.0.0.1:7272
//! kvclient bench -u line://127.0.0.1:7171 -u line://127.0.0.1:7272 --rounds 6    # kvserver, and this
//! ```

#![forbid(unsafe_code)]

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);
const VALUE: &[u8] = b"OK 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

struct Connection {
    stream: TcpStream,
    /// A line whose end has not arrived.
    begun: Vec<u8>,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7272".to_owned());
    let mut listener = TcpListener::bind(address.parse().map_err(io::Error::other)?)?;
    println!("replies to lines on {}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let (mut input, mut output) = (vec![0; 64 * 1024], Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(connections.len()), Interest::READABLE)?;
                    connections.push(Some(Connection { stream, begun: Vec::new() }));
                }
            } else if let Some(place) = connections.get_mut(event.token().0)
                && let Some(connection) = place
                && !serve(connection, &mut input, &mut output)
            {
                *place = None;
            }
        }
    }
}

/// Replies to what has arrived; returns whether the connection goes on.
fn serve(connection: &mut Connection, input: &mut [u8], output: &mut Vec<u8>) -> bool {
    loop {
        let count = match connection.stream.read(input) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        output.clear();
        for piece in input.get(..count).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            connection.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                output.extend_from_slice(reply(&connection.begun));
                connection.begun.clear();
            }
        }
        // A client that does not read its replies is not what this is for.
        if connection.stream.write_all(output).is_err() {
            return false;
        }
        if count < input.len() {
            return true;
        }
    }
}

fn reply(line: &[u8]) -> &'static [u8] {
    match line.split(|byte| byte.is_ascii_whitespace()).next() {
        Some(b"GET") => VALUE,
        Some(b"PUT") => b"OK stored\n",
        Some(b"PING") => b"OK PONG\n",
        _ => b"ERROR unknown command\n",
    }
}
