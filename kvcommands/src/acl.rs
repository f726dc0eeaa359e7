//! Users: the rules of ACL, what they permit, and their text form.
//!
//! Invariant: what a user is shown as makes the same user again. Who is logged in, and as whom, is the server's to know.

mod command_set;
mod key_access;
mod replies;
mod rules;
mod selector;
#[cfg(test)]
mod tests;
mod user;
mod users;

pub use replies::{cat, dry_run, show_user, too_many_words};
pub use rules::{RuleError, USER_BYTES_MAX, USER_NAME_BYTES_MAX, has_spaces, merge_selectors, quoted};
pub use selector::{Denial, Selector, category};
pub use user::{DEFAULT, User, hex};
pub use users::{parse_users, user_line};
