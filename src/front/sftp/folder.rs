//! A folder that a client reads (OPENDIR, READDIR).

use std::collections::VecDeque;

use tokio::sync::Mutex;

use super::names;
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath, Timestamp};
use crate::session::{FolderListing, Session};
use crate::wire::sftp::Name;

/// What one answer holds at most.
const NAMES: usize = 128;
/// In bytes.
pub(super) const ANSWER: usize = 64 * 1024;

/// READDIRs of one handle wait for each other.
pub(super) struct Folder(Mutex<State>);

struct State {
    /// What to call it in the log.
    path: RemotePath,
    /// `None` once it has ended.
    listing: Option<FolderListing>,
    names: VecDeque<Name>,
    /// Of `.` and `..`, those that have not come.
    missing: Vec<&'static [u8]>,
    /// Names that no client can be given.
    left_out: usize,
    /// Why what was given is not all; told again and again, so that nobody takes it for all.
    failed: Option<Failure>,
}

impl Folder {
    /// Opens it and fetches the first entries: what is wrong with a folder is said at OPENDIR.
    pub(super) async fn open(session: &Session, path: RemotePath) -> Result<Self, Failure> {
        let listing = session.list(path.clone()).await?;
        let mut state = State {
            path,
            listing: Some(listing),
            names: VecDeque::new(),
            missing: vec![b".", b".."],
            left_out: 0,
            failed: None,
        };
        match state.fetch().await {
            Ok(()) => Ok(Self(Mutex::new(state))),
            Err(failure) => Err(failure),
        }
    }

    /// The next names; none at the end.
    pub(super) async fn next(&self) -> Result<Vec<Name>, Failure> {
        let mut state = self.0.lock().await;
        while state.names.is_empty() && state.listing.is_some() {
            // What fails is kept, and told below.
            let _ = state.fetch().await;
        }
        if state.names.is_empty()
            && let Some(failure) = &state.failed
        {
            return Err(failure.clone());
        }
        let (mut given, mut length) = (Vec::new(), 0);
        while given.len() < NAMES
            && let Some(name) = state.names.front()
            && (given.is_empty() || length + name.encoded_len() <= ANSWER)
        {
            length += name.encoded_len();
            given.extend(state.names.pop_front());
        }
        Ok(given)
    }

    /// The client wants no more of it.
    pub(super) async fn close(&self) {
        let listing = self.0.lock().await.listing.take();
        if let Some(listing) = listing {
            let why = "the client closed the folder before its end";
            listing.abort(&Failure::client(FailureKind::Aborted, why)).await;
        }
    }

    /// One without entries.
    #[cfg(test)]
    pub(super) fn finished() -> Self {
        Self(Mutex::new(State {
            path: RemotePath::root(),
            listing: None,
            names: VecDeque::new(),
            missing: Vec::new(),
            left_out: 0,
            failed: None,
        }))
    }
}

impl State {
    async fn fetch(&mut self) -> Result<(), Failure> {
        let Some(listing) = &mut self.listing else { return Ok(()) };
        match listing.next().await {
            Ok(Some(entries)) => self.take_in(entries),
            Ok(None) => {
                self.make_up_missing();
                self.tell_left_out();
                if let Some(listing) = self.listing.take() {
                    listing.finish();
                }
            }
            Err(failure) => {
                if let Some(listing) = self.listing.take() {
                    listing.abort(&failure).await;
                }
                self.failed = Some(failure.clone());
                return Err(failure);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, entries: Vec<Entry>) {
        let now = Timestamp::now();
        for entry in entries {
            if matches!(&entry.name[..], b"." | b"..") {
                let awaited = self.missing.iter().position(|name| *name == &entry.name[..]);
                // What is above the root is nobody's business.
                let above_root = self.path.is_root() && entry.name == b"..";
                let Some(at) = awaited.filter(|_| !above_root) else { continue };
                self.missing.remove(at);
            }
            match names::listed(entry, now) {
                Some(name) => self.names.push_back(name),
                None => self.left_out += 1,
            }
        }
    }

    /// Clients expect both, and many backends send neither.
    fn make_up_missing(&mut self) {
        let now = Timestamp::now();
        let made_up = self.missing.drain(..).map(|name| Entry::new(name, EntryKind::Directory));
        self.names.extend(made_up.filter_map(|entry| names::listed(entry, now)));
    }

    fn tell_left_out(&self) {
        if self.left_out > 0 {
            tracing::warn!(
                path = %self.path,
                names = self.left_out,
                "left out of a listing: empty, or with a slash or NUL in the name"
            );
        }
    }
}
