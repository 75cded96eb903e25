//! A folder that a client reads (OPENDIR, READDIR).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::names;
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath, Timestamp};
use crate::session::{FolderListing, Session};
use crate::wire::sftp::Name;

/// What one answer holds at most.
const NAMES: usize = 128;
/// In bytes.
pub(super) const ANSWER: usize = 64 * 1024;

/// Folders that one connection may have open at once, in all its channels: asyncssh's `rmtree` reads so
/// many, others one for each level of a tree.
pub(super) const OPEN: usize = 128;
/// Names that all folders of one connection hold, fetched and not given yet, in bytes; with more no
/// other is opened.
const HELD: usize = 4 * 1024 * 1024;
/// With so many bytes of them no more are fetched either. More than [`HELD`], since a listing that
/// breaks off is worse than one that does not begin.
const HELD_BY_READING: usize = 8 * 1024 * 1024;
/// Folders of one connection that are opened at once, and those that fetch more. The others wait.
const FETCHING: usize = 8;

/// What the open folders of one connection, of all its channels, hold together.
pub(super) struct Folders {
    /// Bytes.
    held: AtomicUsize,
    places: Arc<Semaphore>,
    opening: Semaphore,
    /// Apart from `opening`: to open one may take until another was read to its end, which gives back
    /// its connection to the backend.
    reading: Semaphore,
}

pub(super) struct Folder {
    /// READDIRs of one handle wait for each other.
    state: Mutex<State>,
    /// Among those of its connection; given back when dropped.
    _place: OwnedSemaphorePermit,
}

struct State {
    /// What to call it in the log.
    path: RemotePath,
    /// `None` once it has ended.
    listing: Option<FolderListing>,
    names: Names,
    /// Of `.` and `..`, those that have not come.
    missing: Vec<&'static [u8]>,
    /// Names that no client can be given.
    left_out: usize,
    /// Why what was given is not all; told again and again, so that nobody takes it for all.
    failed: Option<Failure>,
}

/// Names to be given, and what they add to what all folders hold.
struct Names {
    names: VecDeque<Name>,
    held: usize,
    folders: Arc<Folders>,
}

impl Folders {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(OPEN)),
            opening: Semaphore::new(FETCHING),
            reading: Semaphore::new(FETCHING),
        })
    }

    fn reserve(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let why = format!("{OPEN} folders are open on this connection; close one first");
            Failure::client(FailureKind::Busy, why)
        })
    }

    /// Whether names may be fetched where all folders may hold so many bytes.
    fn room(&self, most: usize) -> Result<(), Failure> {
        if self.held.load(Ordering::Relaxed) <= most {
            return Ok(());
        }
        let why = "too many large folders are open; read one to its end, or close one";
        Err(Failure::client(FailureKind::Busy, why))
    }
}

impl Folder {
    /// Opens it and fetches the first entries: what is wrong with a folder is said at OPENDIR.
    pub(super) async fn open(
        session: &Session,
        folders: Arc<Folders>,
        path: RemotePath,
    ) -> Result<Self, Failure> {
        let place = folders.reserve()?;
        let _opening = folders.opening.acquire().await;
        folders.room(HELD)?;
        let listing = session.list(path.clone()).await?;
        let mut state = State {
            path,
            listing: Some(listing),
            names: Names::new(folders.clone()),
            missing: vec![b".", b".."],
            left_out: 0,
            failed: None,
        };
        state.fetch().await?;
        Ok(Self { state: Mutex::new(state), _place: place })
    }

    /// The next names; none at the end.
    pub(super) async fn next(&self) -> Result<Vec<Name>, Failure> {
        let mut state = self.state.lock().await;
        while state.names.is_empty() && state.listing.is_some() {
            let folders = state.names.folders.clone();
            let _reading = folders.reading.acquire().await;
            folders.room(HELD_BY_READING)?;
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
            given.extend(state.names.pop());
        }
        Ok(given)
    }

    /// The client wants no more of it.
    pub(super) async fn close(&self) {
        let why = "the client closed the folder before its end";
        self.abandon(&Failure::client(FailureKind::Aborted, why)).await;
    }

    /// It ends before its end.
    pub(super) async fn abandon(&self, failure: &Failure) {
        let listing = self.state.lock().await.listing.take();
        if let Some(listing) = listing {
            listing.abort(failure).await;
        }
    }

    /// One without entries.
    #[cfg(test)]
    pub(super) fn finished() -> Self {
        let folders = Folders::new();
        let place = folders.reserve().unwrap();
        let state = State {
            path: RemotePath::root(),
            listing: None,
            names: Names::new(folders),
            missing: Vec::new(),
            left_out: 0,
            failed: None,
        };
        Self { state: Mutex::new(state), _place: place }
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
                Some(name) => self.names.push(name),
                None => self.left_out += 1,
            }
        }
    }

    /// Clients expect both, and many backends send neither.
    fn make_up_missing(&mut self) {
        let now = Timestamp::now();
        for name in self.missing.drain(..) {
            let made_up = names::listed(Entry::new(name, EntryKind::Directory), now);
            made_up.into_iter().for_each(|name| self.names.push(name));
        }
    }

    fn tell_left_out(&self) {
        if self.left_out > 0 {
            tracing::warn!(
                path = self.path.as_bytes(),
                names = self.left_out,
                "left out of a listing: empty, or with a slash or NUL in the name"
            );
        }
    }
}

impl Names {
    fn new(folders: Arc<Folders>) -> Self {
        Self { names: VecDeque::new(), held: 0, folders }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn front(&self) -> Option<&Name> {
        self.names.front()
    }

    fn push(&mut self, name: Name) {
        let size = size(&name);
        self.held += size;
        self.folders.held.fetch_add(size, Ordering::Relaxed);
        self.names.push_back(name);
    }

    fn pop(&mut self) -> Option<Name> {
        let name = self.names.pop_front()?;
        let size = size(&name);
        self.held -= size;
        self.folders.held.fetch_sub(size, Ordering::Relaxed);
        if self.names.is_empty() {
            // A client may read no further for long.
            self.names = VecDeque::new();
        }
        Some(name)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.folders.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// Of memory, about.
fn size(name: &Name) -> usize {
    size_of::<Name>() + name.name.len() + name.longname.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_given_take_no_memory() {
        let folders = Folders::new();
        let mut names = Names::new(folders.clone());
        for _ in 0..2 {
            for n in 0..NAMES {
                let entry = Entry::new(n.to_string(), EntryKind::File);
                names.push(names::listed(entry, 0).unwrap());
            }
            assert!(folders.held.load(Ordering::Relaxed) > NAMES * size_of::<Name>());
            while names.pop().is_some() {}
            assert_eq!((folders.held.load(Ordering::Relaxed), names.names.capacity()), (0, 0));
        }
    }
}
