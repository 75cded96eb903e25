//! The servers behind the gateway. Every backend turns a [`Target`] into its own protocol.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::auth::Credentials;
use crate::data::{Sink, Source};
use crate::net::Peer;
use crate::op::{
    Abilities, Answer, Changes, Entry, Failure, FailureKind, FileSystem, ListDirectory, OpenHandle,
    Operation, PeerReply, ReadFile, RemotePath, WriteFile,
};
use crate::policy::Names;
use crate::route::Target;
use crate::wire::proxy;

pub mod ftp;
pub mod group;
mod home;
mod in_flight;
pub mod local;
mod path_leases;
mod presented;
mod relayed;
pub mod sftp;
mod unsupported;

pub use group::ResumeNote;
pub use home::Home;
pub use in_flight::InFlight;
pub use path_leases::{KnownLeases, PathLeases};
pub use presented::Presented;
pub use relayed::{CommandRelay, RelayedRead};
pub use unsupported::{IgnoredAttributes, UnsupportedAttributes};

/// How a session logs in at a backend.
pub enum Login {
    /// The client's credentials, not verified: the backend must verify them.
    Unverified(Credentials),
    /// The gateway has authenticated the user. The account at the backend, or `None` for a backend
    /// without accounts.
    Authenticated(Option<Credentials>),
}

impl Login {
    /// Whether the server has the client's password, and has not accepted it.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Self::Unverified(credentials) if credentials.sent.is_set())
    }

    /// The account for a backend that has accounts; `backend` is for the message.
    fn account(&self, backend: &str) -> Result<&Credentials, Failure> {
        match self {
            Self::Unverified(credentials) | Self::Authenticated(Some(credentials)) => {
                Ok(credentials)
            }
            Self::Authenticated(None) => {
                let why = format!("{backend} requires an account, but the login has none");
                Err(Failure::gateway(FailureKind::Internal, why))
            }
        }
    }
}

/// The client's connection, as sent to the backend in a PROXY protocol header if that is configured;
/// and whether the route has a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The address of the client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// Whether every path of the session starts with a folder of the configuration. The login folder
    /// does not matter then.
    pub rooted: bool,
    /// Whether the gateway connects for itself, to check the server. There is no client then.
    pub is_check: bool,
}

impl Origin {
    /// For tests to which the origin does not matter.
    #[cfg(test)]
    pub(crate) const ANY: Self = {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            client: SocketAddr::new(here, 1),
            local: SocketAddr::new(here, 21),
            rooted: false,
            is_check: false,
        }
    };

    /// Of the gateway's checks.
    pub const CHECK: Self = {
        let none = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self { client: none, local: none, rooted: false, is_check: true }
    };

    /// The PROXY protocol header, version 2.
    fn header(&self) -> Vec<u8> {
        if self.is_check { proxy::encode_local() } else { proxy::encode(self.client, self.local) }
    }
}

/// Which connections to a backend start with a PROXY protocol header (`send_proxy_protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendProxyProtocol {
    /// None.
    #[default]
    None,
    /// Control connections only.
    Control,
    /// Control connections and passive data connections.
    All,
}

/// A configured backend.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Connects and logs in, within the backend's own timeouts. A backend that cannot verify a
    /// password refuses `Login::Unverified`.
    async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure>;

    /// As [`Backend::login`], for this user of the gateway. A backend of several servers may choose one by it.
    async fn login_as(
        &self,
        _user: &[u8],
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        self.login(login, origin).await
    }

    /// Connects up to what a server says before a login, and ends the connection: the greeting of FTP, with
    /// TLS if it is configured, or the key exchange of SSH with the check of the host key. A folder says
    /// nothing.
    async fn greet(&self) -> Result<Presented, Failure> {
        Ok(Presented::default())
    }

    /// How its server reads names (`names`).
    fn names(&self) -> Names {
        Names::Exact
    }

    /// Whether its server has `dialect: opaque`: its sessions have a [`CommandRelay`] and nothing else.
    fn is_opaque(&self) -> bool {
        false
    }

    /// The addresses of its server as configured, for the log.
    fn addresses(&self) -> &[String] {
        &[]
    }
}

/// A user's session at a backend. The paths in targets are the backend's.
#[async_trait]
pub trait BackendSession: Send + Sync {
    /// The login folder.
    fn home(&self) -> Home;

    /// The optional operations that it supports.
    fn abilities(&self) -> Abilities;

    /// The server, for records: of the first connection where there are several. `None` for a backend
    /// without a connection.
    fn peer(&self) -> Option<Peer> {
        None
    }

    /// To be told of interrupted uploads, where the user's next session should get the same server.
    fn resume_note(&self) -> Option<Arc<ResumeNote>> {
        None
    }

    /// Relays the commands of FTP clients to an opaque server; `None` for other backends.
    fn relay(&self) -> Option<&dyn CommandRelay> {
        None
    }

    /// Performs an operation that has a plain answer.
    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure>;

    /// Lists a folder.
    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure>;

    /// Opens a file to be read as a stream.
    async fn open_read(&self, target: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure>;

    /// Opens a file to be written as a stream.
    async fn open_write(
        &self,
        target: &Target<WriteFile>,
    ) -> Result<Box<dyn WriteTransfer>, Failure>;

    /// Called before the first operation if the client opens many files at once and distinguishes
    /// symlinks from their targets (SFTP).
    fn expect_many(&self) {}

    /// Called if listings must have times to the second (MLSD), even where the server's listing has
    /// less precise ones and another command returns the exact times.
    fn expect_exact_times(&self) {}

    /// Called if a transfer is likely to follow: the backend may prepare it. Returns at once; failures
    /// are not reported.
    fn expect_transfer(&self) {}

    /// Opens a file for reads and writes at any offset, as far as the backend supports that.
    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure>;

    /// Logs out. No operation may follow. Dropping the session skips the logout.
    async fn close(&self);
}

/// A file that is open for reads and writes at any offset. Many requests may be in flight at once. They
/// take effect in order: reads and writes in the order of the calls, which return an [`InFlight`],
/// all others in the order of their first polls. Callers bound the number of requests and of bytes in
/// flight.
///
/// It ends in `close` or `abort`; dropped without either, it counts as aborted.
#[async_trait]
pub trait OpenFile: Send + Sync {
    /// Reads up to `length` bytes from `offset`, at least one; `None` at or after the end of the file.
    fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>>;

    /// Writes all of `data` at `offset`.
    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()>;

    /// The file's current attributes.
    async fn stat(&self) -> Result<Entry, Failure>;

    /// The file's size in bytes; `None` if it cannot be determined now.
    async fn size(&self) -> Option<u64>;

    /// Sets the attributes that are `Some` in `changes`.
    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure>;

    /// Whether operations on the path must be performed on this file: it has a temporary name until
    /// it is closed, or the backend does not have all written bytes yet.
    fn answers_for_path(&self) -> bool {
        false
    }

    /// Returns when the backend has stored all written bytes.
    async fn sync(&self) -> Result<(), Failure>;

    /// The space and limits of the file system that holds the file.
    async fn file_system(&self) -> Result<FileSystem, Failure>;

    /// Copies `length` bytes (0: all to the end) from `offset` to `to`, which this same backend
    /// session opened, at `to_offset`.
    async fn copy_data(
        &self,
        offset: u64,
        length: u64,
        to: &Arc<dyn OpenFile>,
        to_offset: u64,
    ) -> Result<(), Failure>;

    /// The file is complete: waits until the backend has stored and confirmed it. Requests made before
    /// this call take effect first.
    async fn close(&self) -> Result<(), Failure>;

    /// Aborts: the partial file is kept, deleted or left under its temporary name, as configured.
    async fn abort(&self);

    /// For the backend's `copy_data`, to get its own type of file.
    fn as_any(&self) -> &dyn Any;
}

/// A listing of a folder, in batches, so that its memory is bounded.
#[async_trait]
pub trait Listing: Send {
    /// The next entries (at most 256), never empty; `None` once the backend has confirmed that the
    /// listing is complete. They may include `.` and `..`. An error after some batches means that the
    /// listing is incomplete.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure>;

    /// Ends the listing early and brings the backend's session back into sync.
    async fn abort(self: Box<Self>);
}

/// A file being read. It ends in `finish` or `abort`; dropped without either, it counts as aborted.
#[async_trait]
pub trait ReadTransfer: Send {
    /// The source of the file's bytes.
    fn source(&mut self) -> &mut Source;

    /// Bytes that the source will yield, for operators; `None` if the backend has not told. The file may
    /// change meanwhile.
    fn expected_bytes(&self) -> Option<u64> {
        None
    }

    /// Called at the end of the source: waits for the backend's final reply.
    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure>;

    /// Ends the transfer early. Returns the backend's own failure, if it reported one.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// A file being written. It ends in `finish` or `abort`; dropped without either, it counts as
/// aborted, and the backend never takes the partial file for a complete one.
#[async_trait]
pub trait WriteTransfer: Send {
    /// The sink for the file's bytes.
    fn sink(&mut self) -> &mut Sink;

    /// The path of the file at the backend, which chooses it for `Unique`.
    fn path(&self) -> &RemotePath;

    /// Called before the first byte. Until then an older file stays unchanged where the backend supports
    /// that: a client whose data connection is never established must not
    /// lose it.
    async fn begin(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Reports the number of bytes written to the sink; called before the end.
    fn sent(&mut self, _bytes: u64) {}

    /// All bytes are written: sends buffered bytes to the backend, as far as this does not complete the
    /// file under its own name yet. May be dropped before it completes. Some failures are
    /// reported by `finish` only.
    async fn settle(&mut self) -> Result<(), Failure>;

    /// All bytes are written: ends the data in the way that means *complete*, and waits until the
    /// backend has stored the file.
    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure>;

    /// Aborts: the backend's partial file is kept, deleted or left under its temporary name, as
    /// configured. Returns the backend's own failure, if it reported one.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// What happens to the file of an interrupted upload (`partial_uploads`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartialUploads {
    /// The partial file stays, and the upload can be resumed with REST.
    #[default]
    Keep,
    /// The partial file is deleted, unless the upload continued an older file (REST, APPE).
    Delete,
    /// Uploads are written under a temporary name and renamed when complete. Only this also protects
    /// against a crash of the gateway. Continued uploads (REST, APPE) are written to the file itself.
    TemporaryName,
}

/// A temporary name for an incomplete upload or a renamed old file: hidden, and in the same folder.
fn temporary_name(path: &RemotePath) -> Result<RemotePath, Failure> {
    let name = format!(".lockgate-{:016x}.part", rand::random::<u64>());
    path.parent()
        .and_then(|folder| RemotePath::resolve(&folder, name.as_bytes()).ok())
        .ok_or_else(|| Failure::client(FailureKind::IsADirectory, "the root is no file"))
}
