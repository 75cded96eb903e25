//! A listener's TLS: its certificates, and the sessions of its control connections.

mod control;

use std::sync::Arc;

use rustls::ServerConfig;

use super::certificates::{CertificateChoice, ServerCertificates};
use super::chain::{Chain, SystemAuthorities};
use super::client_auth::ClientAuth;
use super::hello::OfferedSessions;
use super::sessions::Sessions;
use super::ticket::{self, SessionId, SessionIdIndex, SessionStore};
use super::ticketer::WeeklyTicketer;

pub use control::{ControlTls, DataHandshake, Direction};

/// Tickets that a TLS 1.3 control connection gets. More than rustls' two, since upload data
/// connections get none and some clients use each ticket once.
const TICKETS_PER_CONTROL_CONNECTION: usize = 8;

/// A listener's TLS: its certificates, the shared ticketer and its control sessions.
#[derive(Clone)]
pub struct ServerTls {
    base: Arc<ServerConfig>,
    certificates: Arc<ServerCertificates>,
    client_auth: Option<ClientAuth>,
    /// What the listener keeps when it gets another certificate.
    lasting: Arc<Lasting>,
}

/// The key of a listener's tickets, and the sessions that resume with them.
struct Lasting {
    ticketer: Arc<WeeklyTicketer>,
    session_ids: Arc<SessionIdIndex>,
    sessions: Sessions,
}

impl ServerTls {
    /// What clients get, the default certificate first. `known`: see [`Chain::of`].
    pub fn chains(&self, known: &SystemAuthorities) -> Vec<Chain> {
        self.certificates.chains().into_iter().map(|chain| Chain::of(chain, known)).collect()
    }

    /// What it demands of clients' certificates; `None`: it does not ask for them.
    pub fn client_auth(&self) -> Option<&ClientAuth> {
        self.client_auth.as_ref()
    }

    /// TLS 1.2 and 1.3 with one certificate or several. `client_auth`: `None` if clients are not asked for
    /// a certificate.
    pub fn new(
        certificates: impl Into<ServerCertificates>,
        client_auth: Option<ClientAuth>,
    ) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(certificates.into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let builder = match &client_auth {
            Some(client_auth) => builder.with_client_cert_verifier(client_auth.verifier()),
            None => builder.with_no_client_auth(),
        };
        let choice = CertificateChoice::for_control(certificates.clone());
        let mut base = builder.with_cert_resolver(Arc::new(choice));
        base.send_tls13_tickets = TICKETS_PER_CONTROL_CONNECTION;
        Ok(Self {
            base: Arc::new(base),
            certificates,
            client_auth,
            lasting: Arc::new(Lasting {
                ticketer: Arc::new(WeeklyTicketer::new()?),
                session_ids: Arc::default(),
                sessions: Sessions::default(),
            }),
        })
    }

    /// The same listener as `previous`, with other certificates and settings: its sessions go on, also for
    /// their later data connections.
    pub fn continues(&mut self, previous: &Self) {
        self.lasting = previous.lasting.clone();
    }

    /// The keys of the session tickets, for the process that takes over: secret.
    pub fn ticket_keys(&self) -> serde_json::Value {
        self.lasting.ticketer.export()
    }

    /// Goes on with the keys of the process before. Returns whether they are complete; otherwise it keeps its
    /// own.
    pub fn set_ticket_keys(&self, exported: &serde_json::Value) -> bool {
        self.lasting.ticketer.import(exported)
    }

    /// TLS for a new control session.
    pub fn control_session(&self) -> ControlTls {
        let id = rand::random();
        let store = SessionStore::new(id, self.lasting.session_ids.clone());
        ControlTls::new(self, id, store, self.lasting.sessions.start(id))
    }

    /// The control sessions that the offered sessions belong to. Only the handshake verifies the offer.
    pub fn owners(&self, offered: &OfferedSessions) -> Vec<SessionId> {
        let owner =
            |ticket: &Vec<u8>| Some(ticket::open(&*self.lasting.ticketer, ticket)?.0.session);
        let by_ticket = offered.tickets.iter().filter_map(owner);
        by_ticket.chain(self.lasting.session_ids.owner(&offered.session_id)).collect()
    }

    /// A connection that was expected to resume `one` offered `others`: their client keeps one store for
    /// all of them.
    pub fn note_shared_store(&self, one: &SessionId, others: &[SessionId]) {
        let live: Vec<_> = others.iter().filter_map(|id| self.lasting.sessions.get(id)).collect();
        if !live.is_empty() {
            live.iter()
                .chain(self.lasting.sessions.get(one).iter())
                .for_each(|s| s.note_shared_store());
        }
    }
}

/// Whether both belong to the same listener, whatever its certificates.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lasting, &other.lasting)
    }
}

#[cfg(test)]
mod tests;
