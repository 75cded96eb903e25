//! Bounds what the unfinished requests of a channel use.

use super::directory;
use crate::wire::sftp::{Extension, RequestBody};

/// Data of one READ or WRITE, in bytes, as in OpenSSH's server.
pub(super) const DATA_MAX: u32 = 255 * 1024;
/// Requests other than WRITE that are started and not replied to.
pub(super) const REQUESTS_MAX: usize = 256;
/// The same for WRITEs.
const WRITES_MAX: usize = 512;
/// Bytes of responses to READ and READDIR, until they are sent.
pub(super) const RESPONSE_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Bytes of requests, mainly of WRITEs, until the backend has answered.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The bytes of a request up to this size are not counted.
const SMALL_REQUEST_SIZE: usize = 1024;
/// Channels of one connection that may each use all of this; more channels share as much.
const UNSHARED_CHANNELS_MAX: usize = 2;

/// What a request uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) requests: usize,
    pub(super) writes: usize,
    pub(super) response_bytes: usize,
    pub(super) request_bytes: usize,
}

/// A channel's budget, with what is used of it.
#[derive(Debug, Default)]
pub(super) struct Budget(Usage);

impl Usage {
    /// `packet`: the length of the request in bytes.
    pub(super) fn of(request: &RequestBody, packet: usize) -> Self {
        let response_bytes = match request {
            RequestBody::Write { .. } => {
                return Self { writes: 1, request_bytes: packet, ..Self::default() };
            }
            RequestBody::Read { length, .. } => (*length).min(DATA_MAX) as usize,
            RequestBody::ReadDir { .. } => directory::RESPONSE_SIZE_MAX,
            RequestBody::Extended(Extension::UsersGroupsById { .. }) => DATA_MAX as usize,
            _ => 0,
        };
        let request_bytes = if packet > SMALL_REQUEST_SIZE { packet } else { 0 };
        Self { response_bytes, request_bytes, ..Self::ONE_REQUEST }
    }

    pub(super) const ONE_REQUEST: Self =
        Self { requests: 1, writes: 0, response_bytes: 0, request_bytes: 0 };

    /// What remains once the backend has answered.
    pub(super) fn without_request(self) -> Self {
        Self { request_bytes: 0, ..self }
    }

    pub(super) fn add(&mut self, more: Usage) {
        self.requests += more.requests;
        self.writes += more.writes;
        self.response_bytes += more.response_bytes;
        self.request_bytes += more.request_bytes;
    }
}

impl Budget {
    pub(super) fn used_by(usages: impl Iterator<Item = Usage>) -> Self {
        let mut used = Usage::default();
        usages.for_each(|usage| used.add(usage));
        Self(used)
    }

    /// Whether `usage` fits, with this number of channels on the connection. One request always
    /// fits.
    pub(super) fn fits(&self, usage: Usage, channels: usize) -> bool {
        let Self(used) = self;
        let bytes_fit = |used: usize, more: usize, max: usize| {
            more == 0 || used == 0 || used + more <= share(max, channels)
        };
        (usage.requests == 0 || used.requests < REQUESTS_MAX)
            && (usage.writes == 0 || used.writes < WRITES_MAX)
            && bytes_fit(used.response_bytes, usage.response_bytes, RESPONSE_BYTES_MAX)
            && bytes_fit(used.request_bytes, usage.request_bytes, REQUEST_BYTES_MAX)
    }

    pub(super) fn acquire(&mut self, usage: Usage) {
        self.0.add(usage);
    }

    pub(super) fn release(&mut self, usage: Usage) {
        let used = &mut self.0;
        used.requests = used.requests.saturating_sub(usage.requests);
        used.writes = used.writes.saturating_sub(usage.writes);
        used.response_bytes = used.response_bytes.saturating_sub(usage.response_bytes);
        used.request_bytes = used.request_bytes.saturating_sub(usage.request_bytes);
    }
}

/// The share of one of `channels` in a limit of [`UNSHARED_CHANNELS_MAX`].
pub(super) fn share(max: usize, channels: usize) -> usize {
    max * UNSHARED_CHANNELS_MAX / channels.max(UNSHARED_CHANNELS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn read(length: u32) -> Usage {
        Usage::of(&RequestBody::Read { handle: Bytes::new(), offset: 0, length }, 30)
    }

    fn fitting(usage: Usage, channels: usize) -> usize {
        let mut budget = Budget::default();
        let mut fitted = 0;
        while budget.fits(usage, channels) {
            budget.acquire(usage);
            fitted += 1;
        }
        budget.release(usage);
        assert!(budget.fits(usage, channels));
        (1..fitted).for_each(|_| budget.release(usage));
        assert_eq!(budget.0, Usage::default());
        fitted
    }

    #[test]
    fn reads_writes_and_requests_have_separate_limits() {
        let large = read(u32::MAX);
        assert_eq!(large, Usage { response_bytes: DATA_MAX as usize, ..Usage::ONE_REQUEST });
        assert_eq!(fitting(large, 1), RESPONSE_BYTES_MAX / DATA_MAX as usize);
        assert_eq!(fitting(read(0), 1), REQUESTS_MAX);
        let mut budget = Budget::default();
        (0..16).for_each(|_| budget.acquire(large));
        // Full of reads, but not of writes.
        let data = Bytes::from_static(b"x");
        let write = RequestBody::Write { handle: Bytes::new(), offset: 0, data };
        let write = Usage::of(&write, 1000);
        assert!(!budget.fits(large, 1) && budget.fits(write, 1));
        assert_eq!(fitting(write, 1), WRITES_MAX);
    }

    #[test]
    fn bytes_of_listings_and_long_names_are_counted() {
        let list = Usage::of(&RequestBody::ReadDir { handle: Bytes::new() }, 13);
        assert_eq!(fitting(list, 1), RESPONSE_BYTES_MAX / directory::RESPONSE_SIZE_MAX);
        let (target, link) = (Bytes::new(), Bytes::new());
        let symlink = Usage::of(&RequestBody::Symlink { target, link }, 200 * 1024);
        assert_eq!(fitting(symlink, 1), REQUEST_BYTES_MAX / (200 * 1024));
    }

    #[test]
    fn many_channels_share_a_budget() {
        let large = read(u32::MAX);
        let alone = fitting(large, 1);
        assert_eq!(fitting(large, 2), alone);
        assert!(fitting(large, 8) * 8 <= alone * UNSHARED_CHANNELS_MAX);
        assert_eq!(fitting(large, 1000), 1);
    }
}
