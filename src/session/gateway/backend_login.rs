//! The login at the backend of a user's route.

use super::super::client_info::ClientInfo;
use super::super::proof::Proof;
use super::super::root;
use super::authenticate::Authenticated;
use super::destination::{Destination, KEY_NOT_FORWARDED};
use super::progress::Progress;
use super::{Gateway, refused};
use crate::auth::{CertificateSummary, Credentials, Identity, PasswordSent};
use crate::backend::{BackendSession, Login, Origin};
use crate::op::escape::printable;
use crate::op::{Failure, FailureKind, Fault, Outage, RemotePath};
use crate::policy::limits::SessionLimits;
use crate::policy::{Protocol, SessionFacts};
use crate::route::{Account, Backends, Choice, MintedAccountError, Rewrite, Root};

/// A login that the backend has accepted.
pub(super) struct LoggedIn {
    pub(super) facts: SessionFacts,
    pub(super) root: root::Root,
    pub(super) limits: SessionLimits,
    pub(super) backend: Box<dyn BackendSession>,
}

impl Gateway {
    /// Logs in at the route's backend. `user`: `None` if only the backend can authenticate it.
    pub(super) async fn log_in_at_backend(
        &self,
        choice: &Choice<'_>,
        client: &ClientInfo,
        user: Option<Authenticated>,
        mut proof: Proof,
        progress: &Progress,
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
        if backend.is_opaque() {
            refuse_at_opaque(client, &place, &root, &rewrites)?;
        }
        if is_authenticated && let Some(password) = &mut proof.password {
            // The gateway knows that it is right.
            password.sent = PasswordSent::default();
        }
        let login = login(&user, account, client, proof, progress)?;
        // Before the backend is involved, but not before the user is known: a wrong password takes no
        // user's place.
        let facts = facts(client, Identity { user, groups }, &place);
        let admit = || self.policy_limits.open_session(&facts, client.session, limit.as_ref());
        let early = is_authenticated.then(admit).transpose()?;
        let rooted = matches!(&root, Root::Path(path) if !path.is_root());
        let origin = Origin { client: client.peer, local: client.local, rooted, is_check: false };
        progress.reached_backend();
        let session = backend.login_as(&facts.user, &login, origin).await;
        let session =
            session.map_err(|failure| refusal(failure, choice, &login, is_own_account))?;
        let ready = async {
            // Other guesses may have been decided meanwhile.
            if !is_authenticated {
                self.refuse_banned(client)?;
            }
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

/// A login hook's answer may lead to an opaque server whom `check` could not know of.
fn refuse_at_opaque(
    client: &ClientInfo,
    backend: &str,
    root: &Root,
    rewrites: &[Rewrite],
) -> Result<(), Failure> {
    let has_root = *root != Root::Path(RemotePath::root());
    let why = if Protocol::of(client.protocol) == Protocol::Sftp {
        "SFTP cannot name its files; let this user log in over FTP"
    } else if has_root || !rewrites.is_empty() {
        "its paths are not read, so there is no `root` and no `rewrite`"
    } else {
        return Ok(());
    };
    let message = "the login failed at the gateway; contact its operator";
    Err(Failure::gateway(FailureKind::Unavailable, message)
        .with_detail(format!("backend \"{backend}\" has `dialect: opaque`: {why}")))
}

/// What the backend gets.
fn login(
    user: &[u8],
    account: Account,
    client: &ClientInfo,
    proof: Proof,
    progress: &Progress,
) -> Result<Login, Failure> {
    match account {
        Account::PassThrough => {
            let given = proof.password.ok_or_else(|| refused(KEY_NOT_FORWARDED))?;
            let user = user.to_vec();
            let (password, account) = (given.password, given.account);
            Ok(Login::Unverified(Credentials {
                user,
                password,
                account,
                sent: given.sent,
                key: None,
            }))
        }
        Account::Mapped(account) => Ok(Login::Authenticated(Some(account))),
        Account::Minted(account) => {
            let made = account.mint(user, key_id(user, client));
            let credentials = made.map_err(|error| match error {
                MintedAccountError::Name(_) => refused(&error.to_string()),
                MintedAccountError::Mint(_) => {
                    let message = "the login failed at the gateway; contact its operator";
                    Failure::gateway(FailureKind::Internal, message).with_detail(error)
                }
            })?;
            let key = credentials.key.as_ref();
            if let Some(certificate) = key.and_then(|key| key.certificate.as_deref()) {
                progress.minted(CertificateSummary::from(certificate));
            }
            Ok(Login::Authenticated(Some(credentials)))
        }
        Account::None => Ok(Login::Authenticated(None)),
    }
}

/// For the server's log, which has it with each login: what finds the login in the gateway's. The user's name
/// is last, since it may contain anything.
fn key_id(user: &[u8], client: &ClientInfo) -> String {
    let (session, address) = (client.session, client.peer.ip());
    format!("lockgate session {session} client {address} user {}", printable(user))
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

/// What the client may read of a login that the backend has not accepted. `is_own_account`: a login hook has
/// answered the account; other users have others, so a refused one says nothing about the backend.
fn refusal(failure: Failure, choice: &Choice<'_>, login: &Login, is_own_account: bool) -> Failure {
    let mapped = matches!(login, Login::Authenticated(_));
    match failure.kind {
        FailureKind::Unavailable if failure.outage.is_none() => {
            failure.with_outage(Outage::UnexpectedAnswer)
        }
        FailureKind::Unavailable => failure,
        // The message is about an account that the client must not see.
        _ if mapped => {
            let unavailable = Failure::new(
                FailureKind::Unavailable,
                Fault::Backend,
                "the backend server refused the gateway's login; contact the operator of the gateway",
            );
            if is_own_account {
                let what = "it refused the `account` of the login hook's answer";
                unavailable.with_detail(format!("{what}: {}", failure.message))
            } else {
                unavailable.with_detail(failure.message).with_outage(Outage::AccountRefused)
            }
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
