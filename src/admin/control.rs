//! What the admin socket shows and changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Explainer, Link};
use crate::backend::group::Servers;
use crate::data::Pool;
use crate::net::Drain;
use crate::session::LiveSessions;

/// What the configuration in force consists of.
pub struct InForce {
    /// The data ports.
    pub pools: Vec<Arc<Pool>>,
    /// The servers of all backends.
    pub servers: Servers,
    /// Its gateway and listeners.
    pub explainer: Explainer,
    /// Every bound address by listener name.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Since when it is in force.
    pub since: SystemTime,
}

/// What goes on when another configuration is put in force.
pub struct Lasting {
    /// When the gateway was started.
    pub started: SystemTime,
    /// The configuration file; `None`: the configuration is no file.
    pub file: Option<PathBuf>,
    /// The open sessions.
    pub live: Arc<LiveSessions>,
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
}

/// A process whose sessions go on while this one accepts new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessBefore {
    /// Its id.
    pub process: u32,
    /// Its open sessions, as it has last said.
    pub sessions: usize,
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
    pub(super) fn json(self) -> Value {
        match self {
            Self::TakenOver { process, sessions } => {
                json!({ "process": process, "sessions_before": sessions })
            }
            Self::Invalid(problems) => json!({ "problems": problems }),
            Self::Failed(error) => json!({ "error": error }),
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
    pub(super) fn json(self) -> Value {
        match self {
            Self::InForce(warnings) => json!({ "in_force": true, "warnings": warnings }),
            Self::Invalid(problems) => json!({ "in_force": false, "problems": problems }),
            Self::Failed(error) => json!({ "error": error }),
        }
    }
}
