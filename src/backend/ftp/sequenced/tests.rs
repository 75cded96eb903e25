use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::sync::{Notify, Semaphore};

use super::ahead::{Ahead, Found};
use super::*;

/// A file that takes transfers only, and what became of it.
#[derive(Default)]
pub(super) struct Fake {
    content: Mutex<Vec<u8>>,
    /// What is replaced, until the new one is whole.
    old: Mutex<Option<Vec<u8>>>,
    /// The most that is copied of it.
    most_copied: Option<u64>,
    exists: bool,
    /// What was asked, in order: `read 0`, `write start`, `finish`, `abort`, `size`.
    log: Mutex<Vec<String>>,
    /// A transfer's reads bring at most so many bytes.
    chunk: usize,
    /// Reads end here, as a lost connection or (`refused`) as an end with a refusal.
    cut_at: Mutex<Option<usize>>,
    refused: bool,
    /// Where it is there, each write takes one permit.
    gate: Option<Semaphore>,
    write_fails_at: Option<usize>,
    /// A transfer's begin, each of its reads and its end take so long.
    takes: [Duration; 3],
    /// An offset behind the end brings nothing instead of a refusal.
    rest_anywhere: bool,
    /// Begins of writes that are not refused.
    most_writes: Option<usize>,
    /// Others want the connection.
    pub(super) wanted: Notify,
}

impl Fake {
    pub(super) fn with(content: Vec<u8>) -> Self {
        Self { content: Mutex::new(content), exists: true, chunk: 10_000, ..Self::default() }
    }

    fn log(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    /// What was to replace it is deleted.
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

/// The file is the test's as well as the adapter's.
pub(super) struct Shared(pub(super) Arc<Fake>);
struct FakeRead(Arc<Fake>, usize);
struct FakeWrite(Arc<Fake>);

fn lost(what: &str) -> Failure {
    Failure::backend(FailureKind::TransferCut, what)
}

/// Not even a tick of the paused clock for nothing.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl SequentialFile for Shared {
    async fn open_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        self.0.log(format!("read {offset}"));
        pause(self.0.takes[0]).await;
        let behind = offset > self.0.content.lock().unwrap().len() as u64;
        if behind && !self.0.rest_anywhere {
            return Err(lost("REST is behind the end"));
        }
        Ok(Box::new(FakeRead(self.0.clone(), offset as usize)))
    }

    async fn open_write(&self, from: WriteFrom) -> Result<Box<dyn SequentialWrite>, Failure> {
        if self.0.most_writes.is_some_and(|most| self.0.count("write") >= most) {
            return Err(lost("no further write"));
        }
        match from {
            WriteFrom::Start => {
                self.0.log("write start");
                self.0.content.lock().unwrap().clear();
            }
            WriteFrom::End => self.0.log("write end"),
            WriteFrom::Over => {
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

    async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    async fn open_old(&self, from: u64, to: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        self.0.log(format!("old {from} {to}"));
        if self.0.most_copied.is_some_and(|most| to - from > most) {
            return Err(unsupported("too much to copy"));
        }
        let old = self.0.old.lock().unwrap().clone().expect("something is replaced");
        Ok(Box::new(FakeRead(Arc::new(Fake::with(old)), from as usize)))
    }

    async fn release_old(&self) {
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
        pause(self.0.takes[1]).await;
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
        pause(self.0.takes[2]).await;
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
        if let Some(gate) = &self.0.gate {
            gate.acquire().await.unwrap().forget();
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

pub(super) const READ: Purpose = Purpose { read: true, write: None };

fn writing(begin: Begin) -> Purpose {
    Purpose { read: false, write: Some(begin) }
}

pub(super) fn budget() -> Budget {
    Budget::new(2 * WINDOW as usize)
}

async fn open(fake: &Arc<Fake>, purpose: Purpose) -> Sequenced {
    Sequenced::open(Arc::new(Shared(fake.clone())), purpose, budget()).await.expect("it opens")
}

pub(super) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 257) as u8).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(future)
}

/// The numbers below `count`, each at most about `reach` away from its place.
fn jumbled(count: usize, reach: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..=reach, count).prop_map(|shifts| {
        let mut places: Vec<(usize, usize)> =
            shifts.into_iter().enumerate().map(|(i, shift)| (i + shift, i)).collect();
        places.sort();
        places.into_iter().map(|(_, i)| i).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reads_out_of_order_ride_one_transfer(
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
        // Reads that were asked too late to be held for ride a second one at most; here none is.
        prop_assert_eq!(fake.count("read"), 1, "{:?}", fake.logged());
    }

    #[test]
    fn writes_out_of_order_ride_one_transfer(
        order in jumbled(80, 30),
        block in 1_usize..40_000,
        at_once in 1_usize..80,
    ) {
        let content = LARGE[..80 * block].to_vec();
        let fake = Arc::new(Fake::with(b"what was there before".to_vec()));
        block_on(async {
            let file = open(&fake, writing(Begin::Start)).await;
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
    fn what_is_held_of_reads_is_bounded_and_right(
        steps in prop::collection::vec((0_u64..9_000_000, 1_u64..300_000, any::<bool>()), 1..60),
    ) {
        let content = &*LARGE;
        let mut ahead = Ahead::default();
        for (offset, length, fills) in steps {
            // As a reading does: only for what is not there yet.
            if fills && ahead.reaches(offset) && ahead.position() < offset + length {
                ahead.pass_to(offset);
                let from = ahead.position() as usize;
                let to = (from + 256 * 1024).min(content.len());
                ahead.head.extend_from_slice(&content[from..to]);
            }
            prop_assert!(ahead.held() <= WINDOW + 256 * 1024 + 300_000, "{}", ahead.held());
            if let Found::Bytes(found) = ahead.take(offset, length, false) {
                prop_assert!(!found.is_empty() && found.len() as u64 <= length);
                prop_assert!(found == content[offset as usize..][..found.len()]);
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_comes_when_the_file_is_opened() {
    struct Absent;
    #[async_trait]
    impl SequentialFile for Absent {
        async fn open_read(&self, _: u64) -> Result<Box<dyn SequentialRead>, Failure> {
            Err(Failure::backend(FailureKind::NotFound, "no"))
        }
        async fn open_write(&self, _: WriteFrom) -> Result<Box<dyn SequentialWrite>, Failure> {
            Err(Failure::backend(FailureKind::PermissionDenied, "no"))
        }
        async fn size(&self) -> Result<Option<u64>, Failure> {
            Ok(None)
        }
    }
    for (purpose, kind) in [
        (READ, FailureKind::NotFound),
        (writing(Begin::Start), FailureKind::PermissionDenied),
        (writing(Begin::End), FailureKind::PermissionDenied),
    ] {
        let refused =
            Sequenced::open(Arc::new(Absent), purpose, budget()).await.err().expect("a refusal");
        assert_eq!(refused.kind, kind);
    }
}

#[tokio::test]
async fn seeks_restart_the_transfer_and_nothing_else_does() {
    let content = bytes(12_000_000);
    let fake = Arc::new(Fake { chunk: 200_000, ..Fake::with(content.clone()) });
    let file = open(&fake, READ).await;
    let check = async |offset: usize, length: usize| {
        let read = file.read_at(offset as u64, length as u32).await.unwrap().unwrap();
        assert!(read == content[offset..offset + read.len()] && !read.is_empty());
    };
    check(0, 32_768).await;
    // A little ahead, and back to what was passed over.
    check(3_000_000, 1234).await;
    check(40_000, 10_000).await;
    assert_eq!(fake.count("read"), 1, "{:?}", fake.logged());
    check(9_000_000, 1000).await;
    check(100, 1000).await;
    check(1100, 1000).await;
    let reads: Vec<_> = fake.logged();
    assert_eq!(reads, ["read 0", "abort", "read 9000000", "abort", "read 100"]);
}

#[tokio::test]
async fn two_readers_far_apart_do_not_restart_it_for_each_read() {
    let content = bytes(16_000_000);
    let fake = Arc::new(Fake { chunk: 200_000, ..Fake::with(content.clone()) });
    let file = open(&fake, READ).await;
    let offsets = (0..64).map(|i| (i % 2) * 10_000_000 + (i / 2) * 32_768);
    let reads = join_all(offsets.clone().map(|at| file.read_at(at as u64, 32_768))).await;
    for (at, read) in offsets.zip(reads) {
        assert!(read.unwrap().unwrap() == content[at..at + 32_768]);
    }
    assert_eq!(fake.count("read"), 2, "{:?}", fake.logged());
}

#[tokio::test]
async fn a_cut_is_never_the_end_of_the_file() {
    for refused in [false, true] {
        let content = bytes(100_000);
        let cut_at = Mutex::new(Some(60_000));
        let fake = Arc::new(Fake { cut_at, refused, ..Fake::with(content.clone()) });
        let file = open(&fake, READ).await;
        let offsets = [0, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000];
        let reads = join_all(offsets.map(|at| file.read_at(at, 20_000))).await;
        for (at, read) in offsets.into_iter().zip(reads) {
            match read {
                Ok(bytes) if at < 60_000 => {
                    assert!(bytes.unwrap() == content[at as usize..][..20_000])
                }
                Ok(bytes) => panic!("at {at}: {:?}", bytes.map(|b| b.len())),
                Err(failure) => {
                    assert!(at >= 60_000, "{failure}");
                    assert_eq!(failure.kind, FailureKind::TransferCut);
                }
            }
        }
        assert!(file.read_at(60_000, 10).await.is_err());
        assert!(file.read_at(100_000, 10).await.is_err());
        // A read that ends in the cut is no short one.
        let fake =
            Arc::new(Fake { cut_at: Mutex::new(Some(60_000)), refused, ..Fake::with(content) });
        let file = open(&fake, READ).await;
        assert!(file.read_at(50_000, 20_000).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_was_left_alone_for_long_begins_anew() {
    let content = bytes(100_000);
    let fake = Arc::new(Fake::with(content.clone()));
    let file = open(&fake, READ).await;
    assert!(file.read_at(0, 20_000).await.unwrap().unwrap() == content[..20_000]);
    *fake.cut_at.lock().unwrap() = Some(0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let reading = file.read_at(20_000, 20_000);
    let heal = async {
        // The first transfer is found to be dead; the server itself is well.
        while fake.count("abort") == 0 {
            tokio::task::yield_now().await;
        }
        *fake.cut_at.lock().unwrap() = None;
    };
    let (read, ()) = tokio::join!(reading, heal);
    assert!(read.unwrap().unwrap() == content[20_000..40_000]);
    assert_eq!(fake.logged(), ["read 0", "abort", "read 20000"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_grows_is_seen_to_grow() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 2000).await.unwrap().unwrap().len(), 1000);
    assert_eq!(file.size(), Some(1000));
    assert_eq!(file.read_at(1000, 2000).await.unwrap(), None);
    assert_eq!(fake.logged(), ["read 0", "finish"]);
    fake.content.lock().unwrap().extend(bytes(500));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(file.read_at(1000, 2000).await.unwrap().unwrap().len(), 500);
}

#[tokio::test]
async fn far_behind_the_end_is_the_end() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(90_000_000, 2000).await.unwrap(), None);
    assert_eq!(file.read_at(u64::MAX, 2000).await.unwrap(), None);
    assert_eq!(file.read_at(0, 2000).await.unwrap().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_reader_who_has_all_and_closes_lets_the_transfer_finish() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 1000);
    file.close().await.unwrap();
    file.abort().await;
    assert_eq!(fake.logged(), ["read 0", "finish"]);
    let fake = Arc::new(Fake::with(bytes(100_000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 1000);
    file.close().await.unwrap();
    file.abort().await;
    assert_eq!(fake.logged(), ["read 0", "abort"]);
}

#[tokio::test]
async fn a_hole_is_found_at_the_end() {
    for sync in [true, false] {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(Begin::Start)).await;
        file.write_at(0, vec![1; 100].into()).await.unwrap();
        file.write_at(200, vec![1; 100].into()).await.unwrap();
        assert!(file.is_unfinished());
        let end = if sync { file.sync().await } else { file.close().await };
        let failure = end.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported);
        assert!(failure.message.contains("a hole from 100 to 200"), "{failure}");
        assert_eq!(fake.logged(), ["write start", "abort"]);
        // Not even then is it whole.
        assert!(!sync || file.write_at(100, vec![1; 100].into()).await.is_err());
        assert!(!sync || file.close().await.is_err());
    }
}

#[tokio::test]
async fn random_writes_are_refused_and_what_was_begun_is_cut() {
    for (offset, length) in
        [(50, 10), (99, 1), (5_000_000, 10), (u64::MAX - 3, 10), (101, 5_000_000)]
    {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(Begin::Start)).await;
        file.write_at(0, vec![1; 100].into()).await.unwrap();
        let refused = file.write_at(offset, vec![2; length].into()).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        assert!(refused.message.contains("in sequence only"), "{refused}");
        assert!(file.write_at(100, vec![1; 100].into()).await.is_err());
        assert!(file.close().await.is_err());
        assert_eq!(fake.logged(), ["write start", "abort"], "{offset}");
    }
}

#[tokio::test]
async fn bytes_that_are_written_twice_are_refused() {
    for second in [150, 250, 199] {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(Begin::Start)).await;
        file.write_at(200, vec![1; 100].into()).await.unwrap();
        assert!(file.write_at(second, vec![2; 100].into()).await.is_err());
        assert!(file.close().await.is_err());
    }
    // Across where the file is.
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(Begin::Start)).await;
    file.write_at(50, vec![1; 100].into()).await.unwrap();
    assert!(file.write_at(0, vec![2; 60].into()).await.is_err());
    assert!(file.close().await.is_err());
}

#[tokio::test]
async fn the_memory_for_early_writes_is_bounded() {
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(Begin::Start)).await;
    let mut taken = 0_u64;
    // Never the first byte.
    while taken <= 2 * WINDOW {
        if file.write_at(1 + taken, vec![1; 100_000].into()).await.is_err() {
            break;
        }
        taken += 100_000;
    }
    assert!(taken <= WINDOW, "{taken}");
    assert!(taken > WINDOW - 200_000, "{taken}");
}

#[tokio::test]
async fn a_file_that_is_there_is_gone_on_with_at_its_end_only() {
    // 1,000 bytes are there: (offset, what becomes of a write of 10).
    for (offset, ok) in [(1000, true), (1, false), (999, false), (500, false)] {
        let fake = Arc::new(Fake::with(bytes(1000)));
        let file = open(&fake, writing(Begin::Existing)).await;
        assert!(fake.logged().is_empty(), "asked before the first write");
        let written = file.write_at(offset, vec![7; 10].into()).await;
        assert_eq!(written.is_ok(), ok, "{offset}");
        assert!(written.is_ok() || written.unwrap_err().kind == FailureKind::Unsupported);
        // Nothing was begun: nothing is broken.
        file.close().await.unwrap();
        let expected = if ok { [bytes(1000), vec![7; 10]].concat() } else { bytes(1000) };
        assert!(fake.content() == expected);
        assert_eq!(fake.count("write"), usize::from(ok));
    }
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, writing(Begin::Existing)).await;
    file.write_at(1010, vec![7; 10].into()).await.unwrap();
    assert!(file.close().await.is_err(), "a hole");
    assert!(fake.content() == bytes(1000));
}

/// As OpenSSH's scp does: without TRUNC, from 0.
#[tokio::test]
async fn a_file_that_is_written_from_its_begin_is_replaced() {
    let (old, head) = (bytes(1000), vec![7; 300]);
    // (the size that is set, what is written, what the file is then)
    for (size, written, expected) in [
        (None, 300, [&head[..], &old[300..]].concat()),
        (Some(300), 300, head.clone()),
        (Some(500), 300, [&head[..], &old[300..500]].concat()),
        (Some(1000), 300, [&head[..], &old[300..]].concat()),
        (None, 1500, vec![7; 1500]),
        (Some(1500), 1500, vec![7; 1500]),
        (None, 1000, vec![7; 1000]),
    ] {
        for (sync, abort) in [(false, false), (true, false), (false, true), (true, true)] {
            let fake = Arc::new(Fake::with(old.clone()));
            let purpose = Purpose { read: true, write: Some(Begin::Existing) };
            let file = open(&fake, purpose).await;
            let pieces = vec![7; written];
            let first = file.write_at(0, pieces[..100].to_vec().into());
            let last = file.write_at(200, pieces[200..].to_vec().into());
            let between = file.write_at(100, pieces[100..200].to_vec().into());
            for written in [first, last, between] {
                written.await.unwrap();
            }
            assert_eq!(file.size(), Some(written.max(1000) as u64));
            if sync {
                file.sync().await.unwrap();
                // What is there under the name is not what is being written.
                let refused = file.read_at(0, 10).await.unwrap_err();
                assert_eq!(refused.kind, FailureKind::Unsupported);
            }
            if let Some(size) = size {
                file.truncate(size).await.unwrap();
                assert_eq!(file.size(), Some(size));
                let longer = file.truncate(size.max(1500) + 1).await.unwrap_err();
                assert_eq!(longer.kind, FailureKind::Unsupported);
            }
            match abort {
                false => file.close().await.unwrap(),
                true => file.abort().await,
            }
            let there = fake.content();
            let wanted = if abort { &old } else { &expected };
            assert!(there == *wanted, "{size:?} {written} {sync} {abort}: {}", there.len());
            let log = fake.logged();
            let keeps = expected.ends_with(&old[999..]) || size == Some(500);
            assert_eq!(fake.count("old"), usize::from(!abort && keeps), "{log:?}");
        }
    }
}

#[tokio::test]
async fn a_rest_that_is_too_long_leaves_the_old_file() {
    for sync in [false, true] {
        let fake = Arc::new(Fake { most_copied: Some(500), ..Fake::with(bytes(1000)) });
        let file = open(&fake, writing(Begin::Existing)).await;
        file.write_at(0, vec![7; 300].into()).await.unwrap();
        if sync {
            file.sync().await.unwrap();
        }
        assert!(file.close().await.unwrap_err().message.contains("too much"));
        assert!(fake.content() == bytes(1000));
        assert_eq!(fake.count("finish"), 0);
    }
    // Emptied, it has no rest; and it still stays until the end.
    let fake = Arc::new(Fake { most_copied: Some(500), ..Fake::with(bytes(1000)) });
    let file = open(&fake, writing(Begin::Existing)).await;
    file.write_at(0, vec![7; 300].into()).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![8; 20].into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), vec![8; 20]);
    assert_eq!(fake.count("write over"), 2);
}

#[tokio::test]
async fn an_old_file_that_became_shorter_is_not_made_up_for() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, writing(Begin::Existing)).await;
    file.write_at(0, vec![7; 300].into()).await.unwrap();
    fake.old.lock().unwrap().as_mut().unwrap().truncate(900);
    let failure = file.close().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
    assert!(fake.content() == bytes(900));
}

#[tokio::test]
async fn truncation_to_nothing_begins_anew() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, writing(Begin::Existing)).await;
    file.truncate(1000).await.unwrap();
    assert_eq!(file.truncate(500).await.unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(file.truncate(2000).await.unwrap_err().kind, FailureKind::Unsupported);
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![7; 10].into()).await.unwrap();
    file.truncate(10).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![8; 10].into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), vec![8; 10]);
}

#[tokio::test]
async fn appends_go_to_the_end_in_the_order_of_the_calls() {
    let fake = Arc::new(Fake::with(b"old".to_vec()));
    let file = open(&fake, writing(Begin::End)).await;
    let first = file.write_at(0, Bytes::from_static(b"first"));
    let second = file.write_at(77, Bytes::from_static(b"second"));
    // Polled the other way round.
    second.await.unwrap();
    first.await.unwrap();
    file.sync().await.unwrap();
    file.write_at(0, Bytes::from_static(b"third")).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), b"oldfirstsecondthird");
    assert_eq!(fake.logged(), ["write end", "sync", "write end", "finish"]);
}

#[tokio::test]
async fn a_sync_ends_the_transfer_and_the_next_one_goes_on_behind_it() {
    let fake = Arc::new(Fake::with(vec![]));
    let purpose = Purpose { read: true, write: Some(Begin::Start) };
    let file = open(&fake, purpose).await;
    file.write_at(0, vec![1; 10].into()).await.unwrap();
    let refused = file.read_at(0, 10).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unsupported);
    file.sync().await.unwrap();
    assert!(!file.is_unfinished());
    assert_eq!(file.read_at(0, 10).await.unwrap().unwrap(), vec![1; 10]);
    file.write_at(10, vec![2; 10].into()).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(fake.content(), [[1; 10], [2; 10]].concat());
    // Somebody else writes, too.
    fake.content.lock().unwrap().push(3);
    let changed = file.write_at(20, vec![2; 10].into()).await.unwrap_err();
    assert!(changed.message.contains("changed by somebody else"), "{changed}");
    assert!(file.close().await.is_err());
}

#[tokio::test]
async fn the_backends_words_about_a_broken_write_are_told() {
    let fake = Arc::new(Fake { write_fails_at: Some(50), ..Fake::with(vec![]) });
    let file = open(&fake, writing(Begin::Start)).await;
    let failure = file.write_at(0, vec![1; 100].into()).await.unwrap_err();
    assert!(failure.message.contains("552"), "{failure}");
    assert!(file.close().await.unwrap_err().message.contains("552"));
}

#[tokio::test]
async fn an_abort_does_not_wait_for_a_write_that_hangs() {
    for drops in [false, true] {
        let fake = Arc::new(Fake { gate: Some(Semaphore::new(0)), ..Fake::with(vec![]) });
        let file = open(&fake, writing(Begin::Start)).await;
        let hanging = file.write_at(0, vec![1; 100].into());
        if drops {
            drop(file);
        } else {
            file.abort().await;
        }
        assert!(hanging.await.is_err());
        while fake.count("abort") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fake.logged(), ["write start", "abort"]);
    }
}

#[tokio::test]
async fn what_comes_behind_reads_takes_effect_behind_them() {
    let content = bytes(50_000);
    let fake = Arc::new(Fake::with(content.clone()));
    let purpose = Purpose { read: true, write: Some(Begin::Existing) };
    let file = open(&fake, purpose).await;
    let read = file.read_at(0, 50_000);
    let write = file.write_at(50_000, vec![9; 10].into());
    write.await.unwrap();
    assert!(read.await.unwrap().unwrap() == content);
    file.close().await.unwrap();
    assert!(fake.content() == [content, vec![9; 10]].concat());
}

#[tokio::test(start_paused = true)]
async fn readers_far_apart_are_all_served_however_slow_the_backend() {
    let content = bytes(16_000_000);
    let takes = [Duration::from_secs(3), Duration::from_secs(1), Duration::ZERO];
    let fake = Arc::new(Fake { chunk: 200_000, takes, ..Fake::with(content.clone()) });
    let file = open(&fake, READ).await;
    let offsets = [0, 5_000_000, 10_000_000];
    let reads = join_all(offsets.map(|at| file.read_at(at as u64, 800_000)));
    let reads = tokio::time::timeout(Duration::from_secs(600), reads).await;
    for (at, read) in offsets.into_iter().zip(reads.expect("no endless seeking")) {
        assert!(read.unwrap().unwrap() == content[at..at + 800_000]);
    }
    assert!(fake.count("read") <= 4, "{:?}", fake.logged());
    file.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_disturb_the_end_of_a_transfer() {
    let takes = [Duration::ZERO, Duration::ZERO, Duration::from_millis(100)];
    let fake = Arc::new(Fake { takes, ..Fake::with(bytes(1000)) });
    let file = open(&fake, READ).await;
    let first = tokio::spawn(file.read_at(0, 2000));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(file.read_at(1000, 10));
    }
    assert_eq!(first.await.unwrap().unwrap().unwrap().len(), 1000);
    file.close().await.unwrap();
    assert_eq!(fake.logged(), ["read 0", "finish"]);
}

#[tokio::test]
async fn what_a_truncation_throws_away_never_becomes_whole() {
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(Begin::Start)).await;
    file.write_at(0, vec![7; 10].into()).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![8; 5].into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), vec![8; 5]);
    assert_eq!(fake.logged(), ["write start", "abort", "write start", "finish"]);

    let fake = Arc::new(Fake { most_writes: Some(1), ..Fake::with(vec![]) });
    let file = open(&fake, writing(Begin::Start)).await;
    file.write_at(0, vec![7; 10].into()).await.unwrap();
    assert!(file.truncate(0).await.is_err());
    assert!(file.close().await.is_err(), "acknowledged writes are lost");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_seen_long_ago_is_no_size() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 2000).await.unwrap().unwrap().len(), 1000);
    assert_eq!(file.size(), Some(1000));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(file.size(), None);
}

#[tokio::test]
async fn nothing_from_behind_the_end_is_no_size() {
    for exists in [true, false] {
        let content = if exists { bytes(1000) } else { vec![] };
        let fake = Arc::new(Fake { rest_anywhere: true, exists, ..Fake::with(content) });
        let file = open(&fake, READ).await;
        assert_eq!(file.read_at(9_000_000, 2000).await.unwrap(), None);
        assert_eq!(file.size(), exists.then_some(1000));
    }
}

#[test]
fn what_is_passed_over_holds_no_more_than_its_bytes() {
    // The first byte of each chunk stays.
    let mut ahead = Ahead::default();
    for chunk in 0..100_u64 {
        ahead.head.reserve(256 * 1024);
        ahead.head.extend_from_slice(&vec![1; 256 * 1024]);
        let Found::Bytes(read) = ahead.take(chunk * 256 * 1024 + 1, 256 * 1024 - 1, false) else {
            panic!("nothing of chunk {chunk}");
        };
        assert_eq!(read.len(), 256 * 1024 - 1);
    }
    let pieces = ahead.into_pieces();
    assert_eq!(pieces.len(), 100);
    assert!(pieces.iter().sum::<usize>() < 100_000, "{pieces:?}");
    // Every other byte of one chunk stays.
    let mut ahead = Ahead::default();
    ahead.head.extend_from_slice(&vec![1; 256 * 1024]);
    ahead.pass_to(256 * 1024);
    for at in (0..128 * 1024).rev().map(|i| 2 * i + 1) {
        ahead.take(at, 1, false);
    }
    assert!(ahead.into_pieces().len() <= PIECES);
}

#[tokio::test]
async fn early_writes_are_bounded_in_number() {
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(Begin::Start)).await;
    let mut taken = 0;
    while taken < 10_000 && file.write_at(1 + 2 * taken, vec![1].into()).await.is_ok() {
        taken += 1;
    }
    assert_eq!(taken, PIECES as u64);
}

#[tokio::test(start_paused = true)]
async fn an_idle_reader_gives_its_transfer_up_to_others() {
    let content = bytes(100_000);
    let fake = Arc::new(Fake::with(content.clone()));
    let file = open(&fake, READ).await;
    assert!(file.read_at(0, 20_000).await.unwrap().unwrap() == content[..20_000]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.logged(), ["read 0"], "nobody wants it");
    fake.wanted.notify_one();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fake.logged(), ["read 0", "abort"]);
    assert!(file.read_at(20_000, 20_000).await.unwrap().unwrap() == content[20_000..40_000]);
    // One that is read from is not.
    fake.wanted.notify_one();
    for i in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(file.read_at(40_000 + i * 100, 100).await.unwrap().unwrap().len(), 100);
    }
    assert_eq!(fake.logged(), ["read 0", "abort", "read 20000"]);
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_cut_behind_a_sync_is_abandoned() {
    for closes in [false, true] {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(Begin::Start)).await;
        file.write_at(0, vec![1; 10].into()).await.unwrap();
        file.sync().await.unwrap();
        if closes {
            file.close().await.unwrap();
        }
        file.abort().await;
        assert_eq!(fake.count("abandon"), usize::from(!closes), "{:?}", fake.logged());
    }
}

#[tokio::test]
async fn the_memory_for_early_writes_is_one_for_all_files() {
    let budget = Budget::new(100_000);
    let begun = async |fake: &Arc<Fake>| {
        let file = Arc::new(Shared(fake.clone()));
        Sequenced::open(file, writing(Begin::Start), budget.clone()).await.expect("it opens")
    };
    let fakes = [(); 3].map(|()| Arc::new(Fake::with(vec![])));
    let first = begun(&fakes[0]).await;
    first.write_at(10, vec![1; 60_000].into()).await.unwrap();
    let second = begun(&fakes[1]).await;
    let refused = second.write_at(10, vec![2; 60_000].into()).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
    assert!(second.close().await.is_err());
    // What has had its turn is nobody's any more.
    first.write_at(0, vec![1; 10].into()).await.unwrap();
    let third = begun(&fakes[2]).await;
    third.write_at(10, vec![3; 60_000].into()).await.unwrap();
    third.write_at(0, vec![3; 10].into()).await.unwrap();
    for (file, fake) in [(first, &fakes[0]), (third, &fakes[2])] {
        file.close().await.unwrap();
        assert_eq!(fake.content().len(), 60_010);
    }
}
