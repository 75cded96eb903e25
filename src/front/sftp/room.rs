//! How much one channel may have under way.

use crate::wire::sftp::RequestBody;

/// The longest READ that is answered whole, and the longest WRITE, in bytes: what OpenSSH's server has.
pub(super) const LONGEST_DATA: u32 = 255 * 1024;
/// Requests that are neither answered nor waiting for their turn.
const REQUESTS: usize = 256;
/// Bytes that READs may bring, until they are sent.
const READ: usize = 4 * 1024 * 1024;
/// Bytes that WRITEs hold, until the backend has them.
const WRITTEN: usize = 4 * 1024 * 1024;

/// What a request takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) requests: usize,
    /// Bytes.
    pub(super) read: usize,
    /// Bytes.
    pub(super) written: usize,
}

/// What is taken up.
#[derive(Debug, Default)]
pub(super) struct Room(Cost);

impl Cost {
    pub(super) fn of(request: &RequestBody) -> Self {
        let (read, written) = match request {
            RequestBody::Read { length, .. } => ((*length).min(LONGEST_DATA) as usize, 0),
            RequestBody::Write { data, .. } => (0, data.len()),
            _ => (0, 0),
        };
        Self { requests: 1, read, written }
    }

    /// What is left of it once the backend has answered: nothing of a WRITE's data.
    pub(super) fn answered(self) -> Self {
        Self { written: 0, ..self }
    }

    pub(super) fn add(&mut self, more: Cost) {
        self.requests += more.requests;
        self.read += more.read;
        self.written += more.written;
    }
}

impl Room {
    /// Whether `cost` fits. One request always does.
    pub(super) fn has(&self, cost: Cost) -> bool {
        let Self(taken) = self;
        let fits = |taken: usize, cost: usize, most: usize| {
            cost == 0 || taken == 0 || taken + cost <= most
        };
        taken.requests < REQUESTS
            && fits(taken.read, cost.read, READ)
            && fits(taken.written, cost.written, WRITTEN)
    }

    pub(super) fn take(&mut self, cost: Cost) {
        self.0.add(cost);
    }

    pub(super) fn give_back(&mut self, cost: Cost) {
        self.0.requests = self.0.requests.saturating_sub(cost.requests);
        self.0.read = self.0.read.saturating_sub(cost.read);
        self.0.written = self.0.written.saturating_sub(cost.written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn read(length: u32) -> Cost {
        Cost::of(&RequestBody::Read { handle: Bytes::new(), offset: 0, length })
    }

    #[test]
    fn reads_writes_and_requests_are_bounded_each() {
        let mut room = Room::default();
        let large = read(u32::MAX);
        assert_eq!(large, Cost { requests: 1, read: LONGEST_DATA as usize, written: 0 });
        let mut fitted = 0;
        while room.has(large) {
            room.take(large);
            fitted += large.read;
        }
        assert!(fitted <= READ && fitted > READ - large.read);
        // Full of reads, but not of writes.
        assert!(room.has(Cost { requests: 1, read: 0, written: 1000 }));
        room.give_back(large);
        assert!(room.has(large));

        let mut room = Room::default();
        let small = read(0);
        (0..REQUESTS).for_each(|_| room.take(small));
        assert!(!room.has(small));
        (0..REQUESTS).for_each(|_| room.give_back(small));
        assert_eq!(room.0, Cost::default());
    }
}
