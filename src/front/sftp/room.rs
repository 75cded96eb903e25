//! How much one channel may have under way.

use super::folder;
use crate::wire::sftp::{Extension, RequestBody};

/// The longest READ that is answered whole, and the longest WRITE, in bytes: what OpenSSH's server has.
pub(super) const LONGEST_DATA: u32 = 255 * 1024;
/// Requests other than WRITE that are neither answered nor waiting for their turn.
pub(super) const REQUESTS: usize = 256;
/// WRITEs of which the same is true.
const WRITES: usize = 512;
/// Bytes that READs and READDIRs may bring, until they are sent.
pub(super) const READ: usize = 3 * 1024 * 1024;
/// Bytes that requests hold, above all WRITEs, until the backend has answered.
const HELD: usize = 4 * 1024 * 1024;
/// A request up to so many bytes is paid for by its count.
const SMALL: usize = 1024;
/// Channels of one connection that may fill all of this; more share what is there for so many.
const FULL: usize = 2;

/// What a request takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) requests: usize,
    pub(super) writes: usize,
    /// Bytes.
    pub(super) read: usize,
    /// Bytes.
    pub(super) held: usize,
}

/// What is taken up.
#[derive(Debug, Default)]
pub(super) struct Room(Cost);

impl Cost {
    /// `packet`: the request's length in bytes.
    pub(super) fn of(request: &RequestBody, packet: usize) -> Self {
        let read = match request {
            RequestBody::Write { .. } => {
                return Self { writes: 1, held: packet, ..Self::default() };
            }
            RequestBody::Read { length, .. } => (*length).min(LONGEST_DATA) as usize,
            RequestBody::ReadDir { .. } => folder::ANSWER,
            RequestBody::Extended(Extension::UsersGroupsById { .. }) => LONGEST_DATA as usize,
            _ => 0,
        };
        let held = if packet > SMALL { packet } else { 0 };
        Self { read, held, ..Self::ONE }
    }

    /// An answer's place.
    pub(super) const ONE: Self = Self { requests: 1, writes: 0, read: 0, held: 0 };

    /// What is left of it once the backend has answered: nothing of what the request held.
    pub(super) fn answered(self) -> Self {
        Self { held: 0, ..self }
    }

    pub(super) fn add(&mut self, more: Cost) {
        self.requests += more.requests;
        self.writes += more.writes;
        self.read += more.read;
        self.held += more.held;
    }
}

impl Room {
    pub(super) fn taken_by(costs: impl Iterator<Item = Cost>) -> Self {
        let mut taken = Cost::default();
        costs.for_each(|cost| taken.add(cost));
        Self(taken)
    }

    /// Whether `cost` fits, with so many channels on the connection. One request always does.
    pub(super) fn has(&self, cost: Cost, channels: usize) -> bool {
        let Self(taken) = self;
        let fits = |taken: usize, cost: usize, most: usize| {
            cost == 0 || taken == 0 || taken + cost <= share(most, channels)
        };
        (cost.requests == 0 || taken.requests < REQUESTS)
            && (cost.writes == 0 || taken.writes < WRITES)
            && fits(taken.read, cost.read, READ)
            && fits(taken.held, cost.held, HELD)
    }

    pub(super) fn take(&mut self, cost: Cost) {
        self.0.add(cost);
    }

    pub(super) fn give_back(&mut self, cost: Cost) {
        self.0.requests = self.0.requests.saturating_sub(cost.requests);
        self.0.writes = self.0.writes.saturating_sub(cost.writes);
        self.0.read = self.0.read.saturating_sub(cost.read);
        self.0.held = self.0.held.saturating_sub(cost.held);
    }
}

/// What one of so many channels has of what is there for [`FULL`] of them.
pub(super) fn share(most: usize, channels: usize) -> usize {
    most * FULL / channels.max(FULL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn read(length: u32) -> Cost {
        Cost::of(&RequestBody::Read { handle: Bytes::new(), offset: 0, length }, 30)
    }

    fn fitting(cost: Cost, channels: usize) -> usize {
        let mut room = Room::default();
        let mut fitted = 0;
        while room.has(cost, channels) {
            room.take(cost);
            fitted += 1;
        }
        room.give_back(cost);
        assert!(room.has(cost, channels));
        (1..fitted).for_each(|_| room.give_back(cost));
        assert_eq!(room.0, Cost::default());
        fitted
    }

    #[test]
    fn reads_writes_and_requests_are_bounded_each() {
        let large = read(u32::MAX);
        assert_eq!(large, Cost { read: LONGEST_DATA as usize, ..Cost::ONE });
        assert_eq!(fitting(large, 1), READ / LONGEST_DATA as usize);
        assert_eq!(fitting(read(0), 1), REQUESTS);
        let mut room = Room::default();
        (0..16).for_each(|_| room.take(large));
        // Full of reads, but not of writes.
        let data = Bytes::from_static(b"x");
        let write = RequestBody::Write { handle: Bytes::new(), offset: 0, data };
        let write = Cost::of(&write, 1000);
        assert!(!room.has(large, 1) && room.has(write, 1));
        assert_eq!(fitting(write, 1), WRITES);
    }

    #[test]
    fn what_answers_and_long_names_hold_counts() {
        let list = Cost::of(&RequestBody::ReadDir { handle: Bytes::new() }, 13);
        assert_eq!(fitting(list, 1), READ / folder::ANSWER);
        let (target, link) = (Bytes::new(), Bytes::new());
        let symlink = Cost::of(&RequestBody::Symlink { target, link }, 200 * 1024);
        assert_eq!(fitting(symlink, 1), HELD / (200 * 1024));
    }

    #[test]
    fn many_channels_share() {
        let large = read(u32::MAX);
        let alone = fitting(large, 1);
        assert_eq!(fitting(large, 2), alone);
        assert!(fitting(large, 8) * 8 <= alone * FULL);
        assert_eq!(fitting(large, 1000), 1);
    }
}
