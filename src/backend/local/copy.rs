//! Copies between open files without the client's bytes on the way.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::blocking;
use super::errno::{failed, refused};
use super::file::{Held, LocalFile, Open, Shared};
use super::queue::Lent;
use super::read::BLOCK;
use crate::op::{Failure, FailureKind};

/// Bytes between two looks at whether the copy is still wanted.
const STEP: u64 = 8 * 1024 * 1024;

/// As `OpenFile::copy_data`. Both files' queues stand still meanwhile, so that what was asked before
/// and after keeps its place.
pub(super) async fn copy(
    from: &LocalFile,
    offset: u64,
    length: u64,
    to: &LocalFile,
    to_offset: u64,
) -> Result<(), Failure> {
    from.shared.readable()?;
    to.shared.writable()?;
    let mut files = Files::borrow(from, to).await?;
    let mut range = None;
    loop {
        let (back, rest) = blocking(move || {
            let rest = match range {
                None => files.begin(offset, length, to_offset),
                Some(range) => files.step(range),
            };
            Ok((files, rest))
        })
        .await?;
        let rest = rest?;
        if rest.left == 0 {
            return Ok(());
        }
        back.stepped();
        (files, range) = (back, Some(rest));
    }
}

/// What is still to be copied.
#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    left: u64,
    to_offset: u64,
}

struct Files {
    from: Side,
    /// `None`: the same one.
    to: Option<Side>,
}

struct Side {
    shared: Arc<Shared>,
    lent: Lent<Held>,
}

impl Files {
    async fn borrow(from: &LocalFile, to: &LocalFile) -> Result<Self, Failure> {
        let (shared, to_shared) = (from.shared.clone(), to.shared.clone());
        if Arc::ptr_eq(&from.queue, &to.queue) {
            let lent = from.queue.borrow().await?;
            return Ok(Self { from: Side { shared, lent }, to: None });
        }
        // Two copies in opposite directions must not each have the first place in one queue.
        static PLACES: Mutex<()> = Mutex::new(());
        let (lent, to_lent) = {
            let _both_at_once = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
            (from.queue.borrow(), to.queue.borrow())
        };
        let from = Side { shared, lent: lent.await? };
        let to = Side { shared: to_shared, lent: to_lent.await? };
        Ok(Self { from, to: Some(to) })
    }

    fn stepped(&self) {
        self.from.lent.queue().stepped();
        if let Some(to) = &self.to {
            to.lent.queue().stepped();
        }
    }

    fn begin(&mut self, offset: u64, length: u64, to_offset: u64) -> Result<Range, Failure> {
        let what = format!("copy from {}", self.from.shared.path);
        let invalid = |reason: &str| refused(FailureKind::InvalidArgument, &what, reason);
        let metadata = |open: &Open| open.file.metadata().map_err(|e| failed(&what, &e));

        let from = metadata(self.from.open()?)?;
        let (to, appends) = match &mut self.to {
            Some(to) => (metadata(to.open()?)?, to.shared.appends()),
            None => (from.clone(), self.from.shared.appends()),
        };
        let there = from.len().saturating_sub(offset);
        let left = if length == 0 { there } else { length };
        if left > there {
            return Err(invalid("it ends before"));
        }
        let Some(to_end) = to_offset.checked_add(left) else {
            return Err(invalid("the offset is too large"));
        };
        let same = (from.dev(), from.ino()) == (to.dev(), to.ino());
        if same && !appends && left > 0 && offset < to_end && to_offset < offset + left {
            return Err(invalid("it would be copied onto itself"));
        }
        Ok(Range { offset, left, to_offset })
    }

    fn step(&mut self, range: Range) -> Result<Range, Failure> {
        let what = format!("copy from {}", self.from.shared.path);
        self.wanted(&what)?;
        let Self { from: Side { shared, lent }, to } = self;
        let (appends, copied) = match to {
            None => {
                let open = open(shared, lent)?;
                (shared.appends(), piece(&open.file, &open.file, range, shared.appends()))
            }
            Some(to) => {
                let appends = to.shared.appends();
                let (from, to) = (open(shared, lent)?, to.open()?);
                (appends, piece(&from.file, &to.file, range, appends))
            }
        };
        let copied = match copied {
            Ok(0) => Err(refused(FailureKind::InvalidArgument, &what, "it became shorter")),
            Ok(copied) => Ok(copied),
            Err(error) => Err(failed(&what, &error)),
        };
        let copied = copied.map_err(|failure| self.spoilt(failure))?;
        Ok(Range {
            offset: range.offset + copied,
            left: range.left.saturating_sub(copied),
            to_offset: if appends { range.to_offset } else { range.to_offset + copied },
        })
    }

    fn wanted(&self, what: &str) -> Result<(), Failure> {
        let mut sides = [Some(&self.from), self.to.as_ref()].into_iter().flatten();
        match sides.any(|side| side.shared.cut.load(Ordering::Relaxed)) {
            true => Err(refused(FailureKind::Aborted, what, "the file is no longer wanted")),
            false => Ok(()),
        }
    }

    /// What was begun to be written is not whole.
    fn spoilt(&mut self, failure: Failure) -> Failure {
        match self.to.as_mut().unwrap_or(&mut self.from).open() {
            Ok(open) => open.spoilt(failure),
            Err(_) => failure,
        }
    }
}

impl Side {
    fn open(&mut self) -> Result<&mut Open, Failure> {
        open(&self.shared, &mut self.lent)
    }
}

fn open<'a>(shared: &Shared, lent: &'a mut Lent<Held>) -> Result<&'a mut Open, Failure> {
    match lent.get() {
        Some(held) => held.open(&shared.path),
        None => Err(super::unfinished()),
    }
}

/// Copies at least one byte, where one is there, and at most [`STEP`].
fn piece(from: &File, to: &File, range: Range, appends: bool) -> io::Result<u64> {
    let length = range.left.min(STEP);
    if !appends {
        let (mut offset, mut to_offset) = (range.offset, range.to_offset);
        let length = usize::try_from(length).unwrap_or(BLOCK);
        let (from_at, to_at) = (Some(&mut offset), Some(&mut to_offset));
        match rustix::fs::copy_file_range(from, from_at, to, to_at, length) {
            // Not all kernels and pairs of file systems can; some say so with 0.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Ok(copied) => return Ok(copied as u64),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    by_hand(from, to, range, appends)
}

fn by_hand(from: &File, mut to: &File, range: Range, appends: bool) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let most = range.left.min(BLOCK as u64) as usize;
    let read = from.read_at(&mut block[..most], range.offset)?;
    match appends {
        true => io::Write::write_all(&mut to, &block[..read])?,
        false => to.write_all_at(&block[..read], range.to_offset)?,
    }
    Ok(read as u64)
}
