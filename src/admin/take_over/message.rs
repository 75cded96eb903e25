//! What the two processes tell each other.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::PeerRequest;
use crate::audit::CarriedLoss;
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
    /// Old to new: all open sockets, which follow, then the admin socket, and the old process itself, as a
    /// pidfd. The old one still accepts.
    Offer {
        /// The old one's id.
        process: u32,
        /// How many processes before the old one have sessions still.
        before: usize,
        /// As the configuration finds them.
        sockets: Vec<OpenSocket>,
        /// The service manager has made the admin socket's file, and removes it.
        keeps_admin_file: bool,
    },
    /// New to old: it could serve, and needs the sockets of these numbers.
    Prepared(Vec<usize>),
    /// Old to new: a part of what the new one goes on with. The old one accepts no more.
    Part(Part),
    /// Old to new: that was all. The links to the processes before follow, in the order of their parts.
    HandOver {
        /// The sockets from which the new one shall accept; it leaves the others to the old one.
        given: Vec<usize>,
    },
    /// New to old: it can accept, and waits for the word.
    Ready,
    /// Old to new: accept.
    Go,
    /// New to old: it accepts. Without this, the old one ends the new one, and goes on.
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
    /// Old to new: audit records that it has lost.
    AuditLost(Vec<CarriedLoss>),
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

/// A part of what does not begin anew with the new process: what has no limit of its length is divided.
#[derive(Debug, Serialize, Deserialize)]
pub enum Part {
    /// The number of the first session.
    FirstSession(u64),
    /// The keys of session tickets, by listener.
    TicketKeys(BTreeMap<String, Value>),
    /// Bans and failed logins.
    Guard(CarriedGuard),
    /// The servers that an operator has taken out of use.
    DrainedServers(Vec<String>),
    /// What was transferred today.
    Used(Vec<CarriedUse>),
    /// Expected files that have arrived.
    Expected(CarriedFiles),
    /// A process before the old one, which has sessions still.
    Before(Before),
    /// What the last one of [`Self::Before`] does not know of [`Self::Used`].
    Unknown(Vec<CarriedUse>),
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
}

/// A link without its socket, for the process that goes on with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LinkParts {
    pub(super) process: u32,
    #[serde(with = "base64_bytes")]
    pub(super) received: Vec<u8>,
    #[serde(with = "base64_bytes")]
    pub(super) unsent: Vec<u8>,
}

/// Bytes as a third more, not as four times as many.
mod base64_bytes {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
