//! What can keep a server from starting, said so that the reader knows what to do.
//!
//! Invariant: every text names what failed, and where the system gave a reason, that too.

use std::io;

/// An error of starting or running a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener's URL is not one.
    #[error("'{url}' is not the URL of a listener: {why}")]
    BadUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A listener cannot be bound.
    #[error("cannot listen on {url}: {source}{}", listen_hint(source))]
    Listen {
        /// The listener.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// A listener would be open to the network without a password.
    #[error(
        "{url} is reachable from other machines and no password protects it: listen on 127.0.0.1, set a password with \
         --requirepass-file or users with --acl-file, or pass --insecure-listen if the network is trusted"
    )]
    Exposed {
        /// The listener.
        url: String,
    },
    /// The configuration cannot be read, or a line of it cannot be obeyed.
    #[error(transparent)]
    Configuration(#[from] kvconfig::Error),
    /// The file of users cannot be read, or has a fault.
    #[error("the users cannot be loaded: {why}")]
    Users {
        /// What is wrong, in one line.
        why: String,
    },
    /// The file with the password cannot be read, or holds none.
    #[error("cannot read the password from {path}: {why}")]
    Password {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The builder was given no store.
    #[error("a server needs a store: call Builder::store")]
    NoStore,
    /// The system refused a thread, a poll or a signal.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An event loop ended by a panic; the server stopped.
    #[error("an event loop failed; this is a bug in kvserver, its message is in the log")]
    LoopPanicked,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] kvcore::Error),
}

impl Error {
    /// Whether a listener cannot be bound because this machine has no such address.
    pub(crate) fn is_about_the_address(&self) -> bool {
        let others = [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied];
        matches!(self, Error::Listen { source, .. } if !others.contains(&source.kind()))
    }
}

/// The result of starting or running a server.
pub type Result<T> = std::result::Result<T, Error>;

fn listen_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => " (is another server running there? choose another port with --listen)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need a privilege)",
        _ => "",
    }
}
