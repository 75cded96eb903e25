//! The login hooks of a gateway, and the accounts that their users get.

use std::collections::HashMap;

use crate::auth::hook::LoginHook;
use crate::route::Account;

/// What logins with `authenticate: http` need.
#[derive(Default)]
pub struct LoginHooks {
    /// The `login_hooks`, by name; each route names one of them.
    pub hooks: HashMap<String, LoginHook>,
    /// The account of each backend (its `login`): an answer may name any of them.
    pub accounts: HashMap<String, Account>,
}
