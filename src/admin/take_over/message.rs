//! What the two processes tell each other.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::PeerRequest;
use crate::auth::CarriedGuard;
use crate::expected::{CarriedArrival, CarriedFiles};
use crate::net::OpenSocket;
use crate::policy::limits::CarriedUse;

/// A message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// New to old: the connection is upgraded. Before, the old one sends nothing, or it would be read as HTTP.
    Upgraded,
    /// Old to new: there will be no take-over, for this reason.
    Refused(String),
    /// New to old: it cannot serve, for this reason.
    Failed(String),
    /// Old to new: all open sockets, which follow, the admin socket last. The old one still accepts.
    Offer {
        /// The old one's id.
        process: u32,
        /// As the configuration finds them.
        sockets: Vec<OpenSocket>,
        /// The service manager has made the admin socket's file, and removes it.
        keeps_admin_file: bool,
    },
    /// New to old: it could serve, and needs the sockets of these numbers.
    Prepared(Vec<usize>),
    /// Old to new: it accepts no more from the sockets of `given`. The links of `before` follow.
    HandOver {
        /// The sockets from which the new one shall accept; it leaves the others to the old one.
        given: Vec<usize>,
        /// The processes before the old one, which have sessions still.
        before: Vec<Before>,
        /// What the new one goes on with.
        carried: Carried,
    },
    /// New to old: it is going to accept.
    Ready,
    /// Old to new: accept.
    Go,
    /// New to old: it accepts. If it ends before, the old one goes on.
    Serving,
    /// Old to new: the service manager knows the new one.
    Announced,
    /// The sender accepts at these ports of a pool no more; the receiver does from now on.
    Give {
        /// The pool's name.
        pool: String,
        /// The ports.
        ports: Vec<u16>,
    },
    /// The sender has clients that wait for a port of this pool.
    Want(String),
    /// What the sender has counted for quotas.
    Used(Vec<CarriedUse>),
    /// Old to new: expected files that have arrived there.
    Arrived(Vec<CarriedArrival>),
    /// Old to new: its open sessions.
    Sessions(usize),
    /// New to old: end, as by SIGTERM.
    Drain,
    /// New to old: a request of an operator. It takes the place of one that is not answered yet.
    Ask {
        /// Which request it is; of no other process's.
        number: u64,
        /// The request.
        request: PeerRequest,
    },
    /// Old to new: a part of the answer to the request of this number.
    Answer {
        /// The request's.
        number: u64,
        /// The next rows.
        rows: Vec<Value>,
        /// With the last rows: how many there are in all.
        count: Option<usize>,
    },
}

/// A process before the one that hands over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Before {
    /// The state of the link to it, without its socket.
    pub link: LinkParts,
    /// Its open sessions.
    pub sessions: usize,
    /// The ports at which it accepts, with their pools.
    pub ports: Vec<(String, u16)>,
    /// The pools that it needs a port of.
    pub wants: HashSet<String>,
    /// What it knows of quotas.
    pub known: Vec<CarriedUse>,
}

/// A link without its socket, for the process that goes on with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LinkParts {
    pub(super) process: u32,
    pub(super) received: Vec<u8>,
    pub(super) unsent: Vec<u8>,
}

/// What does not begin anew with the new process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Carried {
    /// The number of the first session.
    pub first_session: u64,
    /// The keys of session tickets, by listener.
    pub ticket_keys: BTreeMap<String, Value>,
    /// Bans and failed logins.
    pub guard: CarriedGuard,
    /// The servers that an operator has taken out of use.
    pub drained_servers: Vec<String>,
    /// What was transferred today.
    pub used: Vec<CarriedUse>,
    /// Expected files that have arrived.
    pub expected: CarriedFiles,
}
