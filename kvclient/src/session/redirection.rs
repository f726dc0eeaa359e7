//! What a node of a cluster says about where a key is: `MOVED 3999 127.0.0.1:6381`, `ASK 3999 127.0.0.1:6381`.
//!
//! Invariant: only a text whose slot, host and port can be ones is a redirection; a host holds no character that could
//! command a terminal or be read as anything but the name or address of a host.

/// How many slots a cluster has.
const SLOTS: u16 = 16384;
/// The longest name of a host, in bytes.
const HOST_BYTES_MAX: usize = 253;

/// Where a server redirects a request to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The slot that the request's keys are in.
    pub slot: u16,
    /// Empty: the host of the node that says so.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The slot is on its way there: the node takes the request behind ASKING only.
    pub is_asking: bool,
}

impl Redirection {
    /// Reads the text of an error reply; `None` if it is another error, or makes no sense.
    pub fn parse(text: &str) -> Option<Redirection> {
        let mut words = text.split(' ');
        let is_asking = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = number(words.next()?).filter(|slot| *slot < SLOTS)?;
        // The colons of an IPv6 address stand without brackets.
        let (host, port) = words.next()?.rsplit_once(':')?;
        let port = number(port).filter(|port| *port != 0)?;
        let is_host = host.len() <= HOST_BYTES_MAX
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
        (is_host && words.next().is_none()).then(|| Redirection { slot, host: host.to_owned(), port, is_asking })
    }
}

/// Reads a number that is digits alone.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_slot_host_and_port() {
        let read = |text: &str| {
            let found = Redirection::parse(text)?;
            Some((found.slot, found.host, found.port, found.is_asking))
        };
        assert_eq!(read("MOVED 3999 127.0.0.1:6381"), Some((3999, "127.0.0.1".to_owned(), 6381, false)));
        assert_eq!(read("ASK 0 node-1.example:1"), Some((0, "node-1.example".to_owned(), 1, true)));
        assert_eq!(read("MOVED 16383 ::1:7000"), Some((16383, "::1".to_owned(), 7000, false)));
        assert_eq!(read("MOVED 1 :7000"), Some((1, String::new(), 7000, false)));
        let long = format!("MOVED 1 {}:1", "h".repeat(254));
        for text in [
            "MOVED",
            "MOVED 1",
            "MOVED 16384 h:1",
            "MOVED +1 h:1",
            "MOVED -1 h:1",
            "MOVED 1 h",
            "MOVED 1 h:0",
            "MOVED 1 h:65536",
            "MOVED 1 h:+1",
            "MOVED 1 ?:1",
            "MOVED 1 me:pw@h:1",
            "MOVED 1 redis://h:1",
            "MOVED 1 h\x1b[2J:1",
            "MOVED 1 h:1 more",
            "MOVED  1 h:1",
            "moved 1 h:1",
            "ERR 1 h:1",
            &long,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
