//! Scripted exchanges: what a client says, and the bytes it must hear.
//!
//! Invariant: how TCP splits or joins a client's bytes changes no reply. Each conversation is therefore played in
//! every [`Delivery`], and must sound the same.

use std::io::Write;
use std::thread;

use crate::wire::{Wire, show};

/// How the bytes of a conversation travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A request goes out when the reply before it has come.
    EachRequest,
    /// Every byte is a write of its own, without waiting for replies.
    EachByte,
    /// Everything is sent in one write, before any reply is read.
    AtOnce,
}

impl Delivery {
    /// Every way there is.
    pub const ALL: [Delivery; 3] = [Delivery::EachRequest, Delivery::EachByte, Delivery::AtOnce];
}

#[derive(Clone, Debug)]
enum Hears {
    Exactly(Vec<u8>),
    /// One line that begins so; the rest is the server's choice of words.
    LineBeginning(Vec<u8>),
    /// The server closes the connection.
    End,
}

#[derive(Clone, Debug)]
struct Turn {
    says: Vec<u8>,
    hears: Hears,
}

/// What one client says and hears over one connection.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    turns: Vec<Turn>,
}

impl Conversation {
    /// One without words.
    pub fn new() -> Self {
        Self::default()
    }

    fn turn(mut self, says: &[u8], hears: Hears) -> Self {
        self.turns.push(Turn { says: says.to_vec(), hears });
        self
    }

    /// The client sends exactly `says`, and hears exactly `hears`.
    pub fn bytes(self, says: impl AsRef<[u8]>, hears: impl AsRef<[u8]>) -> Self {
        self.turn(says.as_ref(), Hears::Exactly(hears.as_ref().to_vec()))
    }

    /// The client sends the line `says`, and hears the line `hears`. Both are written without their line feed.
    pub fn line(self, says: impl AsRef<[u8]>, hears: impl AsRef<[u8]>) -> Self {
        self.bytes([says.as_ref(), b"\n"].concat(), [hears.as_ref(), b"\n"].concat())
    }

    /// The client sends the line `says`, and hears one line that begins with `hears`.
    pub fn line_beginning(self, says: impl AsRef<[u8]>, hears: &str) -> Self {
        let says = [says.as_ref(), b"\n"].concat();
        self.turn(&says, Hears::LineBeginning(hears.as_bytes().to_vec()))
    }

    /// The client sends the words of `says` as a RESP request, and hears exactly `hears`.
    pub fn resp(self, says: &str, hears: impl AsRef<[u8]>) -> Self {
        let words: Vec<&str> = says.split_ascii_whitespace().collect();
        self.bytes(crate::wire::request(&words), hears)
    }

    /// The client sends exactly `says`, and the server closes the connection without a word.
    pub fn closes(self, says: impl AsRef<[u8]>) -> Self {
        self.turn(says.as_ref(), Hears::End)
    }

    /// Plays it over `wire`, which can be used further if nothing in it closes the connection.
    ///
    /// # Panics
    ///
    /// When the client hears anything else.
    #[track_caller]
    pub fn play(&self, wire: &mut Wire, delivery: Delivery) {
        assert!(!self.turns.is_empty(), "a conversation without a word shows nothing");
        match delivery {
            Delivery::EachRequest => {
                for turn in &self.turns {
                    wire.send(&turn.says);
                    turn.hear(wire);
                }
            }
            Delivery::EachByte => self.play_while_writing(wire, 1),
            Delivery::AtOnce => self.play_while_writing(wire, usize::MAX),
        }
    }

    /// Writes everything in pieces of `piece` bytes on a thread of its own, so that replies larger than the socket's
    /// buffers cannot block both ends for ever.
    #[track_caller]
    fn play_while_writing(&self, wire: &mut Wire, piece: usize) {
        let everything = self.turns.iter().flat_map(|turn| turn.says.iter().copied()).collect::<Vec<u8>>();
        let mut writer = wire.writer();
        thread::scope(|scope| {
            scope.spawn(move || {
                for bytes in everything.chunks(piece) {
                    // An error means that the server closed; what the client hears tells whether it should have.
                    if writer.write_all(bytes).is_err() {
                        return;
                    }
                }
            });
            for turn in &self.turns {
                turn.hear(wire);
            }
        });
    }
}

impl Turn {
    #[track_caller]
    fn hear(&self, wire: &mut Wire) {
        match &self.hears {
            Hears::Exactly(expected) => {
                if let Err(difference) = wire.compare(expected) {
                    panic!("said     {}\n{difference}", show(&self.says));
                }
            }
            Hears::LineBeginning(beginning) => {
                let heard = wire.line();
                assert!(
                    heard.starts_with(beginning),
                    "said {}\nexpected a line that begins {}\nreceived {}",
                    show(&self.says),
                    show(beginning),
                    show(&heard)
                );
            }
            Hears::End => wire.expect_closed(),
        }
    }
}
