//! What the admin socket shows and changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Explainer;
use super::access::Access;
use super::before::{FromBefore, ProcessBefore};
use super::error::{Answer, ApiError};
use super::take_over::{Link, PeerRequest};
use crate::backend::group::{Group, Servers};
use crate::data::Pool;
use crate::expected::ExpectedFiles;
use crate::net::{CertificateEnd, Drain};
use crate::session::LiveSessions;

/// What the configuration in force consists of.
pub struct InForce {
    /// The data ports.
    pub pools: Vec<Arc<Pool>>,
    /// The backends that logins lead to, by name.
    pub backends: Vec<Arc<Group>>,
    /// The servers of all backends.
    pub servers: Servers,
    /// Connection attempts at once to the servers of each backend.
    pub connects_limits: Vec<(String, usize)>,
    /// Its gateway and listeners.
    pub explainer: Explainer,
    /// Whether `/ready` needs a backend with a server that is up (`metrics.ready_needs_backend`).
    pub ready_needs_backend: bool,
    /// When the certificates end that it names.
    pub certificate_ends: Vec<CertificateEnd>,
    /// Every bound address by listener name.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Since when it is in force.
    pub since: SystemTime,
    /// As written, without secrets.
    pub masked: Value,
    /// Its keys that apply only after a restart: there, another one is in force.
    pub needs_restart: Vec<String>,
    /// Who may use `admin.address`.
    pub access: Option<Arc<Access>>,
}

/// What goes on when another configuration is put in force.
pub struct Lasting {
    /// When the gateway was started.
    pub started: SystemTime,
    /// The configuration file; `None`: the configuration is no file.
    pub file: Option<PathBuf>,
    /// The open sessions.
    pub live: Arc<LiveSessions>,
    /// The files that are expected.
    pub expected: Arc<ExpectedFiles>,
    /// Ends the gateway.
    pub drain: Drain,
}

/// A running gateway.
pub trait Control: Send + Sync {
    /// The configuration in force.
    fn in_force(&self) -> Arc<InForce>;

    /// What goes on when another one is put in force. Does not block.
    fn lasting(&self) -> Lasting;

    /// Reads the configuration again. Blocks.
    fn reload(&self) -> ReloadOutcome;

    /// Hands the sockets over to the process at the other end, which has the gateway's user, in the background.
    fn hand_over(self: Arc<Self>, link: Link);

    /// Starts another process that takes over.
    fn restart(self: Arc<Self>) -> BoxFuture<'static, RestartOutcome>;

    /// The processes from which this one has taken over, as far as they have sessions.
    fn before(&self) -> Vec<ProcessBefore>;

    /// What each of them answers, within two seconds.
    fn ask_before(self: Arc<Self>, request: PeerRequest) -> BoxFuture<'static, Vec<FromBefore>>;
}

/// How a restart went.
pub enum RestartOutcome {
    /// The process of this id accepts; so many sessions go on in the one before.
    TakenOver {
        /// The new process's id.
        process: u32,
        /// The open sessions of the one before.
        sessions: usize,
    },
    /// The new process cannot use the configuration, for these reasons: the gateway goes on as it was.
    Invalid(String),
    /// Another reason why the gateway goes on as it was.
    Failed(String),
}

impl RestartOutcome {
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::TakenOver { process, sessions } => {
                Ok(json!({ "process": process, "sessions_before": sessions }))
            }
            Self::Invalid(problems) => Err(ApiError::invalid_configuration(problems)),
            Self::Failed(error) => Err(ApiError::conflict(error)),
        }
    }
}

/// How a reload went.
pub enum ReloadOutcome {
    /// The new configuration is in force, with these warnings.
    InForce(Vec<String>),
    /// The configuration is not valid, for these reasons: the one before stays.
    Invalid(String),
    /// Another reason why the one before stays.
    Failed(String),
}

impl ReloadOutcome {
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::InForce(warnings) => Ok(json!({ "in_force": true, "warnings": warnings })),
            Self::Invalid(problems) => Err(ApiError::invalid_configuration(problems)),
            Self::Failed(error) => Err(ApiError::conflict(error)),
        }
    }
}
