//! An FTP or FTPS server as a backend (RFC 959, 2228, 2389, 2428, 3659, 4217).

mod abort;
mod active;
mod attributes;
mod cache;
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
    Backend, BackendSession, Home, IgnoredAttributes, Listing, Login, OpenFile, Origin,
    ReadTransfer, WriteTransfer,
};
use crate::data;
use crate::net::{Connector, Connectors};
use crate::op::{
    Abilities, Answer, Changes, Entry, EntryKind, Failure, FailureKind, ListDirectory, OpenHandle,
    Operation, ReadFile, RemotePath, WriteFile, WriteMode,
};
use crate::route::Target;
use cache::Cache;
use data_ports::DataPorts;
use pool::{ConnectionGuard, Pool};
use refusals::OptionalCommand;
use servers::Servers;

pub use settings::{DataMode, PassiveCommand, Settings, Timing, TlsMode, UncheckedRename};

/// How long an operation waits for a control connection, where all are in transfers.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same, of a file that is to be opened: the end of another one may be under way.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that the writes of a session may hold that came before their turn.
const QUEUED_WRITES_MAX: usize = 8 * 1024 * 1024;

/// A configured FTP backend.
pub struct FtpBackend {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    data_ports: Option<Arc<data::Pool>>,
    leases: Arc<PathLeases>,
}

/// What all sessions of a backend share: how connections are made, and what is known of its servers.
struct Shared {
    connector: Connector,
    servers: Servers,
    attributes: AttributePolicy,
}

/// Somebody logged in. Operations and transfers hold a control connection each, as long as they last.
#[derive(Clone)]
struct FtpSession {
    pool: Arc<Pool>,
    cache: Arc<Cache>,
    /// Times in listings are to be exact to the second.
    exact_times: Arc<AtomicBool>,
    /// What the writes of all its open files may hold that came before their turn.
    queue_budget: data::Budget,
}

impl FtpBackend {
    /// `data_ports`: the pool that the settings name.
    pub fn new(
        settings: Settings,
        data_ports: Option<Arc<data::Pool>>,
        connectors: &Connectors,
        ignored: &IgnoredAttributes,
    ) -> Self {
        let Settings { name, addresses, connects_at_once, .. } = &settings;
        let shared = Shared {
            connector: connectors.connector(name, addresses, *connects_at_once),
            servers: Servers::new(name),
            attributes: AttributePolicy::new(name, settings.unsupported_attributes, ignored),
        };
        let (settings, leases) = (Arc::new(settings), Arc::default());
        Self { settings, shared: Arc::new(shared), data_ports, leases }
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
        let queue_budget = data::Budget::new(QUEUED_WRITES_MAX);
        let cache = Arc::new(Cache::new(pool.account().changes().clone()));
        Ok(Box::new(FtpSession { pool, cache, exact_times: Arc::default(), queue_budget }))
    }

    fn addresses(&self) -> &[String] {
        &self.settings.addresses
    }
}

impl FtpSession {
    /// A control connection in step, or why there is none.
    async fn acquire(&self) -> Result<ConnectionGuard, Failure> {
        self.pool.acquire(ACQUIRE_TIMEOUT).await
    }

    /// Whether a link itself is meant. FTP clients get what the server itself reports of a link: they
    /// rename and delete it by that name.
    fn is_of_link(&self, operation: &Operation) -> bool {
        matches!(operation, Operation::LinkStat(_)) || !self.pool.is_concurrent()
    }

    /// What the client is told from memory. FTP clients want times to the second.
    fn remembered(&self, path: &RemotePath, link: bool) -> Option<Entry> {
        let entry = self.cache.get(path, link, !self.pool.is_concurrent())?;
        if let (EntryKind::File, Some(size)) = (&entry.kind, entry.attributes.size) {
            self.cache.record_served(path, size);
        }
        Some(entry)
    }

    /// Asked, and remembered; of a link itself.
    async fn ask_link_stat(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<Entry, Failure> {
        let requested_at = self.cache.requested_at();
        self.cache.forget_served(path);
        let mut entry = stat::stat(guard, path).await?;
        if self.pool.is_concurrent() {
            stat::add_permissions(guard, path, &mut entry).await?;
        }
        if let Some(folder) = path.parent() {
            self.cache.put(requested_at, folder.as_bytes(), std::slice::from_ref(&entry), true);
        }
        Ok(entry)
    }

    /// As [`FtpSession::ask_link_stat`], of what a link leads to; that is not remembered.
    async fn ask_stat(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<Entry, Failure> {
        let entry = match self.cache.get(path, true, false) {
            Some(entry) => entry,
            None => self.ask_link_stat(guard, path).await?,
        };
        if !cache::may_be_link(&entry, guard.supports(OptionalCommand::Mlst)) {
            return Ok(entry);
        }
        self.cache.forget_served(path);
        stat::follow(guard, path, entry).await
    }

    /// Clients resume by writing behind the size that they were told. Where that came from memory, it
    /// must still be so. Returns it then.
    async fn check_served_size(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<Option<u64>, Failure> {
        let Some(told) = self.cache.served_size(path) else { return Ok(None) };
        let size = stat::file_size(guard, path).await?.unwrap_or(0);
        if size == told {
            return Ok(Some(size));
        }
        let message = format!(
            "{path} has changed since its size was told: {size} bytes, not {told}; ask again before \
             something is written behind it"
        );
        Err(Failure::backend(FailureKind::TransferCut, message))
    }

    /// Sizes that were told before count no more for what is removed, renamed or cut off.
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

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        let operation = target.action();
        if let Operation::LinkStat(_) = operation {
            // No FTP client asks for that.
            self.pool.allow_concurrency();
        }
        if let Operation::Stat(path) | Operation::LinkStat(path) = operation
            && let Some(entry) = self.remembered(path, self.is_of_link(operation))
        {
            return Ok(Answer::Entry(entry));
        }
        self.forget_served(operation);
        let _write_guard = changes_something(operation).then(|| self.cache.write_guard());
        if let Operation::Rename { to, .. } = operation {
            // What is there then is no part of an upload that had the name.
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
            WriteMode::From { offset: 0 } | WriteMode::Unique => false,
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
        if let Some(guard) = self.pool.idle_connection() {
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
