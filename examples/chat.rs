//! A chat over a server: messages are published as they are said, and kept for a week for those who join later.
//!
//! ```sh
//! cargo run -p kvexamples --example chat                                             # three who chat with each other
//! cargo run -p kvexamples --example chat -- --join Ada --url redis://127.0.0.1:6379   # you, at a running server
//! ```
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use kvclient::{Client, Message, Subscription};
use kvserver::Server;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Where messages are published, and what the keys of those that are kept begin with.
const CHANNEL: &str = "chat:lobby";
/// The key of the number of the newest message.
const NEWEST: &str = "chat:lobby:newest";
/// How many old messages are shown to whoever joins.
const SHOWN: i64 = 20;
const KEPT_SECONDS: &str = "604800";
/// How long a participant of this program waits for a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The side of a participant that talks.
struct Speaker {
    name: String,
    client: Client,
}

/// The side that listens.
struct Listener {
    messages: Subscription,
    /// The newest message that was kept when the participant joined. All after it come as they are published.
    joined_at: i64,
}

/// Joins the chat; returns the messages before that, too, by their numbers.
fn join(url: &str, name: &str) -> Result<(Speaker, Listener, BTreeMap<i64, String>), Error> {
    let mut client = Client::connect(url)?;
    // First the subscription, then the history: a message in between is in both, and none is in neither.
    let messages = client.subscribe([CHANNEL])?;
    let joined_at: i64 = client.get(NEWEST)?.unwrap_or(0);
    let numbers: Vec<i64> = ((joined_at - SHOWN + 1).max(1)..=joined_at).collect();
    let mut history = BTreeMap::new();
    if !numbers.is_empty() {
        let kept: Vec<Option<String>> = client.mget(numbers.iter().map(|number| format!("{CHANNEL}:{number}")))?;
        history.extend(numbers.into_iter().zip(kept).filter_map(|(number, line)| Some((number, line?))));
    }
    Ok((Speaker { name: name.to_owned(), client }, Listener { messages, joined_at }, history))
}

impl Speaker {
    /// Says something to all who listen.
    fn say(&mut self, text: &str) -> Result<(), Error> {
        let line = format!("{}: {text}", self.name);
        // The number, the kept message and the publication are one step. If someone else takes the number, all of it is
        // tried again with the next.
        self.client.transact::<()>([NEWEST], |client, commands| {
            let number = (client.get::<i64>(NEWEST)?.unwrap_or(0) + 1).to_string();
            commands.add(["SET", NEWEST, &number]);
            commands.add(["SET", &format!("{CHANNEL}:{number}"), &line, "EX", KEPT_SECONDS]);
            commands.add(["PUBLISH", CHANNEL, &format!("{number} {line}")]);
            Ok(())
        })?;
        Ok(())
    }
}

impl Listener {
    /// Waits for the next message; `None` if there is none within `patience`.
    fn next(&mut self, patience: Duration) -> Result<Option<(i64, String)>, Error> {
        while let Some(Message { payload, .. }) = self.messages.next_within(patience)? {
            let message = String::from_utf8_lossy(&payload).into_owned();
            // Anyone may publish anything.
            let Some((number, line)) = message.split_once(' ') else { continue };
            match number.parse() {
                Ok(number) if number > self.joined_at => return Ok(Some((number, line.to_owned()))),
                _ => {} // in the history
            }
        }
        Ok(None)
    }
}

/// Prints a message, without what could change the terminal.
fn show(number: i64, line: &str) {
    println!("{number:>4} {}", line.replace(char::is_control, "?"));
}

/// For people: lines from the standard input are said, until it ends.
fn talk(url: &str, name: &str) -> Result<(), Error> {
    let (mut speaker, mut listener, history) = join(url, name)?;
    history.iter().for_each(|(number, line)| show(*number, line));
    thread::spawn(move || {
        loop {
            match listener.next(PATIENCE) {
                Ok(Some((number, line))) => show(number, &line),
                Ok(None) => {}
                Err(error) => {
                    eprintln!("{error}");
                    std::process::exit(1);
                }
            }
        }
    });
    for line in std::io::stdin().lines() {
        speaker.say(&line?)?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--join", name] => return talk("redis://127.0.0.1:6379", name),
        ["--join", name, "--url", url] => return talk(url, name),
        _ => return Err("usage: chat [--join NAME [--url URL]]".into()),
    }

    let server = Server::builder().store(kvcore::Db::in_memory()).listen("resp://127.0.0.1:0".parse()?).start()?;
    let url = format!("redis://{}", server.addresses()[0].tcp().ok_or("not a TCP address")?);
    let (mut ada, mut ada_hears, _) = join(&url, "Ada")?;
    let (mut brian, mut brian_hears, _) = join(&url, "Brian")?;
    ada.say("Is anybody here?")?;
    brian.say("I am.")?;
    let (mut cleo, mut cleo_hears, history) = join(&url, "Cleo")?;
    assert_eq!(history.values().collect::<Vec<_>>(), ["Ada: Is anybody here?", "Brian: I am."]);

    // All at once.
    thread::scope(|scope| {
        let talking = [&mut ada, &mut brian, &mut cleo].map(|speaker| {
            scope.spawn(move || ["one", "two", "three"].iter().try_for_each(|number| speaker.say(number)))
        });
        talking.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a speaker panicked")?)
    })?;

    // Each hears everything, once; what was said before Cleo came she has from the history.
    let mut heard = Vec::new();
    for (listener, mut lines) in
        [(&mut ada_hears, BTreeMap::new()), (&mut brian_hears, BTreeMap::new()), (&mut cleo_hears, history)]
    {
        while lines.len() < 11 {
            let (number, line) = listener.next(PATIENCE)?.ok_or("a message is missing")?;
            assert_eq!(lines.insert(number, line), None);
        }
        heard.push(lines);
    }
    heard[0].iter().for_each(|(number, line)| show(*number, line));
    assert!(heard.iter().all(|lines| *lines == heard[0]));
    server.shutdown()?;
    Ok(())
}
