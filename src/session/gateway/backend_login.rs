//! The login at the backend of a user's route.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::client_info::ClientInfo;
use super::super::proof::Proof;
use super::super::root;
use super::authenticate::Authenticated;
use super::destination::{Destination, KEY_NOT_FORWARDED};
use super::{Gateway, refused};
use crate::auth::{Credentials, Identity};
use crate::backend::{BackendSession, Login, Origin};
use crate::op::{Failure, FailureKind, Fault, Outage};
use crate::policy::limits::SessionLimits;
use crate::policy::{Protocol, SessionFacts};
use crate::route::{Account, Backends, Choice, Root};

/// A login that the backend has accepted.
pub(super) struct LoggedIn {
    pub(super) facts: SessionFacts,
    pub(super) root: root::Root,
    pub(super) limits: SessionLimits,
    pub(super) backend: Box<dyn BackendSession>,
}

impl Gateway {
    /// Logs in at the route's backend. `user`: `None` if only the backend can authenticate it.
    /// `at_backend` is set when the backend is asked.
    pub(super) async fn log_in_at_backend(
        &self,
        choice: &Choice<'_>,
        client: &ClientInfo,
        user: Option<Authenticated>,
        proof: Proof,
        at_backend: &AtomicBool,
    ) -> Result<LoggedIn, Failure> {
        let (is_authenticated, groups, destination) = match user {
            Some(user) => (true, user.groups, user.destination),
            None => (false, Vec::new(), None),
        };
        let destination = destination.map_or_else(|| Destination::of(choice), Ok)?;
        let Destination { user, backend: place, account, is_own_account, root, rewrites, limit } =
            destination;
        let backend = self.backends.get(&place).ok_or_else(|| {
            Failure::gateway(FailureKind::Internal, "the route's backend does not exist")
        })?;
        let login = login(&user, account, proof)?;
        // Before the backend is involved, but not before the user is known: a wrong password takes no
        // user's place.
        let facts = facts(client, Identity { user, groups }, &place);
        let admit = || self.policy_limits.open_session(&facts, client.session, limit.as_ref());
        let early = is_authenticated.then(admit).transpose()?;
        let rooted = matches!(&root, Root::Path(path) if !path.is_root());
        let origin = Origin { client: client.peer, local: client.local, rooted, is_check: false };
        at_backend.store(true, Ordering::Relaxed);
        let session = backend.login_as(&facts.user, &login, origin).await;
        let session = session.map_err(|failure| {
            if is_own_account {
                own_account_refusal(failure)
            } else {
                refusal(failure, choice, &login)
            }
        })?;
        let ready = async {
            let limits = early.map_or_else(admit, Ok)?;
            root::check(&*session, &root, (&place, choice.number)).await?;
            Ok(limits)
        };
        match ready.await {
            Ok(limits) => {
                let home = session.home();
                let root = root::Root::new(&root, rewrites, backend.names(), &home);
                Ok(LoggedIn { facts, root, limits, backend: session })
            }
            Err(failure) => {
                session.close().await;
                Err(failure)
            }
        }
    }
}

/// What the backend gets.
fn login(user: &[u8], account: Account, proof: Proof) -> Result<Login, Failure> {
    match account {
        Account::PassThrough => {
            let given = proof.password.ok_or_else(|| refused(KEY_NOT_FORWARDED))?;
            let user = user.to_vec();
            let (password, account) = (given.password, given.account);
            Ok(Login::Unverified(Credentials { user, password, account, key: None }))
        }
        Account::Mapped(account) => Ok(Login::Authenticated(Some(account))),
        Account::None => Ok(Login::Authenticated(None)),
    }
}

/// What rules and limits know of a session.
fn facts(client: &ClientInfo, identity: Identity, backend: &str) -> SessionFacts {
    SessionFacts {
        user: identity.user,
        groups: identity.groups,
        listener: client.listener.clone(),
        backend: backend.to_owned(),
        protocol: Protocol::of(client.protocol),
        encrypted: client.encryption.get().is_some(),
        source: client.peer.ip(),
    }
}

/// What the client may read of a login that the backend has not accepted.
fn refusal(failure: Failure, choice: &Choice<'_>, login: &Login) -> Failure {
    let mapped = matches!(login, Login::Authenticated(_));
    match failure.kind {
        // The message is about an account that the client must not see.
        _ if mapped && failure.kind != FailureKind::Unavailable => Failure::new(
            FailureKind::Unavailable,
            Fault::Backend,
            "the backend server refused the gateway's login; contact the operator of the gateway",
        )
        .with_detail(failure.message)
        .with_outage(Outage::AccountRefused),
        FailureKind::Unavailable if failure.outage.is_none() => {
            failure.with_outage(Outage::UnexpectedAnswer)
        }
        // The name and the password are the client's.
        FailureKind::LoginRefused => match choice.route.backends {
            Backends::One(_) => Failure { fault: Fault::Client, ..failure },
            // The text must not tell that there is such a backend.
            Backends::Named(_) => refused(&format!("the backend refused it: {failure}")),
        },
        _ => failure,
    }
}

/// As [`refusal`], of an account that a login hook has answered: other users have others, so a refused one says
/// nothing about the backend.
fn own_account_refusal(failure: Failure) -> Failure {
    if failure.kind == FailureKind::Unavailable {
        let outage = failure.outage.unwrap_or(Outage::UnexpectedAnswer);
        return failure.with_outage(outage);
    }
    Failure::new(
        FailureKind::Unavailable,
        Fault::Backend,
        "the backend server refused the gateway's login; contact the operator of the gateway",
    )
    .with_detail(format!(
        "it refused the `account` of the login hook's answer: {}",
        failure.message
    ))
}
