//! The rest of a paste that is not run.
//!
//! Invariant: what a terminal sends of it later is dropped, too; and the terminal is left as it was found.

use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::io;
use std::time::{Duration, Instant};

/// What a terminal sends behind a paste.
const PASTE_END: &[u8] = b"\x1b[201~";
/// A paste has ended when nothing has come for so long, in tenths of a second.
const QUIET_TENTHS: u8 = 2;
/// For how long at most a paste is dropped.
const DROP_MAX: Duration = Duration::from_secs(30);

/// Reads and drops what comes until the end of a paste, or until nothing comes any more.
///
/// # Errors
///
/// Standard input is no terminal, or it is gone.
pub fn drop_rest() -> io::Result<()> {
    let terminal = io::stdin();
    let before = tcgetattr(&terminal)?;
    let mut raw = before.clone();
    raw.make_raw();
    // A read returns what there is, or nothing once it was quiet.
    raw.special_codes[SpecialCodeIndex::VMIN] = 0;
    raw.special_codes[SpecialCodeIndex::VTIME] = QUIET_TENTHS;
    tcsetattr(&terminal, OptionalActions::Now, &raw)?;
    let begun = Instant::now();
    let mut tail = Vec::new();
    let mut bytes = [0; 4096];
    let dropped = loop {
        match rustix::io::read(&terminal, &mut bytes) {
            Ok(0) => break Ok(()),
            Ok(count) => tail.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => break Err(error.into()),
        }
        let is_over = tail.windows(PASTE_END.len()).any(|window| window == PASTE_END);
        if is_over || begun.elapsed() > DROP_MAX {
            break Ok(());
        }
        // The mark may come in two pieces.
        tail.drain(..tail.len().saturating_sub(PASTE_END.len() - 1));
    };
    tcsetattr(&terminal, OptionalActions::Now, &before)?;
    dropped
}
