//! What a login was decided by, so that another configuration can judge it (`on_reload: judge`).

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use super::proof::Proof;
use super::rules::SessionRules;
use crate::auth::{Methods, PresentedKey, User, UserTable};
use crate::net::tls::ClientCertificate;
use crate::op::Timestamp;
use crate::policy::SessionFacts;
use crate::route::{Access, Authenticator, Choice, LoginRequest, RewriteSetting, RootSetting};

/// What a login was decided by.
pub(super) struct LoginBasis {
    pub(super) name: Vec<u8>,
    pub(super) source: IpAddr,
    pub(super) server_name: Option<String>,
    /// As the rules know the session.
    pub(super) facts: SessionFacts,
    /// The route's, and who authenticated the user.
    pub(super) place: Place,
    /// The entry of `users`.
    pub(super) user: Option<Arc<User>>,
    pub(super) presented: Presented,
}

/// With what the client has proved who it is.
pub(super) struct Presented {
    pub(super) methods: Methods,
    pub(super) key: Option<Box<PresentedKey>>,
    /// Of its TLS connection.
    pub(super) certificate: Option<ClientCertificate>,
    /// Seconds since the epoch.
    pub(super) at: i64,
}

impl Presented {
    pub(super) fn now(certificate: Option<ClientCertificate>, proof: &Proof) -> Self {
        Self { methods: proof.methods(), key: proof.key.clone(), certificate, at: Timestamp::now() }
    }
}

/// Where a route leads.
#[derive(PartialEq, Eq)]
pub(super) struct Place {
    backend: String,
    root: RootSetting,
    rewrites: Vec<RewriteSetting>,
    /// `None`: the backend.
    pub(super) by: Option<Authenticator>,
}

/// A logged-in session with what its login was decided by.
pub(super) struct Judged {
    pub(super) basis: LoginBasis,
    pub(super) rules: Weak<SessionRules>,
}

impl LoginBasis {
    pub(super) fn new(
        request: LoginRequest<'_>,
        choice: &Choice<'_>,
        users: &UserTable,
        facts: SessionFacts,
        presented: Presented,
    ) -> Self {
        Self {
            name: request.name.to_owned(),
            source: request.source,
            server_name: request.server_name.map(str::to_owned),
            user: users.get(&choice.user).cloned(),
            place: Place::of(choice),
            facts,
            presented,
        }
    }
}

impl Place {
    pub(super) fn of(choice: &Choice<'_>) -> Self {
        Self {
            backend: choice.backend.name.clone(),
            root: choice.route.root.clone(),
            rewrites: choice.route.rewrites.clone(),
            by: match &choice.backend.access {
                Access::Backend => None,
                Access::Gateway { by, .. } => Some(by.clone()),
            },
        }
    }
}

/// Judges open sessions by the configuration in force.
pub(super) trait Judge: Send + Sync {
    /// Puts its rules in force for a session of this listener. `judged`: `None` before the login.
    ///
    /// # Errors
    /// Why the session would be refused now, or would lead elsewhere.
    fn judge(&self, listener: &str, judged: Option<&Judged>) -> Result<(), String>;
}
