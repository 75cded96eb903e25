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
use crate::backend::claims::{Account, Claim};
use crate::backend::unsupported::AttributePolicy;
use crate::data::{Budget, MOST_AHEAD};
use crate::op::{Abilities, Changes, Failure, FailureKind, RemotePath};
use crate::wire::sftp::{Limits, Version, extension};

/// The largest read and write: what OpenSSH's limits are, and all that it allows.
const LARGEST: u64 = 255 * 1024;
/// As above, of a server that does not say: what each must take (draft section 3).
const USUAL: u64 = 32 * 1024;
/// As above, of a server that says less: a window of so small pieces has still room among the requests.
const LEAST: u64 = 4 * 1024;
/// How long an upload waits for the end of an earlier one of the same name.
const CLAIM: Duration = Duration::from_secs(30);
/// What a packet holds besides the data, in bytes, as OpenSSH has it.
const AROUND: u64 = 1024;

/// A server that is logged in to, as a session's operations and files share it.
pub(super) struct Server {
    pub(super) settings: Arc<Settings>,
    pub(super) requests: Requests,
    pub(super) extensions: Extensions,
    pub(super) home: Home,
    /// Bytes of the largest READ and WRITE.
    pub(super) largest_read: u32,
    pub(super) largest_write: u32,
    /// What the session's reads ahead may hold.
    pub(super) ahead: Budget,
    pub(super) changes: ContentChanges,
    /// What the session writes to is known to the other sessions.
    pub(super) account: Account,
    /// `None`: a refusal is told.
    attributes: Option<AttributePolicy>,
    /// What goes on after its owner: ends of uploads.
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
            0 => LARGEST,
            packet => packet.saturating_sub(AROUND),
        };
        let largest = |limit| {
            let limit = if limit == 0 { USUAL } else { limit };
            limit.min(packet).clamp(LEAST, LARGEST) as u32
        };
        Self {
            settings,
            requests,
            extensions,
            home,
            largest_read: largest(limits.read),
            largest_write: largest(limits.write),
            ahead: Budget::new(MOST_AHEAD),
            changes: ContentChanges::default(),
            account: Account::default(),
            attributes: None,
            cleanups: TaskTracker::new(),
        }
    }

    pub(super) fn of(self, account: Account) -> Self {
        Self { account: account.at(&self.home), ..self }
    }

    pub(super) fn with_policy(self, attributes: AttributePolicy) -> Self {
        Self { attributes: Some(attributes), ..self }
    }

    /// Of attributes that were not set, as configured.
    pub(super) fn judge(&self, changes: &Changes, failure: Failure) -> Result<(), Failure> {
        match &self.attributes {
            Some(policy) => policy.judge_all(changes, failure),
            None => Err(failure),
        }
    }

    /// A path as it goes over the wire.
    pub(super) fn wire(&self, path: &RemotePath) -> Bytes {
        Bytes::copy_from_slice(self.home.name(path).as_deref().unwrap_or(b"."))
    }

    /// As [`Account::claim`], to be called before the name is written to.
    pub(super) async fn claim(&self, path: &RemotePath) -> Result<Claim, Failure> {
        timeout(CLAIM, self.account.claim(path)).await.map_err(|_| {
            let message = format_args!(
                "cannot write {path}: the end of an earlier upload is still being written; try again"
            );
            Failure::backend(FailureKind::Busy, message)
        })
    }

    pub(super) fn abilities(&self) -> Abilities {
        let offers = &self.extensions;
        Abilities {
            file_system: offers.stat_vfs,
            hard_link: offers.hard_link,
            sync: offers.file_sync,
            link_attributes: offers.link_set_stat,
            copy_data: offers.copy_data,
            account_names: offers.users_groups,
            replacing_rename: offers.posix_rename,
            modified: true,
        }
    }
}

/// Counts what this session changes in files, so that what was read ahead of one handle does not
/// outlive a change through another. Single writes count for their path only (with others whose hash
/// falls together): uploads beside a download must not cost it its reads ahead.
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
    /// A write.
    pub(super) fn note(&self, path: &RemotePath) {
        self.of(path).fetch_add(1, Ordering::AcqRel);
    }

    /// Something rarer. The file may have other names, through links, that are being read.
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
