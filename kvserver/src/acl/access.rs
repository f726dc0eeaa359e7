//! What one session may do, and the check of its requests against that.
//!
//! Invariant: a session that is permitted everything is told so by one comparison. Every other request of every other
//! session comes through [`admit`], before it is queued or carried out, and again at EXEC.

use std::sync::Arc;
use std::time::Instant;

use kvproto::spec::Flag;
use kvproto::{CommandError, Request, Spec};

use super::log::{Reason, Refused};
use super::{Account, Acl, Denial, User};
use crate::session::Session;
use crate::state::ServerState;

/// As whom a session acts.
pub(crate) struct Access {
    account: Arc<Account>,
    /// What the account's user was in the generation `known`.
    user: Arc<User>,
    known: u64,
    /// Said who it is, or did not have to when it came.
    authenticated: bool,
    /// The generation in which it may do everything; 0 for none.
    free_in: u64,
}

/// Where a password was given: what the log tells if it is a wrong one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'r> {
    /// The command, as it was typed.
    pub(crate) command: &'r [u8],
    pub(crate) in_multi: bool,
}

/// Why a request is not carried out.
pub(crate) enum Refusal {
    /// The client is told why.
    Error(CommandError),
    /// Its user is gone, and so is the connection.
    Gone,
}

impl Access {
    pub(super) fn new(account: &Arc<Account>, acl: &Acl) -> Access {
        // The generation before the user: one that changes in between is looked at again.
        let known = acl.generation();
        let user = account.user();
        let authenticated = user.is_open();
        let mut access = Access { account: account.clone(), user, known, authenticated, free_in: 0 };
        access.judge(acl);
        access
    }

    /// Whether nothing has to be checked.
    #[inline]
    pub(crate) fn is_free(&self, acl: &Acl) -> bool {
        self.free_in == acl.generation()
    }

    /// Whether the session said who it is, or does not have to.
    #[inline]
    pub(crate) fn is_authenticated(&self, acl: &Acl) -> bool {
        self.authenticated || acl.is_open()
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The user as it is now.
    pub(crate) fn user(&mut self, acl: &Acl) -> &Arc<User> {
        let generation = acl.generation();
        if self.known != generation {
            self.known = generation;
            self.user = self.account.user();
            self.judge(acl);
        }
        &self.user
    }

    fn judge(&mut self, acl: &Acl) {
        let free = self.user.is_unrestricted() && !self.account.is_removed() && self.is_authenticated(acl);
        self.free_in = if free { self.known } else { 0 };
    }

    /// Becomes another user, who has proved to be that.
    pub(crate) fn become_user(&mut self, account: Arc<Account>, acl: &Acl) {
        *self = Access::new(&account, acl);
        self.authenticated = true;
        self.judge(acl);
    }
}

/// Whether a session may send a request of the command `spec`.
#[cold]
pub(crate) fn admit(
    spec: &Spec,
    request: Request<'_>,
    session: &mut Session,
    server: &ServerState,
) -> Result<(), Refusal> {
    let user = session.access.user(&server.acl).clone();
    if session.access.account.is_removed() {
        return Err(Refusal::Gone);
    }
    if !session.access.is_authenticated(&server.acl) && !spec.flags.has(Flag::NoAuth) {
        return Err(Refusal::Error(CommandError::custom("NOAUTH Authentication required.")));
    }
    let in_multi = session.transaction.is_some();
    if in_multi && spec.flags.has(Flag::NoMulti) {
        // It is refused for that.
        return Ok(());
    }
    user.check(spec, request).map_err(|denial| {
        note(denial, in_multi, spec, request, session, server);
        let error = match denial {
            Denial::Command => {
                let user = String::from_utf8_lossy(&session.access.account.name);
                format!("NOPERM User {user} has no permissions to run the '{}' command", spec.name)
            }
            Denial::Key(_) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned()
            }
            Denial::Channel(_) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned()
            }
        };
        Refusal::Error(CommandError::custom(error))
    })
}

/// Why a queued request that was permitted when it was queued is not any more, if so.
pub(crate) fn refused_at_exec(
    spec: &Spec,
    request: Request<'_>,
    session: &mut Session,
    server: &ServerState,
) -> Option<CommandError> {
    if session.access.is_free(&server.acl) {
        return None;
    }
    let user = session.access.user(&server.acl).clone();
    let denial = if session.access.account.is_removed() {
        Denial::Command
    } else {
        let denial = user.check(spec, request).err()?;
        note(denial, true, spec, request, session, server);
        denial
    };
    let why = match denial {
        Denial::Command => "no permission to execute the command or subcommand",
        Denial::Key(_) => "no permission to touch the specified keys",
        Denial::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    Some(CommandError::custom(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
         no longer allowed for the following reason: {why}"
    )))
}

fn note(denial: Denial, in_multi: bool, spec: &Spec, request: Request<'_>, session: &Session, server: &ServerState) {
    let (reason, object) = match denial {
        Denial::Command => (Reason::Command, spec.name.as_bytes()),
        Denial::Key(position) => (Reason::Key, request.get(position).unwrap_or_default()),
        Denial::Channel(position) => (Reason::Channel, request.get(position).unwrap_or_default()),
    };
    let user = &session.access.account.name;
    server.acl.log.add(Refused {
        reason,
        in_multi,
        object,
        user,
        client: describe(session),
        now_ms: server.db.now_ms(),
    });
}

/// The session's client, as CLIENT LIST shows it.
fn describe(session: &Session) -> String {
    // What others see of a client is written at the end of its turn.
    let command = session.last_command.map(|spec| spec.name);
    session.client.label(|labels| labels.last_command = command);
    let mut line = String::new();
    session.client.describe(Instant::now(), &mut line);
    line
}

impl Session {
    /// As which user it acts.
    pub(crate) fn user_name(&self) -> &[u8] {
        &self.access.account.name
    }

    /// Becomes the user of that name, if the password is right. The error is the one AUTH answers with.
    pub(crate) fn authenticate(
        &mut self,
        name: &[u8],
        password: &[u8],
        attempt: Attempt<'_>,
        server: &ServerState,
    ) -> Result<(), CommandError> {
        let Some(account) = server.acl.authenticate(name, password) else {
            server.acl.log.add(Refused {
                reason: Reason::Auth,
                in_multi: attempt.in_multi,
                object: attempt.command,
                user: name,
                client: describe(self),
                now_ms: server.db.now_ms(),
            });
            return Err(CommandError::custom("WRONGPASS invalid username-password pair or user is disabled."));
        };
        self.client.act_as(&account);
        self.access.become_user(account, &server.acl);
        Ok(())
    }

    /// Becomes again what it was when it connected, as far as that is possible without a password.
    pub(crate) fn forget_user(&mut self, server: &ServerState) {
        self.access = server.acl.newcomer();
        self.client.act_as(&self.access.account);
    }

    /// Whether it must end because of what its user became: removed, or not permitted a channel it is subscribed to.
    pub(crate) fn is_expelled(&mut self, server: &ServerState) -> bool {
        let user = self.access.user(&server.acl).clone();
        self.access.account.is_removed()
            || self.subscriptions.as_ref().is_some_and(|subscriptions| {
                subscriptions.all().any(|(topic, name)| !user.permits_channel(name, topic.is_pattern()))
            })
    }
}
