//! What all fronts share.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use ipnet::IpNet;

use super::Limits;
use super::client_info::ClientInfo;
use super::client_refusal::ClientRefusal;
use super::login_hooks::LoginHooks;
use super::metrics::{Channel, Metrics};
use crate::audit::{Audit, Event, What};
use crate::auth::{KeyTrust, LoginGuard, PasswordCheck};
use crate::backend::Backend;
use crate::expected::ExpectedFiles;
use crate::net::{Protection, ProxyProtocol, Stream};
use crate::op::{Failure, FailureKind};
use crate::policy::limits;
use crate::policy::{Names, RuleSet, SessionFacts, SessionPolicy};
use crate::route::RouteTable;

/// What all fronts share: users, routes, backends.
pub struct Gateway {
    /// The `users` and the check of their passwords.
    pub passwords: Arc<PasswordCheck>,
    /// Whose certificates, and which keys, each SFTP listener accepts; by the listener's name.
    pub key_trust: HashMap<String, KeyTrust>,
    /// The programs that decide about logins of routes with `authenticate: http`.
    pub login_hooks: LoginHooks,
    /// Delays and bans after failed logins (`login_guard`).
    pub guard: Arc<LoginGuard>,
    /// The `routes`; the first match applies.
    pub routes: RouteTable,
    /// By name in the configuration; each route names one of them.
    pub backends: HashMap<String, Arc<dyn Backend>>,
    /// The `policy`; `None`: whatever the backend allows.
    pub policy: Option<Arc<RuleSet>>,
    /// The limits on users and others (`policy.limits`).
    pub policy_limits: limits::Limits,
    /// The files that are expected (`expect`).
    pub expected: Arc<ExpectedFiles>,
    /// Limits and timeouts (`limits`).
    pub limits: Limits,
    /// The metrics of all sessions.
    pub metrics: Arc<Metrics>,
    /// Where logins, operations and refused clients are recorded.
    pub audit: Audit,
}

impl Gateway {
    /// The PROXY protocol of a listener whose connections come from proxies in these networks.
    pub fn proxy_protocol(&self, listener: &str, trusted: &[IpNet]) -> Option<ProxyProtocol> {
        let refused = || self.metrics.proxy_refused(listener);
        (!trusted.is_empty()).then(|| ProxyProtocol::new(trusted.to_vec(), refused()))
    }

    /// Counts the TLS handshake of a connection; nothing if it is in clear.
    pub fn tls_established(&self, listener: &str, channel: Channel, stream: &Stream) {
        self.metrics.tls_handshake(listener, channel, stream);
    }

    /// Counts the first key exchange of an SSH connection.
    pub fn ssh_established(&self, client: &ClientInfo, protection: &Protection) {
        self.metrics.ssh_key_exchange(&client.listener, protection);
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

    /// The rules for a session.
    pub(super) fn session_policy(&self, facts: SessionFacts) -> Option<SessionPolicy> {
        let rules = self.policy.clone()?;
        let names = self.names(&facts.backend);
        Some(SessionPolicy::new(rules, facts, names))
    }

    /// How a backend's servers read names.
    fn names(&self, backend: &str) -> Names {
        self.backends.get(backend).map_or(Names::Exact, |it| it.names())
    }
}

/// The message is the same for every reason, so that clients cannot find out which users exist.
fn refused(reason: &str) -> Failure {
    Failure::client(FailureKind::LoginRefused, "login incorrect").with_detail(reason)
}

mod authenticate;
mod backend_login;
mod certificate;
mod choice;
mod destination;
mod guessing;
mod hook;
mod judge;
mod login;
mod progress;

pub use guessing::BANNED;

#[cfg(test)]
mod tests;

pub use certificate::PasswordNeed;
pub use judge::ListenerDemands;
