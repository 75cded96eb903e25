//! Copies between open files, by the kernel where it can.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::blocking::interrupted;
use super::errno::{failed, refused};
use super::opened::{FileSlot, LocalFile, Open, Shared};
use super::queue::QueueGuard;
use super::read::BLOCK_SIZE;
use crate::op::{Failure, FailureKind};

/// Bytes of one step; between steps, an abort ends the copy.
const MAX_STEP: u64 = 8 * 1024 * 1024;

/// See `OpenFile::copy_data`. Both files' queues are locked meanwhile, so that earlier and later requests
/// keep their order.
pub(super) async fn copy(
    from: &LocalFile,
    offset: u64,
    length: u64,
    to: &LocalFile,
    to_offset: u64,
) -> Result<(), Failure> {
    from.shared.readable()?;
    to.shared.writable()?;
    let mut files = Files::lock(from, to).await?;
    let mut range = None;
    loop {
        let (returned, rest) = from
            .queue
            .pool()
            .run(move || {
                let rest = match range {
                    None => files.check(offset, length, to_offset),
                    Some(range) => files.step(range),
                };
                Ok((files, rest))
            })
            .await?;
        let rest = rest?;
        if rest.left == 0 {
            return Ok(());
        }
        returned.note_progress();
        (files, range) = (returned, Some(rest));
    }
}

/// What remains to be copied.
#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    left: u64,
    to_offset: u64,
}

struct Files {
    from: Side,
    /// `None`: the same file.
    to: Option<Side>,
}

struct Side {
    shared: Arc<Shared>,
    guard: QueueGuard<FileSlot>,
}

impl Files {
    async fn lock(from: &LocalFile, to: &LocalFile) -> Result<Self, Failure> {
        let (shared, to_shared) = (from.shared.clone(), to.shared.clone());
        if Arc::ptr_eq(&from.queue, &to.queue) {
            let guard = from.queue.lock().await?;
            return Ok(Self { from: Side { shared, guard }, to: None });
        }
        // Both positions are taken together: of two copies in opposite directions, each would be first in
        // one queue otherwise and wait for ever in the other.
        static POSITIONS: Mutex<()> = Mutex::new(());
        let (guard, to_guard) = {
            let _both_at_once = POSITIONS.lock().unwrap_or_else(PoisonError::into_inner);
            (from.queue.lock(), to.queue.lock())
        };
        let from = Side { shared, guard: guard.await? };
        let to = Side { shared: to_shared, guard: to_guard.await? };
        Ok(Self { from, to: Some(to) })
    }

    fn note_progress(&self) {
        self.from.guard.queue().note_progress();
        if let Some(to) = &self.to {
            to.guard.queue().note_progress();
        }
    }

    /// Refuses what cannot be copied, before anything changes.
    fn check(&mut self, offset: u64, length: u64, to_offset: u64) -> Result<Range, Failure> {
        let what = format!("copy from {}", self.from.shared.path);
        let invalid = |reason: &str| refused(FailureKind::InvalidArgument, &what, reason);
        let metadata = |open: &Open| open.file.metadata().map_err(|e| failed(&what, &e));

        let from = metadata(self.from.open()?)?;
        let (to, appends) = match &mut self.to {
            Some(to) => (metadata(to.open()?)?, to.shared.appends()),
            None => (from.clone(), self.from.shared.appends()),
        };
        let available = from.len().saturating_sub(offset);
        let left = if length == 0 { available } else { length };
        if left > available {
            return Err(refused(FailureKind::EndOfFile, &what, "it ends before"));
        }
        let Some(to_end) = to_offset.checked_add(left) else {
            return Err(invalid("the offset is too large"));
        };
        let same = (from.dev(), from.ino()) == (to.dev(), to.ino());
        if same && !appends && left > 0 && offset < to_end && to_offset < offset + left {
            return Err(invalid("the source and the target overlap"));
        }
        Ok(Range { offset, left, to_offset })
    }

    fn step(&mut self, range: Range) -> Result<Range, Failure> {
        let what = format!("copy from {}", self.from.shared.path);
        self.check_not_aborted(&what)?;
        let Self { from: Side { shared, guard }, to } = self;
        let (appends, copied) = match to {
            None => {
                let open = open(shared, guard)?;
                (shared.appends(), copy_step(&open.file, &open.file, range, shared.appends()))
            }
            Some(to) => {
                let appends = to.shared.appends();
                let (from, to) = (open(shared, guard)?, to.open()?);
                (appends, copy_step(&from.file, &to.file, range, appends))
            }
        };
        let copied = match copied {
            Ok(0) => Err(refused(FailureKind::InvalidArgument, &what, "it became shorter")),
            Ok(copied) => Ok(copied),
            Err(error) => Err(failed(&what, &error)),
        };
        let copied = copied.map_err(|failure| self.record_error(failure))?;
        Ok(Range {
            offset: range.offset + copied,
            left: range.left.saturating_sub(copied),
            to_offset: if appends { range.to_offset } else { range.to_offset + copied },
        })
    }

    fn check_not_aborted(&self, what: &str) -> Result<(), Failure> {
        let mut sides = [Some(&self.from), self.to.as_ref()].into_iter().flatten();
        if sides.any(|side| side.shared.aborted.load(Ordering::Relaxed)) {
            return Err(refused(FailureKind::Aborted, what, "the upload was aborted"));
        }
        Ok(())
    }

    /// Records that the target cannot be whole.
    fn record_error(&mut self, failure: Failure) -> Failure {
        match self.to.as_mut().unwrap_or(&mut self.from).open() {
            Ok(open) => open.record_error(failure),
            Err(_) => failure,
        }
    }
}

impl Side {
    fn open(&mut self) -> Result<&mut Open, Failure> {
        open(&self.shared, &mut self.guard)
    }
}

fn open<'a>(shared: &Shared, guard: &'a mut QueueGuard<FileSlot>) -> Result<&'a mut Open, Failure> {
    match guard.get() {
        Some(slot) => slot.open(&shared.path),
        None => Err(interrupted()),
    }
}

/// Copies at most [`MAX_STEP`] bytes, at least one unless the source ends.
fn copy_step(from: &File, to: &File, range: Range, appends: bool) -> io::Result<u64> {
    let length = range.left.min(MAX_STEP);
    if !appends {
        let (mut offset, mut to_offset) = (range.offset, range.to_offset);
        let length = usize::try_from(length).unwrap_or(BLOCK_SIZE);
        let (from_at, to_at) = (Some(&mut offset), Some(&mut to_offset));
        match rustix::fs::copy_file_range(from, from_at, to, to_at, length) {
            // Not all kernels and pairs of file systems support it; some return 0 then.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Ok(copied) => return Ok(copied as u64),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    copy_block(from, to, range, appends)
}

/// Copies one block through memory.
fn copy_block(from: &File, mut to: &File, range: Range, appends: bool) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_SIZE];
    let max = range.left.min(BLOCK_SIZE as u64) as usize;
    let read = from.read_at(&mut block[..max], range.offset)?;
    if appends {
        io::Write::write_all(&mut to, &block[..read])?;
    } else {
        to.write_all_at(&block[..read], range.to_offset)?;
    }
    Ok(read as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::testing::{BOTH, READ, Sandbox, WRITE};
    use super::*;
    use crate::op::OpenMode;

    #[tokio::test]
    async fn requests_before_and_after_a_copy_keep_their_order() {
        let sandbox = Sandbox::new();
        sandbox.put("from", "0123456789");
        sandbox.put("to", "");
        let from = sandbox.open("from", BOTH).await.unwrap();
        let to = sandbox.open("to", BOTH).await.unwrap();
        let before = from.write_at(2, Bytes::from_static(b"ab"));
        let copy = from.copy_data(1, 5, &to, 3);
        let after = async { from.write_at(0, Bytes::from_static(b"XXXXX")).await };
        let read = async { to.read_at(0, 100).await };
        let (copied, written, read, before) = tokio::join!(copy, after, read, before);
        for done in [copied, written, before] {
            done.unwrap();
        }
        assert_eq!(read.unwrap().unwrap(), &b"\0\0\x001ab45"[..]);
    }

    #[tokio::test]
    async fn a_copy_of_several_steps_reaches_the_end() {
        let sandbox = Sandbox::new();
        let content: Vec<u8> = (0..MAX_STEP as usize + 700_001).map(|n| (n / 7) as u8).collect();
        sandbox.put("from", &content);
        sandbox.put("to", "old");
        let from = sandbox.open("from", READ).await.unwrap();
        let to = sandbox.open("to", WRITE).await.unwrap();
        from.copy_data(1, 0, &to, 2).await.unwrap();
        assert_eq!(sandbox.get("to").unwrap(), [b"ol", &content[1..]].concat());
        let append = OpenMode { append: true, ..WRITE };
        sandbox.put("to", "old");
        let to = sandbox.open("to", append).await.unwrap();
        from.copy_data(5, 1_000_000, &to, 0).await.unwrap();
        assert_eq!(sandbox.get("to").unwrap(), [b"old", &content[5..1_000_005]].concat());
    }

    #[tokio::test]
    async fn overlapping_copies_and_copies_past_the_end_are_refused() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "0123456789");
        let one = sandbox.open("file", BOTH).await.unwrap();
        let two = sandbox.open("file", BOTH).await.unwrap();
        for to in [&one, &two] {
            for (offset, length, to_offset) in
                [(0, 0, 0), (0, 5, 4), (4, 5, 0), (0, 0, 9), (1, 5, u64::MAX)]
            {
                let refused = one.copy_data(offset, length, to, to_offset).await.unwrap_err();
                assert_eq!(refused.kind, FailureKind::InvalidArgument, "{offset} {length}");
            }
            for (offset, length) in [(0, 11), (11, 1)] {
                let refused = one.copy_data(offset, length, to, 20).await.unwrap_err();
                assert_eq!(refused.kind, FailureKind::EndOfFile, "{offset} {length}");
            }
            one.copy_data(0, 5, to, 5).await.unwrap();
            assert_eq!(sandbox.get("file").unwrap(), b"0123401234");
            sandbox.put("file", "0123456789");
        }
        one.copy_data(10, 0, &two, 0).await.unwrap();
        assert_eq!(sandbox.get("file").unwrap(), b"0123456789");
        let reader = sandbox.open("file", READ).await.unwrap();
        let refused = one.copy_data(0, 1, &reader, 20).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::PermissionDenied);
    }

    #[tokio::test]
    async fn copies_in_opposite_directions_do_not_deadlock() {
        let sandbox = Sandbox::new();
        for name in ["a", "b"] {
            sandbox.put(name, [name.as_bytes()[0]; 1000]);
        }
        let a = sandbox.open("a", BOTH).await.unwrap();
        let b = sandbox.open("b", BOTH).await.unwrap();
        for _ in 0..50 {
            let both =
                async { tokio::join!(a.copy_data(0, 500, &b, 500), b.copy_data(0, 500, &a, 500)) };
            let (there, back) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
            for copied in [there, back] {
                copied.unwrap();
            }
        }
        assert_eq!(sandbox.get("a").unwrap(), [[b'a'; 500], [b'b'; 500]].concat());
    }

    #[tokio::test]
    async fn an_aborted_or_dropped_copy_ends_between_steps_and_unlocks_the_files() {
        let sandbox = Sandbox::new();
        let large = std::fs::File::create(sandbox.host("large")).unwrap();
        large.set_len(1 << 40).unwrap();
        sandbox.put("small", "");
        let from = sandbox.open("large", READ).await.unwrap();
        let to = sandbox.open("small", BOTH).await.unwrap();
        {
            let copy = from.copy_data(0, 0, &to, 0);
            let abort = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                to.abort().await;
            };
            let both = async { tokio::join!(copy, abort) };
            let (copied, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
            assert_eq!(copied.unwrap_err().kind, FailureKind::Aborted);
        }
        // A dropped copy, too.
        let to = sandbox.open("small", BOTH).await.unwrap();
        let copy = from.copy_data(0, 0, &to, 0);
        assert!(tokio::time::timeout(Duration::from_millis(20), copy).await.is_err());
        let stat = tokio::time::timeout(Duration::from_secs(30), to.stat()).await.unwrap();
        assert!(stat.unwrap().attributes.size < Some(1 << 40));
        std::fs::File::create(sandbox.host("small")).unwrap();
    }
}
