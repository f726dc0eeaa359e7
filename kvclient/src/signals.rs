//! Ctrl-C: it ends a stream of messages, and otherwise the program. At the prompt it ends what runs, never the program.
//! While a file is written, so does SIGTERM.
//!
//! Invariant: outside of a stream and of the prompt Ctrl-C does what it does to every program. (While a line is typed it
//! never gets here: there it is a key like any other.)

use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Watches for Ctrl-C.
#[derive(Debug)]
pub struct Signals {
    /// Whether Ctrl-C ends the program.
    fatal: Arc<AtomicBool>,
    pressed: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to watch; from here on Ctrl-C is fatal outside of streams.
    pub fn install() -> io::Result<Signals> {
        let fatal = Arc::new(AtomicBool::new(true));
        let pressed = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&fatal))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&pressed))?;
        Ok(Signals { fatal, pressed })
    }

    /// From now on Ctrl-C is noted.
    pub fn begin_stream(&self) {
        self.pressed.store(false, Ordering::Relaxed);
        self.fatal.store(false, Ordering::Relaxed);
    }

    /// From now on Ctrl-C is noted, for as long as the program runs: the prompt outlives it.
    pub fn begin_prompt(&self) {
        self.begin_stream();
    }

    /// Returns the flag that Ctrl-C sets.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.pressed)
    }

    /// Forgets that Ctrl-C was pressed.
    pub fn clear(&self) {
        self.pressed.store(false, Ordering::Relaxed);
    }

    /// From now on Ctrl-C is noted, and so is SIGTERM, for as long as the program runs. For a program that does nothing
    /// afterwards. (SIGHUP is left alone: `nohup` has it ignored.)
    pub fn begin_file(&self) -> io::Result<()> {
        self.begin_stream();
        signal_hook::flag::register(SIGTERM, Arc::clone(&self.pressed))?;
        Ok(())
    }

    /// Whether Ctrl-C was pressed since the stream began.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// From now on Ctrl-C is fatal again.
    pub fn end_stream(&self) {
        self.fatal.store(true, Ordering::Relaxed);
    }
}
