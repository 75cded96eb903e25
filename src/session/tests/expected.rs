//! What is a file that has arrived, for `expect`.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::*;
use crate::expected::{Expectation, ExpectedFiles, Schedule};
use crate::policy::{PathPattern, PathPatterns, Protocol, SessionConditions, SessionFacts};
use crate::session::session_info::Established;

const WRITE: OpenMode = OpenMode { read: false, write: true, create: true, ..READ };

/// A session on a folder with the files `old` and `in/old`, and an entry for what arrives in `/in`, today.
async fn expecting() -> (TempDir, Arc<Session>, Arc<ExpectedFiles>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("old"), "content").unwrap();
    std::fs::write(folder.path().join("in/old"), "content").unwrap();
    let (session, _) = session_on(folder.path(), "/", Vec::new()).await;
    let files = Arc::<ExpectedFiles>::default();
    let days = Weekday::Monday.cycle_forward().take(7).collect();
    let expectation = Expectation {
        name: "orders".into(),
        matches: SessionConditions::default(),
        paths: PathPatterns::new(vec![PathPattern::new("/in/*").unwrap()]).unwrap(),
        counts: String::new(),
        at_least: 1,
        schedule: Schedule { from: 0, by: 24 * 60, days, zone: TimeZone::UTC },
    };
    files.put_in_force(vec![expectation], Timestamp::now());
    let facts = SessionFacts {
        user: b"u".to_vec(),
        groups: Vec::new(),
        listener: "test".into(),
        backend: "local".into(),
        protocol: Protocol::Sftp,
        encrypted: true,
        source: "127.0.0.1".parse().unwrap(),
    };
    let of_session = files.of_session(facts, Names::Exact);
    let established =
        Established { groups: Vec::new(), peer: None, files: Some(of_session), resume_note: None };
    assert!(session.core.info.established.set(established).is_ok());
    (folder, session, files)
}

fn arrived(files: &ExpectedFiles) -> usize {
    files.views(Timestamp::now())[0].arrived
}

#[tokio::test]
async fn files_that_were_written_or_created_have_arrived_once_they_are_closed() {
    let (_folder, session, files) = expecting().await;
    let written = session.open(path("/in/a"), WRITE).await.unwrap();
    written.write_at(0, "content".into()).await.unwrap();
    assert_eq!(arrived(&files), 0);
    written.close().await.unwrap();
    assert_eq!(arrived(&files), 1);
    // Empty, as a marker is.
    let exclusive = OpenMode { exclusive: true, ..WRITE };
    session.open(path("/in/b"), exclusive).await.unwrap().close().await.unwrap();
    let truncated = OpenMode { truncate: true, ..WRITE };
    session.open(path("/in/c"), truncated).await.unwrap().close().await.unwrap();
    assert_eq!(arrived(&files), 3);
    // Closed as it was, read, and aborted.
    session.open(path("/in/old"), WRITE).await.unwrap().close().await.unwrap();
    session.open(path("/in/old"), READ).await.unwrap().close().await.unwrap();
    let cut = session.open(path("/in/d"), truncated).await.unwrap();
    cut.write_at(0, "con".into()).await.unwrap();
    let failure = Failure::new(FailureKind::Aborted, Fault::Client, "gone");
    cut.abort(&failure).await;
    let lost = session.open(path("/in/e"), truncated).await.unwrap();
    lost.write_at(0, "con".into()).await.unwrap();
    drop(lost);
    assert_eq!(arrived(&files), 3);
    // A copy within the server ends with the CLOSE, too.
    let (from, to) = (
        session.open(path("/old"), READ).await.unwrap(),
        session.open(path("/in/copy"), truncated).await.unwrap(),
    );
    from.copy_data(0, 0, &to, 0).await.unwrap();
    to.close().await.unwrap();
    assert_eq!(arrived(&files), 4);
}

#[tokio::test]
async fn uploads_renames_and_links_arrive_where_they_lead() {
    let (_folder, session, files) = expecting().await;
    let image = Representation::Image;
    let stored = |name: &'static str, mode| {
        let session = session.clone();
        async move { session.write(path(name), mode, image).await.unwrap().finish().await }
    };
    stored("/in/a", WriteMode::From { offset: 0 }).await.unwrap();
    stored("/in", WriteMode::Unique).await.unwrap();
    assert_eq!(arrived(&files), 2);
    stored("/in/old", WriteMode::Append).await.unwrap();
    stored("/elsewhere", WriteMode::From { offset: 0 }).await.unwrap();
    assert_eq!(arrived(&files), 2);
    let perform = |operation| session.perform(operation);
    let rename =
        |from, to| Operation::Rename { from: path(from), to: path(to), onto: Onto::AsBackend };
    perform(rename("/missing", "/in/b")).await.unwrap_err();
    perform(rename("/in/old", "/in/other")).await.unwrap();
    perform(rename("/in/a", "/done")).await.unwrap();
    assert_eq!(arrived(&files), 2);
    perform(rename("/elsewhere", "/in/b")).await.unwrap();
    assert_eq!(arrived(&files), 3);
    perform(Operation::HardLink { from: path("/old"), to: path("/in/c") }).await.unwrap();
    perform(Operation::Symlink { target: b"../old".to_vec(), link: path("/in/d") }).await.unwrap();
    perform(Operation::MakeDirectory { path: path("/in/e"), permissions: None }).await.unwrap();
    assert_eq!(arrived(&files), 4);
}
