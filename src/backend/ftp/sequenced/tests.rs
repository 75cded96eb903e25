//! The adapter against a file in memory that has transfers only.

mod existing_files;
mod reads;
mod writes;

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::sync::{Notify, Semaphore};

use super::read_buffer::{Lookup, ReadBuffer};
use super::*;

/// A file that has transfers only, and a log of them.
#[derive(Default)]
pub(super) struct Fake {
    content: Mutex<Vec<u8>>,
    /// The original file while it is replaced.
    old: Mutex<Option<Vec<u8>>>,
    /// The most bytes of it that may be copied.
    copy_max: Option<u64>,
    exists: bool,
    /// Calls in order: `read 0`, `write start`, `finish`, `abort`, `size`.
    log: Mutex<Vec<String>>,
    /// The most bytes per read of a transfer.
    chunk: usize,
    /// Reads end here: with a lost connection, or (`refused`) with an end and an error reply.
    cut_at: Mutex<Option<usize>>,
    refused: bool,
    /// If set, each write takes one permit.
    write_permits: Option<Semaphore>,
    write_fails_at: Option<usize>,
    /// The time that the start of a transfer, each read and its end take.
    delays: [Duration; 3],
    /// An offset after the end yields no bytes instead of an error.
    accepts_offset_after_end: bool,
    /// The number of write transfers that are accepted.
    writes_max: Option<usize>,
    /// Notified when another operation requests the connection.
    pub(super) requested: Notify,
}

impl Fake {
    pub(super) fn with(content: Vec<u8>) -> Self {
        Self { content: Mutex::new(content), exists: true, chunk: 10_000, ..Self::default() }
    }

    fn log(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    /// Deletes the replacement.
    fn restore(&self) {
        if let Some(old) = self.old.lock().unwrap().take() {
            *self.content.lock().unwrap() = old;
        }
    }

    fn content(&self) -> Vec<u8> {
        self.content.lock().unwrap().clone()
    }

    pub(super) fn logged(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn count(&self, what: &str) -> usize {
        self.logged().iter().filter(|line| line.starts_with(what)).count()
    }
}

/// Shares the file between test and adapter.
pub(super) struct Shared(pub(super) Arc<Fake>);
struct FakeRead(Arc<Fake>, usize);
struct FakeWrite(Arc<Fake>);

fn lost(what: &str) -> Failure {
    Failure::backend(FailureKind::TransferCut, what)
}

/// A sleep of zero would still advance the paused clock.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl SequentialFile for Shared {
    async fn start_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        self.0.log(format!("read {offset}"));
        pause(self.0.delays[0]).await;
        let after_end = offset > self.0.content.lock().unwrap().len() as u64;
        if after_end && !self.0.accepts_offset_after_end {
            return Err(lost("REST is past the end"));
        }
        Ok(Box::new(FakeRead(self.0.clone(), offset as usize)))
    }

    async fn start_write(&self, from: StoreMode) -> Result<Box<dyn SequentialWrite>, Failure> {
        if self.0.writes_max.is_some_and(|most| self.0.count("write") >= most) {
            return Err(lost("no further write"));
        }
        match from {
            StoreMode::Create => {
                self.0.log("write start");
                self.0.content.lock().unwrap().clear();
            }
            StoreMode::Append => self.0.log("write end"),
            StoreMode::Replace => {
                self.0.log("write over");
                let old = std::mem::take(&mut *self.0.content.lock().unwrap());
                *self.0.old.lock().unwrap() = Some(old);
            }
        }
        Ok(Box::new(FakeWrite(self.0.clone())))
    }

    async fn size(&self) -> Result<Option<u64>, Failure> {
        self.0.log("size");
        let size = self.0.content.lock().unwrap().len() as u64;
        Ok((self.0.exists || size > 0).then_some(size))
    }

    async fn connection_requested(&self) {
        self.0.requested.notified().await;
    }

    async fn start_read_original(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Box<dyn SequentialRead>, Failure> {
        self.0.log(format!("old {from} {to}"));
        if self.0.copy_max.is_some_and(|most| to - from > most) {
            return Err(unsupported("too much to copy"));
        }
        let old = self.0.old.lock().unwrap().clone().expect("something is replaced");
        Ok(Box::new(FakeRead(Arc::new(Fake::with(old)), from as usize)))
    }

    async fn release_original(&self) {
        self.0.log("release");
    }

    async fn abandon(&self) {
        self.0.log("abandon");
        self.0.restore();
    }
}

#[async_trait]
impl SequentialRead for FakeRead {
    async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Failure> {
        tokio::task::yield_now().await;
        pause(self.0.delays[1]).await;
        let content = self.0.content.lock().unwrap();
        let cut = *self.0.cut_at.lock().unwrap();
        let end = cut.unwrap_or(content.len()).min(content.len());
        if self.1 >= end {
            return match cut {
                Some(_) if !self.0.refused => Err(lost("the connection is lost")),
                _ => Ok(0),
            };
        }
        let n = (end - self.1).min(self.0.chunk);
        into.extend_from_slice(&content[self.1..self.1 + n]);
        self.1 += n;
        Ok(n)
    }

    async fn finish(self: Box<Self>) -> Result<(), Failure> {
        pause(self.0.delays[2]).await;
        self.0.log("finish");
        match *self.0.cut_at.lock().unwrap() {
            Some(_) => Err(lost("451 the disk is gone")),
            None => Ok(()),
        }
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        self.0.log("abort");
        None
    }
}

#[async_trait]
impl SequentialWrite for FakeWrite {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        if let Some(write_permits) = &self.0.write_permits {
            write_permits.acquire().await.unwrap().forget();
        }
        let mut content = self.0.content.lock().unwrap();
        content.extend_from_slice(&data);
        match self.0.write_fails_at {
            Some(at) if content.len() >= at => Err(lost("the connection is lost")),
            _ => Ok(()),
        }
    }

    async fn finish(self: Box<Self>, whole: bool) -> Result<(), Failure> {
        self.0.log(if whole { "finish" } else { "sync" });
        if whole {
            self.0.old.lock().unwrap().take();
        }
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        self.0.log("abort");
        self.0.restore();
        Some(lost("552 no space left"))
    }
}

static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(9_000_000));

pub(super) const READ: Access = Access { read: true, write: None };

fn writing(access: WriteAccess) -> Access {
    Access { read: false, write: Some(access) }
}

pub(super) fn budget() -> Budget {
    Budget::new(2 * WINDOW_SIZE as usize)
}

async fn open(fake: &Arc<Fake>, access: Access) -> Sequenced {
    Sequenced::open(Arc::new(Shared(fake.clone())), access, budget()).await.expect("it opens")
}

pub(super) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 257) as u8).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(future)
}

/// The numbers below `count`, each at most about `reach` out of order.
fn jumbled(count: usize, reach: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..=reach, count).prop_map(|shifts| {
        let mut places: Vec<(usize, usize)> =
            shifts.into_iter().enumerate().map(|(i, shift)| (i + shift, i)).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, i)| i).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reads_out_of_order_share_one_transfer(
        order in jumbled(80, 30),
        block in 1_usize..40_000,
        chunk in 1_usize..60_000,
        at_once in 1_usize..80,
        short in 0_usize..1000,
    ) {
        let content = LARGE[..(80 * block).saturating_sub(short.min(block))].to_vec();
        let fake = Arc::new(Fake { chunk, ..Fake::with(content.clone()) });
        block_on(async {
            let file = open(&fake, READ).await;
            for part in order.chunks(at_once) {
                let reads = part.iter().map(|i| file.read_at((i * block) as u64, block as u32));
                for (i, read) in part.iter().zip(join_all(reads).await) {
                    let from = (i * block).min(content.len());
                    let expected = &content[from..(from + block).min(content.len())];
                    let read = read.unwrap().unwrap_or_default();
                    assert!(read == expected, "block {i}: {} of {}", read.len(), expected.len());
                }
            }
            assert_eq!(file.read_at(content.len() as u64, 10).await.unwrap(), None);
            file.close().await.unwrap();
        });
        // Late reads restart the transfer once at most; here none is late.
        prop_assert_eq!(fake.count("read"), 1, "{:?}", fake.logged());
    }

    #[test]
    fn writes_out_of_order_share_one_transfer(
        order in jumbled(80, 30),
        block in 1_usize..40_000,
        at_once in 1_usize..80,
    ) {
        let content = LARGE[..80 * block].to_vec();
        let fake = Arc::new(Fake::with(b"what was there before".to_vec()));
        block_on(async {
            let file = open(&fake, writing(WriteAccess::Create)).await;
            for part in order.chunks(at_once) {
                let data = |i: &usize| Bytes::copy_from_slice(&content[i * block..][..block]);
                let writes = part.iter().map(|i| file.write_at((i * block) as u64, data(i)));
                for written in join_all(writes).await {
                    written.unwrap();
                }
            }
            file.close().await.unwrap();
        });
        prop_assert!(fake.content() == content);
        prop_assert_eq!(fake.logged(), ["write start", "finish"]);
    }

    #[test]
    fn read_buffer_is_bounded_and_returns_the_right_bytes(
        steps in prop::collection::vec((0_u64..9_000_000, 1_u64..300_000, any::<bool>()), 1..60),
    ) {
        let content = &*LARGE;
        let mut buffer = ReadBuffer::default();
        for (offset, length, fills) in steps {
            // Like `Reading`: only for bytes that are not here yet.
            if fills && buffer.reaches(offset) && buffer.position() < offset + length {
                buffer.skip_to(offset);
                let from = buffer.position() as usize;
                let to = (from + 256 * 1024).min(content.len());
                buffer.head.extend_from_slice(&content[from..to]);
            }
            prop_assert!(buffer.held() <= WINDOW_SIZE + 256 * 1024 + 300_000, "{}", buffer.held());
            if let Lookup::Bytes(found) = buffer.take(offset, length, false) {
                prop_assert!(!found.is_empty() && found.len() as u64 <= length);
                prop_assert!(found == content[offset as usize..][..found.len()]);
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_returned_by_open() {
    struct Absent;
    #[async_trait]
    impl SequentialFile for Absent {
        async fn start_read(&self, _: u64) -> Result<Box<dyn SequentialRead>, Failure> {
            Err(Failure::backend(FailureKind::NotFound, "no"))
        }
        async fn start_write(&self, _: StoreMode) -> Result<Box<dyn SequentialWrite>, Failure> {
            Err(Failure::backend(FailureKind::PermissionDenied, "no"))
        }
        async fn size(&self) -> Result<Option<u64>, Failure> {
            Ok(None)
        }
    }
    for (access, kind) in [
        (READ, FailureKind::NotFound),
        (writing(WriteAccess::Create), FailureKind::PermissionDenied),
        (writing(WriteAccess::Append), FailureKind::PermissionDenied),
    ] {
        let refused =
            Sequenced::open(Arc::new(Absent), access, budget()).await.err().expect("a refusal");
        assert_eq!(refused.kind, kind);
    }
}
