//! What a session may do: it proves who it is, and its requests are held against its user, each before it is queued or
//! carried out, and again at EXEC.
//!
//! Invariant: whatever is refused for want of a permission is in the log that ACL LOG shows.

use std::time::Instant;

use kvproto::spec::Flag;
use kvproto::{CommandError, Request, Spec};

use super::Session;
use crate::acl::log::{Reason, Refused};
use crate::state::ServerState;
use kvcommands::acl::Denial;

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

impl Session {
    /// As which user it acts.
    pub(crate) fn user_name(&self) -> &[u8] {
        &self.access.account().name
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
                client: self.describe(),
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
        self.client.act_as(self.access.account());
    }

    /// Whether it must end because of what its user became: removed, or not permitted something that it is sent.
    pub(crate) fn must_disconnect(&mut self, server: &ServerState) -> bool {
        self.access.account().is_removed() || !self.may_keep_what_it_is_sent(server)
    }

    /// Whether its user may have all that it subscribed to, monitors and tracks.
    pub(crate) fn may_keep_what_it_is_sent(&mut self, server: &ServerState) -> bool {
        let user = self.access.user(&server.acl).clone();
        let subscriptions = self.subscriptions.iter().flat_map(|held| held.all());
        self.client.shown.is_permitted(&user)
            && subscriptions.into_iter().all(|(topic, name)| topic.is_permitted(name, &user))
    }

    /// Whether it may send a request of the command `spec`.
    #[cold]
    pub(crate) fn admit(&mut self, spec: &Spec, request: Request<'_>, server: &ServerState) -> Result<(), Refusal> {
        let user = self.access.user(&server.acl).clone();
        if self.access.account().is_removed() {
            return Err(Refusal::Gone);
        }
        if !self.access.is_authenticated(&server.acl) && !spec.flags.has(Flag::NoAuth) {
            return Err(Refusal::Error(CommandError::custom("NOAUTH Authentication required.")));
        }
        let in_multi = self.transaction.is_some();
        if in_multi && spec.flags.has(Flag::NoMulti) {
            // It is refused for that.
            return Ok(());
        }
        user.check(spec, request).map_err(|denial| {
            self.note_denial(denial, in_multi, spec, request, server);
            let error = match denial {
                Denial::Command => {
                    let user = &self.access.account().name;
                    CommandError::quoting(
                        "NOPERM User ",
                        user,
                        &format!(" has no permissions to run the '{}' command", spec.name),
                    )
                }
                Denial::Key(_) => CommandError::custom(
                    "NOPERM this user has no permissions to access one of the keys used as arguments",
                ),
                Denial::Channel(_) => CommandError::custom(
                    "NOPERM this user has no permissions to access one of the channels used as arguments",
                ),
            };
            Refusal::Error(error)
        })
    }

    /// Returns why a queued request that was permitted when it was queued is not any more, if so.
    pub(crate) fn refused_at_exec(
        &mut self,
        spec: &Spec,
        request: Request<'_>,
        server: &ServerState,
    ) -> Option<CommandError> {
        if self.access.is_free(&server.acl) {
            return None;
        }
        let user = self.access.user(&server.acl).clone();
        let denial = if self.access.account().is_removed() {
            Denial::Command
        } else {
            let denial = user.check(spec, request).err()?;
            self.note_denial(denial, true, spec, request, server);
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

    /// Adds to the log of ACL LOG that a request was refused.
    fn note_denial(&self, denial: Denial, in_multi: bool, spec: &Spec, request: Request<'_>, server: &ServerState) {
        let (reason, object) = match denial {
            Denial::Command => (Reason::Command, spec.name.as_bytes()),
            Denial::Key(position) => (Reason::Key, request.get(position).unwrap_or_default()),
            Denial::Channel(position) => (Reason::Channel, request.get(position).unwrap_or_default()),
        };
        let user = &self.access.account().name;
        server.acl.log.add(Refused {
            reason,
            in_multi,
            object,
            user,
            client: self.describe(),
            now_ms: server.db.now_ms(),
        });
    }

    /// Its client, as CLIENT LIST shows it.
    fn describe(&self) -> Vec<u8> {
        // What others see of a client is written at the end of its time slice.
        let command = self.last_command.map(|spec| spec.name);
        self.client.show_command(command);
        let mut line = Vec::new();
        self.client.describe(Instant::now(), &mut line);
        line
    }
}
