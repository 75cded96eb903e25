//! An FTP or FTPS server as a backend (RFC 959, 2228, 2389, 2428, 3659, 4217).

mod abort;
mod active;
mod attributes;
mod cache;
mod command_length;
mod connection;
mod control;
mod data_commands;
mod data_connection;
mod data_ports;
mod facts;
mod failures;
mod features;
mod file;
mod listing;
mod login;
mod opaque;
mod operations;
mod passive;
mod pool;
mod prepare;
mod prepared;
mod pwd;
mod quirk;
mod refusals;
mod renames;
mod reply;
mod reply_codes;
mod sequenced;
mod servers;
mod session_state;
mod settings;
mod stat;
mod sync;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod time_commands;
mod times;
mod transfer;
mod transfer_command;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::path_leases::PathLeases;
use super::unsupported::AttributePolicy;
use super::{
    Backend, BackendSession, Home, IgnoredAttributes, Listing, Login, OpenFile, Origin, Presented,
    ReadTransfer, WriteTransfer,
};
use crate::data;
use crate::net::{Connector, Connectors, Peer};
use crate::op::{
    Abilities, Answer, Changes, Entry, EntryKind, Failure, FailureKind, ListDirectory, OpenHandle,
    Operation, ReadFile, RemotePath, WriteFile, WriteMode,
};
use crate::policy::Names;
use crate::route::Target;
use cache::Cache;
use data_ports::DataPorts;
use opaque::OpaqueSession;
use pool::{ConnectionGuard, Pool};
use refusals::OptionalCommand;
use servers::Servers;

pub use settings::{DataMode, Dialect, PassiveCommand, Settings, Timing, TlsMode, UncheckedRename};

/// How long an operation waits for a control connection if all are in use by transfers.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same, for opening a file: another file may be about to be closed.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes that the writes of a session may queue before their turn.
const QUEUED_WRITES_MAX: usize = 8 * 1024 * 1024;

/// A configured FTP backend.
pub struct FtpBackend {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    data_ports: Option<Arc<data::Pool>>,
    leases: Arc<PathLeases>,
}

/// Shared by all sessions of a backend.
struct Shared {
    connector: Connector,
    servers: Servers,
    attributes: AttributePolicy,
}

/// A logged-in session. Each operation and transfer holds a control connection while it lasts.
#[derive(Clone)]
struct FtpSession {
    pool: Arc<Pool>,
    cache: Arc<Cache>,
    /// Listings must have times to the second.
    exact_times: Arc<AtomicBool>,
    /// Limits the writes that all its open files queue.
    queue_budget: data::Budget,
}

impl FtpBackend {
    /// `data_ports`: the pool named by the settings.
    pub fn new(
        settings: Settings,
        data_ports: Option<Arc<data::Pool>>,
        connectors: &Connectors,
        ignored: &IgnoredAttributes,
    ) -> Self {
        let Settings { name, addresses, connects_at_once, .. } = &settings;
        let shared = Shared {
            connector: connectors
                .connector(name, addresses, *connects_at_once)
                .from_address(settings.source_address),
            servers: Servers::default(),
            attributes: AttributePolicy::new(name, settings.unsupported_attributes, ignored),
        };
        let (settings, leases) = (Arc::new(settings), Arc::default());
        Self { settings, shared: Arc::new(shared), data_ports, leases }
    }

    /// With the leases of other backends at the same server.
    pub fn with_leases(self, leases: Arc<PathLeases>) -> Self {
        Self { leases, ..self }
    }
}

#[async_trait]
impl Backend for FtpBackend {
    async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        let credentials = login.account("an FTP backend")?.clone();
        let (settings, shared) = (self.settings.clone(), self.shared.clone());
        let ports = self.data_ports.clone().map(DataPorts::new);
        let account = (&self.leases, credentials);
        let pool = Pool::login(settings, shared, ports, account, origin).await?;
        if self.is_opaque() {
            return Ok(Box::new(OpaqueSession::new(pool)));
        }
        let queue_budget = data::Budget::new(QUEUED_WRITES_MAX);
        let cache = Arc::new(Cache::new(pool.account().changes().clone()));
        Ok(Box::new(FtpSession { pool, cache, exact_times: Arc::default(), queue_budget }))
    }

    async fn greet(&self) -> Result<Presented, Failure> {
        login::greet(&self.settings, &self.shared).await
    }

    fn names(&self) -> Names {
        self.settings.names
    }

    fn is_opaque(&self) -> bool {
        self.settings.dialect == Dialect::Opaque
    }

    fn addresses(&self) -> &[String] {
        &self.settings.addresses
    }
}

impl FtpSession {
    /// Acquires a control connection in sync.
    async fn acquire(&self) -> Result<ConnectionGuard, Failure> {
        self.pool.acquire(ACQUIRE_TIMEOUT).await
    }

    /// Whether the entry of a link itself is requested. FTP clients always get that: they rename and delete it
    /// by that name.
    fn is_of_link(&self, operation: &Operation) -> bool {
        matches!(operation, Operation::LinkStat(_)) || !self.pool.is_concurrent()
    }

    /// An entry from the cache. FTP clients need times to the second.
    fn cached(&self, path: &RemotePath, is_link: bool) -> Option<Entry> {
        let entry = self.cache.get(path, is_link, !self.pool.is_concurrent())?;
        if let (EntryKind::File, Some(size)) = (&entry.kind, entry.attributes.size) {
            self.cache.record_served(path, size);
        }
        Some(entry)
    }

    /// Asks the server for the entry of a path, of a link that of the link itself, and caches it.
    async fn stat_link_at_server(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<Entry, Failure> {
        let snapshot = self.cache.snapshot();
        self.cache.forget_served(path);
        let mut entry = stat::stat(guard, path).await?;
        if self.pool.is_concurrent() {
            stat::add_permissions(guard, path, &mut entry).await?;
        }
        if let Some(folder) = path.parent() {
            self.cache.put(snapshot, folder.as_bytes(), std::slice::from_ref(&entry), true);
        }
        Ok(entry)
    }

    /// As [`FtpSession::stat_link_at_server`], but follows links; their targets are not cached.
    async fn stat_at_server(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<Entry, Failure> {
        let entry = match self.cache.get(path, true, false) {
            Some(entry) => entry,
            None => self.stat_link_at_server(guard, path).await?,
        };
        if !cache::may_be_link(&entry, guard.supports(OptionalCommand::Mlst)) {
            return Ok(entry);
        }
        self.cache.forget_served(path);
        stat::follow(guard, path, entry).await
    }

    /// Clients resume at the size that they were given. If that came from the cache, checks that it
    /// is still the size, and returns it.
    async fn check_served_size(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<Option<u64>, Failure> {
        let Some(served) = self.cache.served_size(path) else { return Ok(None) };
        let size = stat::file_size(guard, path).await?.unwrap_or(0);
        if size == served {
            return Ok(Some(size));
        }
        let message = format!(
            "{path} has changed since its size was reported: {size} bytes, not {served}; get its size \
             again before appending"
        );
        Err(Failure::backend(FailureKind::TransferCut, message))
    }

    /// Forgets served sizes of paths that are removed, renamed or truncated.
    fn forget_served(&self, operation: &Operation) {
        match operation {
            Operation::Rename { from, to, .. } => {
                self.cache.forget_served(from);
                self.cache.forget_served(to);
            }
            Operation::Remove(path)
            | Operation::RemoveDirectory(path)
            | Operation::Size(path, _)
            | Operation::SetAttributes { path, changes: Changes { size: Some(_), .. }, .. } => {
                self.cache.forget_served(path);
            }
            _ => {}
        }
    }
}

#[async_trait]
impl BackendSession for FtpSession {
    fn home(&self) -> Home {
        self.pool.home().clone()
    }

    fn abilities(&self) -> Abilities {
        let modified = self.pool.sets_times() == Some(true);
        Abilities { sync: true, replacing_rename: true, modified, ..Abilities::default() }
    }

    fn peer(&self) -> Option<Peer> {
        self.pool.peer()
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        let operation = target.action();
        if let Operation::LinkStat(_) = operation {
            // No FTP client asks for that.
            self.pool.allow_concurrency();
        }
        if let Operation::Stat(path) | Operation::LinkStat(path) = operation
            && let Some(entry) = self.cached(path, self.is_of_link(operation))
        {
            return Ok(Answer::Entry(entry));
        }
        self.forget_served(operation);
        let _write_guard = changes_something(operation).then(|| self.cache.write_guard());
        if let Operation::Rename { to, .. } = operation {
            // What is there then does not belong to an upload under that name.
            self.pool.account().lease(to).await;
        }
        let mut guard = self.acquire().await?;
        operations::perform(self, &mut guard, operation).await
    }

    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        let guard = self.acquire().await?;
        let exact = self.exact_times.load(Ordering::Relaxed);
        listing::open(guard, &self.cache, &target.action().path, exact).await
    }

    async fn open_read(&self, target: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        transfer::open(self.acquire().await?, target.action()).await
    }

    async fn open_write(
        &self,
        target: &Target<WriteFile>,
    ) -> Result<Box<dyn WriteTransfer>, Failure> {
        let mut guard = self.acquire().await?;
        let WriteFile { path, mode, .. } = target.action();
        let relied = match mode {
            WriteMode::Append => true,
            WriteMode::From { offset: 0 } | WriteMode::New | WriteMode::Unique => false,
            WriteMode::From { offset } => self.cache.served_size(path) == Some(*offset),
        };
        if relied {
            self.check_served_size(&mut guard, path).await?;
        }
        if *mode != WriteMode::Unique {
            self.cache.forget_served(path);
        }
        upload::open(guard, self.cache.write_guard(), target.action()).await
    }

    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        let OpenHandle { path, mode } = target.action();
        self.pool.allow_concurrency();
        Ok(Arc::new(file::open(self.clone(), path.clone(), *mode).await?))
    }

    fn expect_exact_times(&self) {
        self.exact_times.store(true, Ordering::Relaxed);
    }

    fn expect_many(&self) {
        self.expect_exact_times();
        self.pool.allow_concurrency();
    }

    fn expect_transfer(&self) {
        if let Some(guard) = self.pool.acquire_idle() {
            prepare::prepare(guard);
        }
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

fn changes_something(operation: &Operation) -> bool {
    let looks = matches!(
        operation,
        Operation::Stat(_)
            | Operation::LinkStat(_)
            | Operation::Size(..)
            | Operation::Enter(_)
            | Operation::RenameFrom(_)
    );
    !looks
}
