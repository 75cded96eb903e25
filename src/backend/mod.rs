//! The servers behind the gateway. Every backend turns a [`Target`] into its own protocol.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::auth::Credentials;
use crate::data::{Sink, Source};
use crate::op::{
    Abilities, Answer, Changes, Entry, Failure, FailureKind, FileSystem, ListDirectory, OpenHandle,
    Operation, PeerReply, ReadFile, RemotePath, WriteFile,
};
use crate::route::Target;
use crate::wire::proxy;

pub mod ftp;
mod home;
mod in_flight;
pub mod local;
mod path_leases;
pub mod sftp;
mod unsupported;

pub use home::Home;
pub use in_flight::InFlight;
pub use unsupported::{IgnoredAttributes, UnsupportedAttributes};

/// How a session gets in at a backend.
pub enum Login {
    /// What the client gave; nobody has checked it, so the backend must.
    Unchecked(Credentials),
    /// The gateway has checked who the user is: the account that the user is mapped to, or `None`
    /// where a backend has no accounts.
    Vouched(Option<Credentials>),
}

impl Login {
    /// As whom a backend with accounts is entered; `backend` is for the message.
    fn account(&self, backend: &str) -> Result<&Credentials, Failure> {
        match self {
            Self::Unchecked(credentials) | Self::Vouched(Some(credentials)) => Ok(credentials),
            Self::Vouched(None) => {
                let why = format!("{backend} was entered without an account");
                Err(Failure::gateway(FailureKind::Internal, why))
            }
        }
    }
}

/// For whom a session is: what a backend that asks for it is told in PROXY protocol headers; and
/// whether it is bound to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The address of the client.
    pub client: SocketAddr,
    /// What the client connected to.
    pub local: SocketAddr,
    /// Whether every path of the session begins with a folder that the configuration names, so that it
    /// does not matter where the login puts the user.
    pub rooted: bool,
}

impl Origin {
    /// Of a test that does not care.
    #[cfg(test)]
    pub(crate) const ANY: Self = {
        let here = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        Self { client: SocketAddr::new(here, 1), local: SocketAddr::new(here, 21), rooted: false }
    };

    /// The header, of version 2.
    fn header(&self) -> Vec<u8> {
        proxy::encode(self.client, self.local)
    }
}

/// On which connections a backend is told who the client is (`send_proxy_protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendProxyProtocol {
    /// None.
    #[default]
    None,
    /// Control connections only.
    Control,
    /// On passive data connections too.
    All,
}

/// A configured backend.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Connects and logs in. Bounded by the backend's own deadlines. A backend that cannot check a
    /// password refuses `Login::Unchecked`.
    async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure>;

    /// Where its server is, as configured: for the log.
    fn addresses(&self) -> &[String] {
        &[]
    }
}

/// One user's session at a backend. Paths in targets are the backend's.
#[async_trait]
pub trait BackendSession: Send + Sync {
    /// Where the login put the user.
    fn home(&self) -> Home;

    /// What it can beyond the basics.
    fn abilities(&self) -> Abilities;

    /// What ends in a plain answer.
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

    /// Its client has many files open at once, and tells links from what they lead to. Said before
    /// anything is asked.
    fn expect_many(&self) {}

    /// The client is told times to the second in listings (MLSD), also where the server shows less there
    /// and tells more when asked.
    fn expect_exact_times(&self) {}

    /// A transfer is likely to be the next thing that is asked for: what it needs may be made ready.
    /// Returns at once; what fails is not told.
    fn expect_transfer(&self) {}

    /// A file to be read and written at any offset, as far as the backend can.
    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure>;

    /// Says goodbye. Dropping without it is allowed and rude. Nothing is asked of it afterwards.
    async fn close(&self);
}

/// A file that is open for reads and writes at any offset. Many requests may be under way at once, and
/// take effect in their order: reads and writes in that of the calls, which return them [`InFlight`],
/// everything else in that of the first polls. Callers bound how many requests, and how many bytes, are
/// under way.
///
/// It ends in `close` or `abort`; dropped without either, it counts as aborted.
#[async_trait]
pub trait OpenFile: Send + Sync {
    /// Up to `length` bytes from `offset`, at least one; `None` at and behind the end.
    fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>>;

    /// All of `data` at `offset`.
    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()>;

    /// What the file is now.
    async fn stat(&self) -> Result<Entry, Failure>;

    /// The file's bytes; `None` where they cannot be told now.
    async fn size(&self) -> Option<u64>;

    /// Changes what is `Some` in `changes`.
    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure>;

    /// Whether what is asked about the path is to be asked of this file: it has another name until
    /// its end, or the backend does not know yet what was written.
    fn answers_for_path(&self) -> bool {
        false
    }

    /// Returns when all that was written is safe at the backend.
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

    /// What was written is whole: waits until the backend has it safe and says so. All requests made
    /// before take effect before it.
    async fn close(&self) -> Result<(), Failure>;

    /// Cut: what was written is kept, deleted or left under its temporary name, as configured.
    async fn abort(&self);

    /// The backend's own kind of file, for `copy_data`.
    fn as_any(&self) -> &dyn Any;
}

/// A folder being listed, in batches, so that its size does not become the gateway's memory.
#[async_trait]
pub trait Listing: Send {
    /// The next entries (at most 256), never empty; `None` once the backend has said that the
    /// listing is whole. `.` and `..` may be among them. An error after some batches means that what
    /// was given is not all.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure>;

    /// Gives up before the end and brings the backend's session back into step.
    async fn abort(self: Box<Self>);
}

/// A file being read. It ends in `finish` or `abort`; dropped without either, it counts as aborted.
#[async_trait]
pub trait ReadTransfer: Send {
    /// Where the bytes come from.
    fn source(&mut self) -> &mut Source;

    /// After the source's end: what the backend says about it.
    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure>;

    /// Before the end. Returns what the backend itself had against the transfer, if it said so.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// A file being written. It ends in `finish` or `abort`; dropped without either, it counts as
/// aborted, and the backend never takes what it has for a whole file.
#[async_trait]
pub trait WriteTransfer: Send {
    /// Where the bytes go.
    fn sink(&mut self) -> &mut Sink;

    /// The file that is being written, as the backend sees it (chosen by it for `Unique`).
    fn path(&self) -> &RemotePath;

    /// Bytes will come: to be called before the first one. Until then, what an older file has is left as
    /// it is, where the backend can do that: a client whose data connection never comes shall not
    /// lose it.
    async fn begin(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// How many bytes were put into the sink, said before the end.
    fn sent(&mut self, _bytes: u64) {}

    /// All bytes are written: brings what waits in the gateway to the backend, as far as that does not
    /// make the file whole under its own name yet. May be dropped before it is done. Some failures are
    /// told by `finish` only.
    async fn settle(&mut self) -> Result<(), Failure>;

    /// All bytes are written: closes the sink in the way that means *complete* and waits until the
    /// backend has it safe.
    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure>;

    /// Cut: the backend's partial file is kept, deleted or left under its temporary name, as
    /// configured. Returns what the backend itself had against the transfer, if it said so.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// What becomes of a file whose upload was cut (`partial_uploads`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartialUploads {
    /// The part stays, and can be resumed with REST.
    #[default]
    Keep,
    /// The part is deleted, unless the upload continued (REST, APPE) an older file.
    Delete,
    /// Uploads are written under a temporary name and renamed when whole; the only one that survives
    /// a crash of the gateway. Continued uploads (REST, APPE) go to the file itself.
    TemporaryName,
}

/// The name of an upload that is not whole yet, or of a file put aside: hidden, in the same folder, so that the rename at the end stays on one file system.
fn temporary_name(path: &RemotePath) -> Result<RemotePath, Failure> {
    let name = format!(".lockgate-{:016x}.part", rand::random::<u64>());
    path.parent()
        .and_then(|folder| RemotePath::resolve(&folder, name.as_bytes()).ok())
        .ok_or_else(|| Failure::client(FailureKind::IsADirectory, "the root is no file"))
}
