//! What all fronts share, and the login: the user, the route, the backend.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use russh::keys::PublicKey;

use super::client_info::ClientInfo;
use super::client_refusal::ClientRefusal;
use super::core::SessionCore;
use super::login_record::LoginRecord;
use super::metrics::{Metrics, OpenSession};
use super::open_uploads::OpenUploads;
use super::session_info::{Established, SessionInfo};
use super::session_record::SessionRecord;
use super::{Limits, Session, root};
use tracing::Instrument;

use crate::audit::{Audit, Event, What};
use crate::auth::{Credentials, Identity, PasswordCheck};
use crate::backend::{Backend, BackendSession, Login, Origin};
use crate::net::ProxyProtocol;
use crate::op::{Failure, FailureKind, Fault, Outage};
use crate::policy::limits::{self, SessionLimits};
use crate::policy::{Names, Protocol, RuleSet, SessionFacts, SessionPolicy};
use crate::route::{
    Access, Backends, Choice, Chosen, Rewrite, Root, RouteBackend, RouteTable, USER_PLACEHOLDER,
    UserFolderError,
};

const KEY_NOT_FORWARDED: &str = "a public key cannot be passed through to a backend";

/// What all fronts share: users, routes, backends.
pub struct Gateway {
    /// The `users` and the check of their passwords.
    pub passwords: PasswordCheck,
    /// The `routes`; the first match applies.
    pub routes: RouteTable,
    /// By name in the configuration; each route names one of them.
    pub backends: HashMap<String, Arc<dyn Backend>>,
    /// The `policy`; `None`: whatever the backend allows.
    pub policy: Option<Arc<RuleSet>>,
    /// The limits on users and others (`policy.limits`).
    pub policy_limits: limits::Limits,
    /// Limits and timeouts (`limits`).
    pub limits: Limits,
    /// The metrics of all sessions.
    pub metrics: Metrics,
    /// Where logins, operations and refused clients are recorded.
    pub audit: Audit,
}

/// How a user authenticates. SSH certificates would be a third way.
pub enum Proof {
    /// A name and a password, which the gateway or the backend checks.
    Password(Credentials),
    /// A public key with a verified signature of the client.
    PublicKey {
        /// The user name in bytes, as the client sent it.
        user: Vec<u8>,
        /// The key that made the signature.
        key: Box<PublicKey>,
    },
}

impl Proof {
    fn user(&self) -> &[u8] {
        match self {
            Proof::Password(credentials) => &credentials.user,
            Proof::PublicKey { user, .. } => user,
        }
    }

    fn key(&self) -> Option<&PublicKey> {
        match self {
            Proof::Password(_) => None,
            Proof::PublicKey { key, .. } => Some(key),
        }
    }
}

/// A login that the backend has accepted.
struct LoggedIn {
    facts: SessionFacts,
    root: root::Root,
    limits: SessionLimits,
    backend: Box<dyn BackendSession>,
}

impl Gateway {
    /// The PROXY protocol of a listener whose connections come from proxies in these networks.
    pub fn proxy_protocol(&self, listener: &str, trusted: &[IpNet]) -> Option<ProxyProtocol> {
        let refused = || self.metrics.proxy_refused(listener);
        (!trusted.is_empty()).then(|| ProxyProtocol::new(trusted.to_vec(), refused()))
    }

    /// Counts a session of a listener as open until dropped.
    pub fn open_session(&self, listener: &str) -> OpenSession {
        self.metrics.session(listener)
    }

    /// Counts a refused client without a line in the log.
    pub fn count_refused(&self, client: &ClientInfo, kind: ClientRefusal) {
        self.metrics.client_refused(&client.listener, kind);
    }

    /// Counts a connection that ended before a login and was not refused, such as a health check or a port
    /// scan.
    pub fn ended_without_login(&self, client: &ClientInfo, reason: &str) {
        self.metrics.ended_without_login(&client.listener);
        tracing::debug!(reason, "the connection ended before a login");
    }

    /// Logs and counts a refused client. `reason` names the cause and the remedy.
    pub fn client_refused(&self, client: &ClientInfo, kind: ClientRefusal, reason: impl Display) {
        self.count_refused(client, kind);
        let reason = reason.to_string();
        if self.audit.is_on() {
            let what = What::ClientRefused(kind.as_str());
            let event = Event::new(client.subject(), what, "refused", None);
            self.audit.record(&Event { reason: Some(&reason), ..event });
        }
        tracing::info!(
            target: "lockgate::record",
            event = "client-refused",
            session = client.session,
            peer = %client.peer,
            listener = client.listener,
            protocol = client.protocol,
            refusal = kind.as_str(),
            reason,
            "client refused"
        );
    }

    /// Authenticates a user, chooses the route, and logs in at its backend, all until `deadline`.
    /// Writes one record.
    pub async fn login(
        &self,
        client: &ClientInfo,
        proof: Proof,
        deadline: tokio::time::Instant,
    ) -> Result<Session, Failure> {
        let chosen = self.choose(client.login(proof.user()));
        let choice = chosen.choice.as_ref();
        let info = SessionInfo::new(client, proof.user(), proof.key(), choice, &self.audit);
        let info = Arc::new(info);
        let record = LoginRecord::new(info.clone(), self.metrics.clone());
        if let Err(failure) = self.audit.admits() {
            let failure = Failure { kind: FailureKind::Unavailable, ..failure };
            record.done(Err(&failure));
            return Err(failure);
        }
        let at_backend = AtomicBool::new(false);
        let span = info.span();
        let login = self.log_in(&chosen, client, proof, &at_backend).instrument(span.clone());
        let outcome = tokio::time::timeout_at(deadline, login);
        let outcome = outcome.await.unwrap_or_else(|_| {
            Err(too_long(at_backend.load(Ordering::Relaxed).then_some(info.backend.as_str())))
        });
        if let Ok(LoggedIn { facts, backend, .. }) = &outcome {
            let (groups, peer) = (facts.groups.clone(), backend.peer());
            let _ = info.established.set(Established { groups, peer });
        }
        record.done(outcome.as_ref().map(|_| ()));
        if let (Err(failure), Some(backend)) = (&outcome, self.backends.get(&info.backend)) {
            self.metrics.outages.note(&info.backend, backend.addresses(), failure);
        }
        let LoggedIn { facts, root, limits, backend } = outcome?;
        Ok(Session::new(SessionCore {
            policy: self.session_policy(facts),
            limits,
            record: SessionRecord::new(info.clone()),
            info,
            span,
            metrics: self.metrics.clone(),
            root,
            backend,
            greeting: chosen.choice.and_then(|choice| choice.route.greeting.clone()),
            open_uploads: OpenUploads::default(),
        }))
    }

    /// The rules for a session.
    pub(super) fn session_policy(&self, facts: SessionFacts) -> Option<SessionPolicy> {
        let rules = self.policy.clone()?;
        let names = self.backends.get(&facts.backend).map_or(Names::Exact, |it| it.names());
        Some(SessionPolicy::new(rules, facts, names))
    }

    /// Whether the gateway would accept a login with this key, before the client signs.
    pub fn admits_key(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
    ) -> Result<(), Failure> {
        let chosen = self.choose(client.login(user));
        let Some(choice) = &chosen.choice else { return Err(self.without_route(&chosen)) };
        match choice.backend.access {
            Access::GatewayMapped(_) | Access::GatewayOnly => {}
            Access::Backend => {
                return Err(refused(
                    "the route has `authenticate: backend`, which accepts no public keys",
                ));
            }
            Access::GatewayPassThrough => return Err(refused(KEY_NOT_FORWARDED)),
        }
        Self::paths(choice)?;
        let known = self.passwords.known(&choice.user).ok_or_else(|| refused("unknown user"))?;
        known.keys.admits(key, client.peer.ip()).map_err(|refusal| refused(&refusal.to_string()))
    }

    /// Records a key that was refused before the client signed, so that no login follows.
    pub fn key_refused(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
        failure: &Failure,
    ) {
        let choice = self.choose(client.login(user)).choice;
        let info = SessionInfo::new(client, user, Some(key), choice.as_ref(), &self.audit);
        self.metrics.key_refused(&info, failure);
    }

    /// The root of a user's session, and the paths that differ below it.
    pub(super) fn paths(choice: &Choice) -> Result<(Root, Vec<Rewrite>), Failure> {
        let Choice { route, number, user, .. } = choice;
        let refused = |key: String, setting: &dyn Display, why: UserFolderError| {
            refused(&format!(
                "the user's name cannot replace `{USER_PLACEHOLDER}` in routes[{number}].{key} ({setting}): it \
                 {why}; if the user is genuine, add a route for this name before that one",
            ))
        };
        let root =
            route.root.of(user).map_err(|why| refused("root".to_owned(), &route.root, why))?;
        let rewrites = route.rewrites.iter().enumerate().map(|(index, rewrite)| {
            let key = || format!("rewrite[{index}].to");
            rewrite.of(user).map_err(|why| refused(key(), &rewrite.to, why))
        });
        Ok((root, rewrites.collect::<Result<_, _>>()?))
    }

    async fn log_in(
        &self,
        chosen: &Chosen<'_>,
        client: &ClientInfo,
        proof: Proof,
        at_backend: &AtomicBool,
    ) -> Result<LoggedIn, Failure> {
        let choice = chosen.choice.as_ref();
        let name = choice.map_or(proof.user(), |choice| &choice.user);
        let mut identity = Identity { user: name.to_vec(), groups: vec![] };
        let unchecked = choice.is_some_and(|it| matches!(it.backend.access, Access::Backend));
        // Without a route, too: the reply and its time must not depend on whether the user exists.
        let user = match &proof {
            _ if unchecked => None,
            Proof::Password(Credentials { password, .. }) => {
                self.passwords.verify(name, password).await
            }
            Proof::PublicKey { user, key } => {
                self.admits_key(client, user, key)?;
                self.passwords.known(name)
            }
        };
        let paths = choice.map(Self::paths).transpose()?;
        let (Some(choice), Some((root, rewrites))) = (choice, paths) else {
            return Err(self.without_route(chosen));
        };
        if !unchecked {
            let user = user.ok_or_else(|| refused("unknown user or wrong password"))?;
            identity.groups = user.groups.clone();
        }
        let Choice { backend: RouteBackend { name: place, access }, number, .. } = choice;
        let backend = self.backends.get(place).ok_or_else(|| {
            Failure::gateway(FailureKind::Internal, "the route's backend does not exist")
        })?;
        let login = match access {
            Access::Backend | Access::GatewayPassThrough => match proof {
                Proof::Password(credentials) => {
                    let user = identity.user.clone();
                    Login::Unverified(Credentials { user, ..credentials })
                }
                Proof::PublicKey { .. } => return Err(refused(KEY_NOT_FORWARDED)),
            },
            Access::GatewayMapped(account) => Login::Authenticated(Some(account.clone())),
            Access::GatewayOnly => Login::Authenticated(None),
        };
        // Before the backend is involved, but not before the user is known: a wrong password takes no
        // user's place.
        let facts = facts(client, identity, place);
        let admit = || self.policy_limits.open_session(&facts, client.session);
        let early = (!unchecked).then(admit).transpose()?;
        let mapped = matches!(login, Login::Authenticated(_));
        let rooted = matches!(&root, Root::Path(path) if !path.is_root());
        let origin = Origin { client: client.peer, local: client.local, rooted };
        at_backend.store(true, Ordering::Relaxed);
        match backend.login(&login, origin).await {
            Ok(session) => {
                let place = (place.as_str(), *number);
                let limits = match early {
                    Some(limits) => Ok(limits),
                    None => admit(),
                };
                let checked = match limits {
                    Ok(limits) => {
                        let checked = root::check(&*session, &root, place).await;
                        checked.map(|()| limits)
                    }
                    Err(failure) => Err(failure),
                };
                match checked {
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
            // The message is about an account that the client must not see.
            Err(failure) if mapped && failure.kind != FailureKind::Unavailable => {
                Err(Failure::new(
                    FailureKind::Unavailable,
                    Fault::Backend,
                    "the backend server refused the gateway's login; contact the operator of the gateway",
                )
                .with_detail(failure.message)
                .with_outage(Outage::AccountRefused))
            }
            Err(failure)
                if failure.kind == FailureKind::Unavailable && failure.outage.is_none() =>
            {
                Err(failure.with_outage(Outage::UnexpectedAnswer))
            }
            // The name and the password are the client's.
            Err(failure) if failure.kind == FailureKind::LoginRefused => {
                Err(match choice.route.backends {
                    Backends::One(_) => Failure { fault: Fault::Client, ..failure },
                    // The text must not tell that there is such a backend.
                    Backends::Named(_) => refused(&format!("the backend refused it: {failure}")),
                })
            }
            Err(failure) => Err(failure),
        }
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

/// `backend`: set once the login there has started.
fn too_long(backend: Option<&str>) -> Failure {
    let message = "the login took too long; try again";
    match backend {
        Some(backend) => Failure::backend(FailureKind::Unavailable, message)
            .with_detail(format!(
                "backend \"{backend}\" had not answered yet, or the login still waited for a connection \
                 (`connects_at_once`)"
            ))
            .with_outage(Outage::Timeout),
        None => Failure::gateway(FailureKind::Unavailable, message).with_detail(
            "the gateway had not checked the password yet, or still waited for the checks of other \
             logins; no backend was involved",
        ),
    }
}

/// The message is the same for every reason, so that clients cannot find out which users exist.
fn refused(reason: &str) -> Failure {
    Failure::client(FailureKind::LoginRefused, "login incorrect").with_detail(reason)
}

mod choice;
#[cfg(test)]
mod tests;
