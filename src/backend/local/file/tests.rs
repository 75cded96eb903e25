//! Tests of open files.

use std::time::Duration;

use proptest::prelude::*;

use super::super::partial::Ending;
use super::super::read::BLOCK_SIZE;
use super::super::testing::{BOTH, EXCLUSIVE, READ, Sandbox, UPLOAD, WRITE, wait_until};
use futures_util::future::BoxFuture;

use super::*;

const ALL: [PartialUploads; 3] =
    [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName];

const APPEND: OpenMode = OpenMode { append: true, create: true, ..BOTH };

fn bytes(data: &'static [u8]) -> Bytes {
    Bytes::from_static(data)
}

async fn write(file: &Arc<dyn OpenFile>, offset: u64, data: &'static [u8]) {
    file.write_at(offset, bytes(data)).await.unwrap();
}

#[tokio::test]
async fn requests_take_effect_in_the_order_of_the_calls_not_of_the_polls() {
    let sandbox = Sandbox::new();
    let file = sandbox.open("file", OpenMode { create: true, ..BOTH }).await.unwrap();
    let one = file.write_at(0, bytes(b"one"));
    let read_one = file.read_at(0, 10);
    let two = file.write_at(1, bytes(b"two"));
    let read_two = file.read_at(0, 10);
    drop(file.write_at(4, bytes(b"!")));
    assert_eq!(read_two.await.unwrap().unwrap(), &b"otwo"[..]);
    assert_eq!(read_one.await.unwrap().unwrap(), &b"one"[..]);
    for write in [two, one] {
        write.await.unwrap();
    }
    // The dropped write was done, too.
    assert_eq!(file.read_at(0, 10).await.unwrap().unwrap(), &b"otwo!"[..]);
}

#[tokio::test]
async fn reads_return_none_past_the_end() {
    let sandbox = Sandbox::new();
    sandbox.put("file", vec![7; 600_000]);
    let file = sandbox.open("file", READ).await.unwrap();
    assert_eq!(file.read_at(599_999, 32_768).await.unwrap().unwrap(), &[7][..]);
    for offset in [600_000, 600_001, i64::MAX as u64 - 40_000] {
        assert_eq!(file.read_at(offset, 32_768).await.unwrap(), None);
    }
    assert_eq!(file.read_at(0, 0).await.unwrap().unwrap(), &b""[..]);
    // However much is requested, memory is bounded.
    assert_eq!(file.read_at(0, u32::MAX).await.unwrap().unwrap().len(), BLOCK_SIZE);
    let refused = file.read_at(u64::MAX, 1).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::InvalidArgument);
}

#[tokio::test]
async fn requests_that_the_open_mode_does_not_allow_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.put("file", "old");
    let file = sandbox.open("file", READ).await.unwrap();
    let refused = file.write_at(0, bytes(b"x")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::PermissionDenied);
    assert_eq!(refused.message, "cannot write /file: it is not open for writing");
    // A refusal does not count as a failed write.
    file.close().await.unwrap();
    let file = sandbox.open("file", WRITE).await.unwrap();
    let refused = file.read_at(0, 1).await.unwrap_err();
    assert_eq!(refused.message, "cannot read /file: it is not open for reading");
    assert_eq!(sandbox.get("file").unwrap(), b"old");
}

#[tokio::test]
async fn appended_writes_go_to_the_end_whatever_their_offset() {
    let sandbox = Sandbox::new();
    sandbox.put("file", "0");
    let file = sandbox.open("file", APPEND).await.unwrap();
    let writes = [(0, b"1"), (9, b"2"), (1, b"3")].map(|(at, data)| file.write_at(at, bytes(data)));
    for write in writes {
        write.await.unwrap();
    }
    sandbox.put("file", "0123-");
    write(&file, 0, b"4").await;
    assert_eq!(file.read_at(0, 10).await.unwrap().unwrap(), &b"0123-4"[..]);
    file.close().await.unwrap();
    assert_eq!(sandbox.get("file").unwrap(), b"0123-4");
}

#[tokio::test]
async fn a_gap_reads_as_zeros() {
    let sandbox = Sandbox::new();
    let file = sandbox.open("file", OpenMode { read: true, ..UPLOAD }).await.unwrap();
    write(&file, 5, b"end").await;
    write(&file, 1, b"a").await;
    assert_eq!(file.read_at(0, 100).await.unwrap().unwrap(), &b"\0a\0\0\0end"[..]);
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(8));
}

#[tokio::test]
async fn stat_and_size_changes_keep_their_order_among_writes() {
    let sandbox = Sandbox::new();
    let file = sandbox.open("file", UPLOAD).await.unwrap();
    let written = file.write_at(0, bytes(b"0123"));
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(4));
    let truncation = Changes { size: Some(1), ..Changes::default() };
    file.set_attributes(&truncation).await.unwrap();
    written.await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(sandbox.get("file").unwrap(), b"0");
}

#[tokio::test]
async fn a_closed_file_is_whole_in_every_mode() {
    for partial in ALL {
        for mode in [UPLOAD, EXCLUSIVE] {
            let sandbox = Sandbox::with(partial);
            let file = sandbox.open("file", mode).await.unwrap();
            // Nothing waits for them, but close comes after them.
            drop(file.write_at(3, bytes(b"le")));
            drop(file.write_at(0, bytes(b"who")));
            file.close().await.unwrap();
            drop(file);
            assert_eq!(sandbox.get("file").unwrap(), b"whole", "{partial:?}");
            assert_eq!(sandbox.names(), ["file"], "{partial:?}");
        }
    }
}

#[tokio::test]
async fn an_aborted_upload_ends_as_configured() {
    for partial in ALL {
        for (mode, dropped) in
            [(UPLOAD, false), (UPLOAD, true), (EXCLUSIVE, false), (EXCLUSIVE, true)]
        {
            let sandbox = Sandbox::with(partial);
            let file = sandbox.open("file", mode).await.unwrap();
            drop(file.write_at(0, bytes(b"part")));
            if !dropped {
                file.abort().await;
            }
            drop(file);
            match (partial, mode.exclusive) {
                (PartialUploads::Delete, _) if dropped => {
                    wait_until(|| sandbox.names().is_empty()).await;
                }
                (PartialUploads::Delete, _) => assert!(sandbox.names().is_empty()),
                (PartialUploads::Keep, _) | (PartialUploads::TemporaryName, true) => {
                    wait_until(|| sandbox.get("file").unwrap() == b"part").await;
                }
                (PartialUploads::TemporaryName, false) => {
                    let [name] = &sandbox.names()[..] else { panic!("{:?}", sandbox.names()) };
                    assert!(name.starts_with(".lockgate-") && name.ends_with(".part"));
                    wait_until(|| sandbox.get(name).unwrap() == b"part").await;
                }
            }
        }
    }
}

#[tokio::test]
async fn continued_files_are_never_deleted() {
    for partial in ALL {
        for mode in [WRITE, BOTH, APPEND, OpenMode { create: true, ..WRITE }] {
            let sandbox = Sandbox::with(partial);
            sandbox.put("file", "0");
            let file = sandbox.open("file", mode).await.unwrap();
            write(&file, 1, b"1").await;
            file.abort().await;
            assert_eq!(sandbox.get("file").unwrap(), b"01", "{partial:?} {mode:?}");
            assert_eq!(sandbox.names(), ["file"]);
        }
    }
}

#[tokio::test]
async fn with_a_temporary_name_the_old_file_stays_until_close() {
    let sandbox = Sandbox::with(PartialUploads::TemporaryName);
    sandbox.put("file", "old");
    let file = sandbox.open("file", OpenMode { read: true, ..UPLOAD }).await.unwrap();
    write(&file, 0, b"new").await;
    assert_eq!(file.read_at(0, 10).await.unwrap().unwrap(), &b"new"[..]);
    assert_eq!(file.stat().await.unwrap().name, b"file");
    assert_eq!(sandbox.get("file").unwrap(), b"old");
    file.close().await.unwrap();
    assert_eq!(sandbox.get("file").unwrap(), b"new");
    assert_eq!(sandbox.names(), ["file"]);
}

#[tokio::test]
async fn requests_on_a_closed_file_fail() {
    let sandbox = Sandbox::new();
    let file = sandbox.open("file", OpenMode { create: true, ..BOTH }).await.unwrap();
    file.close().await.unwrap();
    let closed = FailureKind::InvalidArgument;
    assert_eq!(file.read_at(0, 1).await.unwrap_err().kind, closed);
    assert_eq!(file.write_at(0, bytes(b"x")).await.unwrap_err().kind, closed);
    assert_eq!(file.stat().await.unwrap_err().kind, closed);
    assert_eq!(file.close().await.unwrap_err().kind, closed);
    assert_eq!(file.copy_data(0, 0, &file, 9).await.unwrap_err().kind, closed);
    file.abort().await;
    assert_eq!(sandbox.get("file").unwrap(), b"");
}

#[tokio::test]
async fn after_a_failed_write_close_fails_and_the_upload_is_aborted() {
    for partial in ALL {
        let sandbox = Sandbox::with(partial);
        let file = sandbox.open("file", UPLOAD).await.unwrap();
        write(&file, 0, b"part").await;
        let failure = file.write_at(u64::MAX, bytes(b"x")).await.unwrap_err();
        let closed = file.close().await.unwrap_err();
        assert_eq!((closed.kind, closed.message), (failure.kind, failure.message));
        match partial {
            PartialUploads::Keep => assert_eq!(sandbox.get("file").unwrap(), b"part"),
            PartialUploads::Delete => assert!(sandbox.names().is_empty()),
            PartialUploads::TemporaryName => assert!(sandbox.get("file").is_none()),
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_by_the_write_and_by_close() {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let path = RemotePath::root();
    let file = LocalFile::new(&BlockingPool::new(), path, WRITE, file, Ending::Keep);
    for outcome in [file.write_at(0, bytes(b"x")).await, file.close().await] {
        let failure = outcome.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoSpace);
        assert_eq!(failure.message, "cannot write /: no space left on the device");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { at: usize, data: Vec<u8> },
    Read { at: usize, length: usize },
    Resize(usize),
    Stat,
}

fn step() -> impl Strategy<Value = Step> {
    let data = proptest::collection::vec(any::<u8>(), 1..200);
    prop_oneof![
        4 => (0..1000usize, data).prop_map(|(at, data)| Step::Write { at, data }),
        4 => (0..1200usize, 1..400usize).prop_map(|(at, length)| Step::Read { at, length }),
        1 => (0..1200usize).prop_map(Step::Resize),
        1 => Just(Step::Stat),
    ]
}

/// The result of each step, and the file's final content.
fn model(steps: &[Step], append: bool) -> (Vec<Option<Vec<u8>>>, Vec<u8>) {
    let mut file: Vec<u8> = Vec::new();
    let answers = steps.iter().map(|step| match step {
        Step::Write { at, data } => {
            let at = if append { file.len() } else { *at };
            file.resize(file.len().max(at + data.len()), 0);
            file[at..at + data.len()].copy_from_slice(data);
            None
        }
        Step::Read { at, length } => {
            let end = file.len().min(at + length);
            (*at < end).then(|| file[*at..end].to_vec())
        }
        Step::Resize(size) => {
            file.resize(*size, 0);
            None
        }
        Step::Stat => Some(file.len().to_string().into_bytes()),
    });
    let answers = answers.collect();
    (answers, file)
}

/// All requests at once, polled from the last to the first.
async fn all_at_once(file: &Arc<dyn OpenFile>, steps: &[Step]) -> Vec<Option<Vec<u8>>> {
    let mut answers = Vec::new();
    let mut in_flight: Vec<BoxFuture<'_, Option<Vec<u8>>>> = Vec::new();
    for step in steps {
        let answer: BoxFuture<'_, _> = match step {
            Step::Write { at, data } => {
                let writing = file.write_at(*at as u64, data.clone().into());
                Box::pin(async { writing.await.map(|()| None).unwrap() })
            }
            Step::Read { at, length } => {
                let reading = file.read_at(*at as u64, *length as u32);
                Box::pin(async { reading.await.unwrap().map(|read| read.to_vec()) })
            }
            // These two are requested with the first poll.
            Step::Resize(size) => {
                let changes = Changes { size: Some(*size as u64), ..Changes::default() };
                file.set_attributes(&changes).await.unwrap();
                Box::pin(async { None })
            }
            Step::Stat => {
                let size = file.stat().await.unwrap().attributes.size.unwrap();
                Box::pin(async move { Some(size.to_string().into_bytes()) })
            }
        };
        in_flight.push(answer);
    }
    while let Some(last) = in_flight.pop() {
        answers.push(last.await);
    }
    answers.reverse();
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_open_file_behaves_as_a_file_in_memory(steps in proptest::collection::vec(step(), 1..80), append: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let sandbox = Sandbox::new();
        let (expected, content) = model(&steps, append);
        let answers = runtime.block_on(async {
            let mode = OpenMode { create: true, append, ..BOTH };
            let file = sandbox.open("file", mode).await.unwrap();
            let answers =
                tokio::time::timeout(Duration::from_secs(30), all_at_once(&file, &steps)).await;
            file.close().await.unwrap();
            answers.unwrap()
        });
        prop_assert_eq!(answers, expected);
        prop_assert_eq!(sandbox.get("file").unwrap(), content);
    }
}
