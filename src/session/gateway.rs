//! What all fronts share, and logging in: who somebody is, the route, the backend.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use russh::keys::PublicKey;

use super::client_info::ClientInfo;
use super::client_refusal::ClientRefusal;
use super::core::SessionCore;
use super::login_record::{LoginDetails, LoginRecord};
use super::metrics::{Metrics, OpenSession};
use super::session_info::SessionInfo;
use super::session_record::SessionRecord;
use super::unfinished::Unfinished;
use super::{Limits, Session, root};
use tracing::Instrument;

use crate::auth::{Credentials, Identity, PasswordCheck};
use crate::backend::{Backend, Login, Origin};
use crate::net::ProxyProtocol;
use crate::op::{Failure, FailureKind, Fault, Outage};
use crate::route::{Access, Root, Route, RouteTable};

const KEPT_FROM_BACKEND: &str = "the name is one of the gateway's own `users`, and the route that matches has `authenticate: \
     backend`, which is for others only: take the name out of `users`, or give it a route with \
     `authenticate: gateway`";

const NO_ROUTE: &str = "no route is for this user here";

const KEY_STAYS: &str = "a public key cannot be passed through to a backend";

/// What all fronts share: users, routes, backends.
pub struct Gateway {
    pub passwords: PasswordCheck,
    pub routes: RouteTable,
    /// By name in the configuration; each route names one of them.
    pub backends: HashMap<String, Arc<dyn Backend>>,
    pub limits: Limits,
    pub metrics: Metrics,
}

/// How somebody shows who they are. SSH certificates would be a third way.
pub enum Proof {
    Password(Credentials),
    /// A public key whose private half the client has been seen to hold.
    PublicKey {
        user: Vec<u8>,
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

impl Gateway {
    /// What a listener takes its connections with, where they come from proxies of these networks.
    pub fn proxy_protocol(&self, listener: &str, trusted: &[IpNet]) -> Option<ProxyProtocol> {
        let refused = || self.metrics.proxy_refused(listener);
        (!trusted.is_empty()).then(|| ProxyProtocol::new(trusted.to_vec(), refused()))
    }

    /// Counts a session of a listener as open until dropped.
    pub fn open_session(&self, listener: &str) -> OpenSession {
        self.metrics.session(listener)
    }

    /// Counts a client that is turned away and is not told of.
    pub fn count_refused(&self, client: &ClientInfo, why: ClientRefusal) {
        self.metrics.client_refused(&client.listener, why);
    }

    /// Counts a connection that ended before a login and was not refused: probes of load balancers and
    /// scans of ports come all the time.
    pub fn ended_without_login(&self, client: &ClientInfo, why: &str) {
        self.metrics.ended_without_login(&client.listener);
        tracing::debug!(why, "the connection ended before a login");
    }

    /// Logs and counts a client that is turned away. `what` says what it did and what would help.
    pub fn client_refused(&self, client: &ClientInfo, why: ClientRefusal, what: impl Display) {
        self.count_refused(client, why);
        tracing::info!(
            target: "lockgate::record",
            event = "client-refused",
            session = client.session,
            peer = %client.peer,
            listener = client.listener,
            protocol = client.protocol,
            refusal = why.as_str(),
            reason = what.to_string(),
            "client refused"
        );
    }

    /// Finds out who somebody is, chooses the route, and logs in at its backend, all until
    /// `deadline`. Writes one record.
    pub async fn login(
        &self,
        client: &ClientInfo,
        proof: Proof,
        deadline: tokio::time::Instant,
    ) -> Result<Session, Failure> {
        let route = self.route(client, proof.user());
        let who = Arc::new(SessionInfo::new(client, proof.user(), route));
        let details = LoginDetails::new(client, proof.key());
        let record = LoginRecord::new(who.clone(), details, self.metrics.clone());
        let at_backend = AtomicBool::new(false);
        let span = who.span();
        let entering = self.enter(route, client, proof, &at_backend).instrument(span.clone());
        let entered = tokio::time::timeout_at(deadline, entering);
        let entered = entered.await.unwrap_or_else(|_| {
            Err(too_long(at_backend.load(Ordering::Relaxed).then_some(who.backend.as_str())))
        });
        record.done(entered.as_ref().map(|_| ()));
        if let (Err(failure), Some(backend)) = (&entered, self.backends.get(&who.backend)) {
            self.metrics.outages.note(&who.backend, backend.addresses(), failure);
        }
        let (identity, route, backend) = entered?;
        Ok(Session::new(SessionCore {
            identity,
            record: SessionRecord::new(who.clone()),
            who,
            span,
            metrics: self.metrics.clone(),
            root: root::Root::new(&route.root, &backend.home()),
            backend,
            unfinished: Unfinished::default(),
        }))
    }

    /// Whether a login with this key would be let in at the gateway: before the client has to sign.
    pub fn admits_key(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
    ) -> Result<(), Failure> {
        let Some(route) = self.route(client, user) else {
            let kept = self.is_kept_from_backend(client, user);
            return Err(refused(if kept { KEPT_FROM_BACKEND } else { NO_ROUTE }));
        };
        match route.access {
            Access::GatewayMapped(_) | Access::GatewayOnly => {}
            Access::Backend => return Err(refused("the route leaves the check to its backend")),
            Access::GatewayPassThrough => return Err(refused(KEY_STAYS)),
        }
        let known = self.passwords.known(user).ok_or_else(|| refused("unknown user"))?;
        known.keys.admits(key, client.peer.ip()).map_err(|why| refused(&why.to_string()))
    }

    /// Writes the record of a key that is worth no signature. Nothing else tells of it: a client does
    /// not sign with it, so that no login is tried.
    pub fn key_refused(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
        failure: &Failure,
    ) {
        let who = SessionInfo::new(client, user, self.route(client, user));
        self.metrics.key_refused(&who, key, failure);
    }

    /// The first route that fits. Somebody whom the gateway knows never falls through to a backend's
    /// own password check.
    fn route(&self, client: &ClientInfo, user: &[u8]) -> Option<&Route> {
        let known = self.passwords.known(user);
        let groups = known.map(|user| user.groups.as_slice());
        self.routes.0.iter().find(|route| {
            let unchecked = matches!(route.access, Access::Backend);
            (known.is_none() || !unchecked)
                && route.matches.covers(&client.listener, client.peer.ip(), user, groups)
        })
    }

    /// Whether nothing but the entry in `users` keeps somebody from a route that leaves the check to
    /// its backend.
    fn is_kept_from_backend(&self, client: &ClientInfo, user: &[u8]) -> bool {
        let Some(known) = self.passwords.known(user) else { return false };
        self.routes.0.iter().any(|route| {
            matches!(route.access, Access::Backend)
                && route.matches.covers(
                    &client.listener,
                    client.peer.ip(),
                    user,
                    Some(known.groups.as_slice()),
                )
        })
    }

    async fn enter<'a>(
        &self,
        route: Option<&'a Route>,
        client: &ClientInfo,
        proof: Proof,
        at_backend: &AtomicBool,
    ) -> Result<(Identity, &'a Route, Box<dyn crate::backend::BackendSession>), Failure> {
        let mut identity = Identity { user: proof.user().to_vec(), groups: vec![] };
        let unchecked = matches!(route.map(|route| &route.access), Some(Access::Backend));
        if !unchecked {
            // Without a route, too: who is unknown looks and lasts like a wrong password.
            let user = match &proof {
                Proof::Password(Credentials { user, password, .. }) => {
                    self.passwords.verify(user, password).await
                }
                Proof::PublicKey { user, key } => {
                    self.admits_key(client, user, key)?;
                    self.passwords.known(user)
                }
            };
            match (user, route) {
                (Some(user), Some(_)) => identity.groups = user.groups.clone(),
                (_, None) if self.is_kept_from_backend(client, proof.user()) => {
                    return Err(refused(KEPT_FROM_BACKEND));
                }
                (Some(_), None) => return Err(refused(NO_ROUTE)),
                (None, _) => return Err(refused("unknown user or wrong password")),
            }
        }
        let route = route.ok_or_else(|| refused(NO_ROUTE))?;
        let backend = self.backends.get(&route.backend).ok_or_else(|| {
            Failure::gateway(FailureKind::Internal, "the route's backend is not there")
        })?;
        let login = match &route.access {
            Access::Backend | Access::GatewayPassThrough => match proof {
                Proof::Password(credentials) => Login::Unchecked(credentials),
                Proof::PublicKey { .. } => return Err(refused(KEY_STAYS)),
            },
            Access::GatewayMapped(account) => Login::Vouched(Some(account.clone())),
            Access::GatewayOnly => Login::Vouched(None),
        };
        let mapped = matches!(login, Login::Vouched(_));
        let rooted = matches!(&route.root, Root::Path(path) if !path.is_root());
        let origin = Origin { client: client.peer, local: client.local, rooted };
        at_backend.store(true, Ordering::Relaxed);
        match backend.login(&login, origin).await {
            Ok(session) => {
                let number = self.routes.0.iter().position(|it| std::ptr::eq(it, route));
                let number = number.unwrap_or_default();
                match root::check(&*session, &identity, route, number).await {
                    Ok(()) => Ok((identity, route, session)),
                    Err(failure) => {
                        session.close().await;
                        Err(failure)
                    }
                }
            }
            // The words would be about an account that the client knows nothing of.
            Err(failure) if mapped && failure.kind != FailureKind::Unavailable => {
                Err(Failure::new(
                    FailureKind::Unavailable,
                    Fault::Backend,
                    "the backend server does not let the gateway in; tell the gateway's operator",
                )
                .with_detail(failure.message)
                .with_outage(Outage::AccountRefused))
            }
            Err(failure)
                if failure.kind == FailureKind::Unavailable && failure.outage.is_none() =>
            {
                Err(failure.with_outage(Outage::UnexpectedAnswer))
            }
            // The backend has only said so: name and password are the client's.
            Err(failure) if failure.kind == FailureKind::LoginRefused => {
                Err(Failure { fault: Fault::Client, ..failure })
            }
            Err(failure) => Err(failure),
        }
    }
}

/// `backend`: where it has come to one.
fn too_long(backend: Option<&str>) -> Failure {
    let message = "the login took too long; try again";
    match backend {
        Some(backend) => Failure::backend(FailureKind::Unavailable, message)
            .with_detail(format!(
                "backend \"{backend}\" had not let it in yet; its turn to connect \
                 (`connects_at_once`) may not have come"
            ))
            .with_outage(Outage::Timeout),
        None => Failure::gateway(FailureKind::Unavailable, message).with_detail(
            "the gateway's own check of the password was not done yet, its wait for the checks of \
             other logins included; no backend was asked",
        ),
    }
}

/// The same words for every reason: a client learns nothing about which users there are.
fn refused(reason: &str) -> Failure {
    Failure::client(FailureKind::LoginRefused, "login incorrect").with_detail(reason)
}

#[cfg(test)]
mod tests;
