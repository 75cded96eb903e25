//! The servers behind the gateway. Every backend turns a [`Target`] into its own protocol.

use async_trait::async_trait;

use crate::data::{Sink, Source};
use crate::op::{Entry, Failure, RemotePath, Words};
use crate::route::Target;

pub mod ftp;
pub mod local;

/// How a session gets in at a backend.
pub enum Login {
    /// What the client gave; nobody has checked it, so the backend must.
    Unchecked(Credentials),
    /// The gateway has checked who the user is: the account that the user is mapped to, or `None`
    /// where a backend has no accounts.
    Vouched(Option<Credentials>),
}

/// What a user gives to get in; wiped when dropped.
#[derive(Clone)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub password: zeroize::Zeroizing<Vec<u8>>,
    /// ACCT, where a backend asked for one.
    pub account: Option<zeroize::Zeroizing<Vec<u8>>>,
}

/// A configured backend.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Connects and logs in. Bounded by the backend's own deadlines. A backend that cannot check a
    /// password refuses `Login::Unchecked`.
    async fn login(&self, login: &Login) -> Result<Box<dyn BackendSession>, Failure>;
}

/// One user's session at a backend. Paths in targets are the backend's.
#[async_trait]
pub trait BackendSession: Send + Sync {
    /// Where the login put the user.
    fn home(&self) -> RemotePath;

    /// Everything that ends in a plain answer: stat, size, enter, remove, rename, folders, attributes.
    async fn perform(&self, target: &Target) -> Result<Answer, Failure>;

    async fn list(&self, target: &Target) -> Result<Box<dyn Listing>, Failure>;

    async fn open_read(&self, target: &Target) -> Result<Box<dyn ReadTransfer>, Failure>;

    async fn open_write(&self, target: &Target) -> Result<Box<dyn WriteTransfer>, Failure>;

    /// Says goodbye. Dropping without it is allowed and rude.
    async fn close(self: Box<Self>);
}

/// What [`BackendSession::perform`] brings.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is done; the peer's own words where it has any.
    Done(Option<Words>),
    /// To `Stat`.
    Entry(Entry),
    /// To `Size`, in bytes of the representation asked for.
    Size(u64),
}

/// A folder being listed, in batches, so that its size does not become the gateway's memory.
#[async_trait]
pub trait Listing: Send {
    /// The next entries (at most 256), never empty; `None` once the backend has said that the
    /// listing is whole. An error after some batches means that what was given is not all.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure>;

    /// Gives up before the end and brings the backend's session back into step.
    async fn abort(self: Box<Self>);
}

/// A file being read. It ends in `finish` or `abort`; dropped without either, it counts as aborted.
#[async_trait]
pub trait ReadTransfer: Send {
    fn source(&mut self) -> &mut Source;

    /// After the source's end: what the backend says about it.
    async fn finish(self: Box<Self>) -> Result<Option<Words>, Failure>;

    /// Before the end. Returns what the backend itself had against the transfer, if it said so.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// A file being written. It ends in `finish` or `abort`; dropped without either, it counts as
/// aborted, and the backend never takes what it has for a whole file.
#[async_trait]
pub trait WriteTransfer: Send {
    fn sink(&mut self) -> &mut Sink;

    /// The file that is being written, as the backend sees it (chosen by it for `Unique`).
    fn path(&self) -> &RemotePath;

    /// All bytes are written: closes the sink in the way that means *complete* and waits until the
    /// backend has it safe.
    async fn finish(self: Box<Self>) -> Result<Option<Words>, Failure>;

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
