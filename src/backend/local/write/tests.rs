//! Tests of uploads.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::testing::{Sandbox, feed, from, wait_until};
use super::*;

const ALL: [PartialUploads; 3] =
    [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName];

#[tokio::test]
async fn a_finished_upload_is_whole_in_every_mode() {
    for partial in ALL {
        let sandbox = Sandbox::with(partial);
        let content = vec![b'x'; 3 * BLOCK_SIZE + 1];
        for content in [&content[..], b"short", b""] {
            let transfer = sandbox.start_upload("file", from(0), content).await;
            assert_eq!(transfer.path().as_bytes(), b"/file");
            transfer.finish().await.unwrap();
            assert_eq!(sandbox.get("file").unwrap(), content, "{partial:?}");
            assert_eq!(sandbox.names(), ["file"], "{partial:?}");
        }
    }
}

#[tokio::test]
async fn an_aborted_upload_ends_as_configured() {
    for partial in ALL {
        for dropped in [false, true] {
            let sandbox = Sandbox::with(partial);
            let transfer = sandbox.start_upload("file", from(0), b"part").await;
            if dropped {
                drop(transfer);
            } else {
                drop(transfer.abort().await);
            }
            match partial {
                PartialUploads::Keep => {
                    wait_until(|| sandbox.get("file").unwrap() == b"part").await;
                }
                PartialUploads::Delete if dropped => {
                    wait_until(|| sandbox.names().is_empty()).await;
                }
                PartialUploads::Delete => assert!(sandbox.names().is_empty()),
                PartialUploads::TemporaryName => {
                    let [name] = &sandbox.names()[..] else { panic!("{:?}", sandbox.names()) };
                    assert!(name.starts_with(".lockgate-") && name.ends_with(".part"));
                    wait_until(|| sandbox.get(name).unwrap() == b"part").await;
                }
            }
        }
    }
}

#[tokio::test]
async fn with_a_temporary_name_the_old_file_stays_until_finish() {
    let sandbox = Sandbox::with(PartialUploads::TemporaryName);
    sandbox.put("file", "old");
    let mode = std::fs::Permissions::from_mode(0o604);
    std::fs::set_permissions(sandbox.host("file"), mode).unwrap();
    symlink("file", sandbox.host("link")).unwrap();
    let transfer = sandbox.start_upload("link", from(0), b"new").await;
    assert_eq!(sandbox.get("file").unwrap(), b"old");
    transfer.finish().await.unwrap();
    assert_eq!(sandbox.get("file").unwrap(), b"new");
    assert_eq!(sandbox.names(), ["file", "link"]);
    assert!(sandbox.host("link").is_symlink());
    let mode = sandbox.host("file").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o604);
}

#[tokio::test]
async fn resumed_uploads_write_in_place_and_are_never_deleted() {
    for partial in ALL {
        let sandbox = Sandbox::with(partial);
        for (mode, whole) in [(from(3), &b"012new"[..]), (WriteMode::Append, b"01234new")] {
            sandbox.put("file", "01234");
            sandbox.start_upload("file", mode, b"new").await.finish().await.unwrap();
            assert_eq!(sandbox.get("file").unwrap(), whole);
            sandbox.put("file", "01234");
            sandbox.start_upload("file", mode, b"new").await.abort().await;
            assert_eq!(sandbox.get("file").unwrap(), whole);
            assert_eq!(sandbox.names(), ["file"]);
        }
    }
}

#[tokio::test]
async fn a_resume_past_the_end_or_in_type_a_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.put("file", "01234");
    let kind = async |name, offset, representation| {
        let opened = sandbox.open_write(name, from(offset), representation).await;
        opened.err().unwrap().kind
    };
    let (image, ascii) = (Representation::Image, Representation::Ascii);
    assert_eq!(kind("file", 6, image).await, FailureKind::InvalidArgument);
    assert_eq!(kind("missing", 1, image).await, FailureKind::NotFound);
    assert_eq!(kind("file", 1, ascii).await, FailureKind::Unsupported);
    assert_eq!(sandbox.get("file").unwrap(), b"01234");
    assert_eq!(sandbox.names(), ["file"]);
}

#[tokio::test]
async fn each_unique_upload_reports_its_own_name() {
    for partial in ALL {
        let sandbox = Sandbox::with(partial);
        let one = sandbox.start_upload("/", WriteMode::Unique, b"one").await;
        let two = sandbox.start_upload("/", WriteMode::Unique, b"two").await;
        let name = one.path().to_string();
        assert_ne!(&name, &two.path().to_string());
        let looks_whole = || sandbox.names().iter().filter(|n| n.starts_with("upload-")).count();
        let whole = if partial == PartialUploads::TemporaryName { 0 } else { 2 };
        assert_eq!(looks_whole(), whole, "{partial:?}");
        one.finish().await.unwrap();
        assert_eq!(sandbox.get(&name[1..]).unwrap(), b"one");
        two.abort().await;
        let left = if partial == PartialUploads::Delete { 1 } else { 2 };
        assert_eq!(sandbox.names().len(), left);
        let whole = if partial == PartialUploads::Keep { 2 } else { 1 };
        assert_eq!(looks_whole(), whole, "{partial:?}");
    }
}

#[tokio::test]
async fn a_unique_upload_does_not_replace_a_file_that_took_its_name() {
    let sandbox = Sandbox::with(PartialUploads::TemporaryName);
    let transfer = sandbox.start_upload("/", WriteMode::Unique, b"one").await;
    let name = transfer.path().to_string();
    sandbox.put(&name[1..], "other");
    assert_eq!(transfer.finish().await.unwrap_err().kind, FailureKind::AlreadyExists);
    assert_eq!(sandbox.get(&name[1..]).unwrap(), b"other");
}

#[tokio::test]
async fn an_empty_aborted_upload_leaves_no_temporary_file() {
    let sandbox = Sandbox::with(PartialUploads::TemporaryName);
    for mode in [from(0), WriteMode::Unique] {
        let name = if mode == WriteMode::Unique { "/" } else { "file" };
        let open = || sandbox.open_write(name, mode, Representation::Image);
        open().await.unwrap().abort().await;
        assert!(sandbox.names().is_empty());
    }
}

#[tokio::test]
async fn text_is_stored_with_lf() {
    let sandbox = Sandbox::new();
    let mut transfer = sandbox.open_write("text", from(0), Representation::Ascii).await.unwrap();
    for piece in [&b"a\r\nb\r"[..], b"\nc\rd\r"] {
        feed(&mut *transfer, piece).await;
    }
    transfer.finish().await.unwrap();
    assert_eq!(sandbox.get("text").unwrap(), b"a\nb\nc\rd\r");
}

#[tokio::test]
async fn an_older_file_stays_unchanged_until_the_first_byte() {
    for partial in ALL {
        for (mode, truncated) in
            [(from(0), &b""[..]), (from(3), b"012"), (WriteMode::Append, b"01234")]
        {
            for dropped in [false, true] {
                let sandbox = Sandbox::with(partial);
                sandbox.put("file", "01234");
                let open = || sandbox.open_write("file", mode, Representation::Image);
                let transfer = open().await.unwrap();
                if dropped {
                    drop(transfer);
                } else {
                    drop(transfer.abort().await);
                }
                assert_eq!(sandbox.get("file").unwrap(), b"01234", "{partial:?} {mode:?}");
                // An upload without a byte is complete, too.
                open().await.unwrap().finish().await.unwrap();
                assert_eq!(sandbox.get("file").unwrap(), truncated, "{partial:?} {mode:?}");
            }
        }
    }
}

/// The client reconnected before the end of the first upload was noticed.
#[tokio::test]
async fn a_partial_file_that_another_upload_has_started_again_is_not_deleted() {
    for (mode, left) in [(from(0), &b"whole"[..]), (WriteMode::Append, b"partwhole")] {
        let sandbox = Sandbox::with(PartialUploads::Delete);
        let first = sandbox.start_upload("file", from(0), b"part").await;
        wait_until(|| sandbox.get("file").unwrap() == b"part").await;
        sandbox.start_upload("file", mode, b"whole").await.finish().await.unwrap();
        first.abort().await;
        assert_eq!(sandbox.get("file").unwrap(), left);
        // The next upload deletes its own partial file again.
        sandbox.start_upload("file", from(0), b"part").await.abort().await;
        assert!(sandbox.names().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_replaced_the_partial_file_is_not_deleted() {
    let sandbox = Sandbox::with(PartialUploads::Delete);
    let transfer = sandbox.start_upload("file", from(0), b"part").await;
    sandbox.put("other", "whole");
    std::fs::rename(sandbox.host("other"), sandbox.host("file")).unwrap();
    transfer.abort().await;
    assert_eq!(sandbox.get("file").unwrap(), b"whole");
}

#[tokio::test]
async fn finish_reports_a_full_disk() {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for representation in [Representation::Image, Representation::Ascii] {
        let opened = Opened {
            file: file.try_clone().unwrap(),
            path: RemotePath::root(),
            ending: Ending::Keep,
            truncation: None,
        };
        let mut transfer = Box::new(opened.into_transfer(BlockingPool::new(), representation));
        feed(&mut *transfer, b"text").await;
        let failure = transfer.finish().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoSpace);
        assert_eq!(failure.message, "cannot write /: no space left on the device");
    }
}

#[tokio::test]
async fn a_failed_rename_is_reported() {
    let sandbox = Sandbox::with(PartialUploads::TemporaryName);
    let transfer = sandbox.start_upload("file", from(0), b"new").await;
    std::fs::create_dir(sandbox.host("file")).unwrap();
    let failure = transfer.finish().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::IsADirectory);
    let expected = "cannot rename the finished upload to /file: it is a directory";
    assert_eq!(failure.message, expected);
}
