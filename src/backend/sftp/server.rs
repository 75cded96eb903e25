//! A server after login: what the operations and open files of a session share.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::requests::Requests;
use super::settings::Settings;
use crate::backend::Home;
use crate::backend::path_leases::{Account, PathLease};
use crate::backend::unsupported::AttributePolicy;
use crate::data::Budget;
use crate::net::Peer;
use crate::op::{Abilities, Changes, Failure, FailureKind, RemotePath};
use crate::wire::sftp::{Limits, Version, extension};

/// The bounds of the bytes that one file's reads ahead may hold. The upper one is also the session's.
pub(super) const READ_AHEAD_MIN: usize = 1024 * 1024;
pub(super) const READ_AHEAD_MAX: usize = 10 * 1024 * 1024;
/// The largest READ and WRITE: OpenSSH's limits, and the largest that it accepts.
const MAX_DATA_SIZE: u64 = 255 * 1024;
/// The same where the server reports no limits: every server must accept it (draft section 3).
const DEFAULT_DATA_SIZE: u64 = 32 * 1024;
/// The same where the server reports less: with smaller ones, a window would take too many requests.
const MIN_DATA_SIZE: u64 = 4 * 1024;
/// How long an upload waits for the end of an earlier one of the same name.
const LEASE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a packet holds besides the data, in bytes, as in OpenSSH.
const PACKET_OVERHEAD: u64 = 1024;

pub(super) struct Server {
    pub(super) settings: Arc<Settings>,
    pub(super) requests: Requests,
    pub(super) extensions: Extensions,
    pub(super) home: Home,
    /// For records.
    pub(super) peer: Option<Peer>,
    /// Bytes of the largest READ and WRITE.
    pub(super) largest_read: u32,
    pub(super) largest_write: u32,
    /// What the session's reads ahead may hold.
    pub(super) read_ahead: Budget,
    pub(super) changes: ContentChanges,
    /// Shares the leases of written paths with the account's other sessions.
    account: Account,
    /// `None`: a refusal is returned to the client.
    attributes: Option<AttributePolicy>,
    /// What may outlive its caller: the ends of uploads.
    pub(super) cleanups: TaskTracker,
}

/// The extensions that are used, where the server offers them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extensions {
    pub(super) posix_rename: bool,
    pub(super) stat_vfs: bool,
    pub(super) file_stat_vfs: bool,
    pub(super) hard_link: bool,
    pub(super) file_sync: bool,
    pub(super) link_set_stat: bool,
    pub(super) limits: bool,
    pub(super) copy_data: bool,
    pub(super) users_groups: bool,
}

impl Extensions {
    pub(super) fn of(version: &Version) -> Self {
        let offers = |name: &str| {
            let value = extension::ANNOUNCED.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            version.offers(name.as_bytes(), value.unwrap_or_default().as_bytes())
        };
        Self {
            posix_rename: offers(extension::POSIX_RENAME),
            stat_vfs: offers(extension::STAT_VFS),
            file_stat_vfs: offers(extension::FILE_STAT_VFS),
            hard_link: offers(extension::HARD_LINK),
            file_sync: offers(extension::FILE_SYNC),
            link_set_stat: offers(extension::LINK_SET_STAT),
            limits: offers(extension::LIMITS),
            copy_data: offers(extension::COPY_DATA),
            users_groups: offers(extension::USERS_GROUPS_BY_ID),
        }
    }
}

impl Server {
    pub(super) fn new(
        settings: Arc<Settings>,
        requests: Requests,
        extensions: Extensions,
        limits: Limits,
        home: Home,
    ) -> Self {
        let packet = match limits.packet {
            0 => MAX_DATA_SIZE,
            packet => packet.saturating_sub(PACKET_OVERHEAD),
        };
        let largest = |limit| {
            let limit = if limit == 0 { DEFAULT_DATA_SIZE } else { limit };
            limit.min(packet).clamp(MIN_DATA_SIZE, MAX_DATA_SIZE) as u32
        };
        Self {
            settings,
            requests,
            extensions,
            home,
            peer: None,
            largest_read: largest(limits.read),
            largest_write: largest(limits.write),
            read_ahead: Budget::new(READ_AHEAD_MAX),
            changes: ContentChanges::default(),
            account: Account::default(),
            attributes: None,
            cleanups: TaskTracker::new(),
        }
    }

    pub(super) fn with_account(self, account: Account) -> Self {
        Self { account: account.with_home(&self.home), ..self }
    }

    pub(super) fn with_peer(self, peer: Option<Peer>) -> Self {
        Self { peer, ..self }
    }

    pub(super) fn with_policy(self, attributes: AttributePolicy) -> Self {
        Self { attributes: Some(attributes), ..self }
    }

    /// Applies `unsupported_attributes` to a refusal.
    pub(super) fn apply_attribute_policy(
        &self,
        changes: &Changes,
        failure: Failure,
    ) -> Result<(), Failure> {
        match &self.attributes {
            Some(policy) => policy.judge_all(changes, failure),
            None => Err(failure),
        }
    }

    /// A path as it is sent to the server.
    pub(super) fn wire_path(&self, path: &RemotePath) -> Bytes {
        Bytes::copy_from_slice(self.home.wire_path(path).as_deref().unwrap_or(b"."))
    }

    /// As [`Account::lease`], to be called before the path is written to.
    pub(super) async fn lease(&self, path: &RemotePath) -> Result<PathLease, Failure> {
        timeout(LEASE_TIMEOUT, self.account.lease(path)).await.map_err(|_| {
        let message = format_args!(
            "cannot write {path}: the backend server is still busy with an earlier upload; try again"
        );
        Failure::backend(FailureKind::Busy, message)
    })
    }

    pub(super) fn abilities(&self) -> Abilities {
        let extensions = &self.extensions;
        Abilities {
            file_system: extensions.stat_vfs,
            hard_link: extensions.hard_link,
            sync: extensions.file_sync,
            link_attributes: extensions.link_set_stat,
            copy_data: extensions.copy_data,
            account_names: extensions.users_groups,
            replacing_rename: extensions.posix_rename,
            exclusive_creation: true,
            modified: true,
        }
    }
}

/// Counts this session's changes of file contents, so that what was read ahead through one handle does not
/// outlive a change through another. A write counts only for its path (and for others with the same hash):
/// uploads during a download must not discard its reads ahead.
pub(super) struct ContentChanges {
    writes: [AtomicU64; 64],
    others: AtomicU64,
}

impl Default for ContentChanges {
    fn default() -> Self {
        let writes = std::array::from_fn(|_| AtomicU64::new(0));
        Self { writes, others: AtomicU64::new(0) }
    }
}

impl ContentChanges {
    /// Counts a write.
    pub(super) fn note(&self, path: &RemotePath) {
        self.of(path).fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a rarer change. The file may be read under other names, through links.
    pub(super) fn note_all(&self) {
        self.others.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn count(&self, path: &RemotePath) -> (u64, u64) {
        (self.of(path).load(Ordering::Acquire), self.others.load(Ordering::Acquire))
    }

    fn of(&self, path: &RemotePath) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        &self.writes[hasher.finish() as usize % self.writes.len()]
    }
}
