//! Files and standard output: in order, opened again, full, removed.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use tokio::time::Instant;

use super::super::file::Appender;
use super::super::queue::RECORDS_MAX;
use super::*;

#[tokio::test]
async fn records_are_appended_in_order_and_flushed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (audit, writers, registry) = start(Output::File(path.clone()));
    let names: Vec<_> = (0..1000).map(|index| format!("/{index}")).collect();
    names.iter().for_each(|name| record(&audit, name));
    writers.close().await;
    assert_eq!(paths(&path), names);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o027, 0);
    assert_eq!(metric(&registry, "lockgate_audit_records_total"), 1000.0);
    assert_eq!(metric(&registry, "lockgate_audit_lost_total"), 0.0);
    // The file is not begun anew.
    let (audit, writers, _) = start(Output::File(path.clone()));
    record(&audit, "/last");
    writers.close().await;
    assert_eq!(paths(&path).len(), 1001);
    // What comes later is lost, and counted.
    record(&audit, "/late");
    assert_eq!(paths(&path).len(), 1001);
}

#[tokio::test]
async fn a_renamed_file_is_opened_again_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
    let (audit, writers, _) = start(Output::File(path.clone()));
    record(&audit, "/1");
    until("the first record", || paths(&path) == ["/1"]).await;
    fs::rename(&path, &old).unwrap();
    // logrotate signals after it has renamed: what comes between belongs to the old file.
    record(&audit, "/2");
    until("the second record", || paths(&old) == ["/1", "/2"]).await;
    assert!(!path.exists());
    assert!(writers.reopen());
    until("the new file", || path.exists()).await;
    record(&audit, "/3");
    writers.close().await;
    assert_eq!((paths(&old), paths(&path)), (vec!["/1".into(), "/2".into()], vec!["/3".into()]));
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_again_stays_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("log");
    fs::create_dir(&inner).unwrap();
    let (audit, writers, _) = start(Output::File(inner.join("a")));
    let moved = folder.path().join("moved");
    fs::rename(&inner, &moved).unwrap();
    writers.reopen();
    record(&audit, "/1");
    writers.close().await;
    assert_eq!(paths(&moved.join("a")), ["/1"]);
}

#[tokio::test]
async fn records_wait_while_the_folder_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("log");
    let path = inner.join("audit.jsonl");
    fs::create_dir(&inner).unwrap();
    let (audit, writers, registry) = start(Output::File(path.clone()));
    record(&audit, "/before");
    until("the first record", || !paths(&path).is_empty()).await;
    assert!(audit.admits().is_ok());
    fs::remove_dir_all(&inner).unwrap();
    record(&audit, "/1");
    until("the refusal", || audit.admits().is_err()).await;
    let failure = audit.admits().unwrap_err();
    assert!(failure.detail.unwrap().contains("audit.when_unavailable: refuse"));
    assert_eq!(metric(&registry, "lockgate_audit_unavailable"), 1.0);
    record(&audit, "/2");
    fs::create_dir(&inner).unwrap();
    until("both records", || path.exists() && paths(&path).len() == 2).await;
    until("the admission", || audit.admits().is_ok()).await;
    assert_eq!(metric(&registry, "lockgate_audit_unavailable"), 0.0);
    writers.close().await;
    assert_eq!(paths(&path), ["/1", "/2"]);
}

/// A full queue blocks nothing, and the end does not wait for ever.
#[tokio::test]
async fn what_does_not_fit_is_lost_and_counted() {
    let registry = Registry::new();
    let full = || settings(Output::File("/dev/full".into()));
    let serving = Settings { when_unavailable: WhenUnavailable::Serve, ..full() };
    let (audit, writers) = Audit::start(vec![serving], &registry).unwrap();
    let started = Instant::now();
    for index in 0..RECORDS_MAX + 1000 {
        record(&audit, &format!("/{index}"));
        if index % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    let lost = metric(&registry, "lockgate_audit_lost_total");
    assert!((1.0..=1000.0).contains(&lost), "{lost}");
    assert!(audit.admits().is_ok());
    let started = Instant::now();
    writers.close().await;
    assert!(started.elapsed() < Duration::from_secs(8));
    assert_eq!(metric(&registry, "lockgate_audit_lost_total"), (RECORDS_MAX + 1000) as f64);
    assert_eq!(metric(&registry, "lockgate_audit_records_total"), 0.0);
    // The process that has taken over counts them, too, once.
    let folder = tempfile::tempdir().unwrap();
    let (next, _writers, registry) = start(Output::File(folder.path().join("audit.jsonl")));
    next.learn(audit.take_lost());
    next.learn(audit.take_lost());
    assert_eq!(metric(&registry, "lockgate_audit_lost_total"), (RECORDS_MAX + 1000) as f64);
    assert!(next.take_lost().is_empty());
}

#[tokio::test]
async fn a_queue_that_is_half_full_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let (audit, writers, _) = start(Output::File(folder.path().join("a")));
    // The writer runs only when this test waits.
    for index in 0..RECORDS_MAX * 2 / 3 {
        record(&audit, &format!("/{index}"));
    }
    assert!(audit.admits().is_err());
    until("the admission", || audit.admits().is_ok()).await;
    writers.close().await;
    assert_eq!(paths(&folder.path().join("a")).len(), RECORDS_MAX * 2 / 3);
}

#[tokio::test]
async fn several_outputs_get_their_own_format() {
    let folder = tempfile::tempdir().unwrap();
    let [json, xferlog] = ["json", "xferlog"].map(|name| folder.path().join(name));
    let lines = Settings { format: Format::Xferlog, ..settings(Output::File(xferlog.clone())) };
    let all = vec![settings(Output::File(json.clone())), lines];
    let (audit, writers) = Audit::start(all, &Registry::new()).unwrap();
    record(&audit, "/a b");
    let event = Event::new(subject(b"alice"), What::Login, "ok", None);
    audit.record(&event);
    writers.close().await;
    assert_eq!(fs::read_to_string(&json).unwrap().lines().count(), 2);
    let lines = fs::read_to_string(&xferlog).unwrap();
    assert!(lines.ends_with(" 0 192.0.2.9 5 /a_b b _ i r alice ftp 0 * c\n"), "{lines}");
    assert_eq!(lines.lines().count(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    let output = Output::File("/nonexistent/audit.jsonl".into());
    let error = Audit::start(vec![settings(output)], &Registry::new()).err().unwrap().to_string();
    assert!(error.contains("the audit file /nonexistent/audit.jsonl cannot be opened"), "{error}");
}

/// A named pipe takes what fits, and so tears a line.
#[tokio::test]
async fn a_torn_line_does_not_damage_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let open = || fs::File::options().read(true).write(true).open(&path).unwrap();
    let (mut reader, writer) = (open(), open());
    // A write fails when the pipe is full.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut appender = Appender { path: None, file: Some(writer), torn: false };
    let line = format!("{}\n", "x".repeat(1000));
    let lines = line.repeat(100);
    let (written, outcome) = appender.append(lines.as_bytes());
    assert!(outcome.is_err() && written > 0 && written < lines.len() && written % line.len() == 0);
    let mut received = vec![0; 65536];
    let count = reader.read(&mut received).unwrap();
    assert_ne!(count, written, "the pipe tore no line");
    let (again, outcome) = appender.append(line.as_bytes());
    assert_eq!((again, outcome.is_ok()), (line.len(), true));
    let rest = reader.read(&mut received).unwrap();
    let expected = format!("\n{line}");
    assert_eq!(str::from_utf8(&received[..rest]).unwrap(), expected);
}

#[tokio::test]
async fn a_folder_without_permission_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("closed/a");
    fs::create_dir(folder.path().join("closed")).unwrap();
    fs::set_permissions(folder.path().join("closed"), Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let error = Audit::start(vec![settings(Output::File(path))], &Registry::new()).err().unwrap();
    assert!(error.to_string().contains("Permission denied"), "{error}");
}
