use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use async_trait::async_trait;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::calls::Calls;
use super::errno::{failed, refused};
use super::partial::{Ending, Leftover, Temporary, open_for_writing, random_name};
use super::place::{open_file, relative};
use super::read::BLOCK;
use crate::backend::{PartialUploads, WriteTransfer};
use crate::data::{FromCrlf, Sink};
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation, WriteMode};

/// How often a name for `Unique` is drawn; one draw has 128 random bits.
const DRAWS: usize = 3;

pub(super) async fn open(
    calls: &Calls,
    root: Arc<Dir>,
    path: RemotePath,
    mode: WriteMode,
    representation: Representation,
    partial: PartialUploads,
) -> Result<LocalWrite, Failure> {
    if let (WriteMode::From { offset: 1.. }, Representation::Ascii) = (mode, representation) {
        let reason = "the offset in TYPE A is not that in the file; use TYPE I";
        let what = format_args!("continue {path}");
        return Err(refused(FailureKind::Unsupported, what, reason));
    }
    let opened = calls
        .run(move || match mode {
            WriteMode::From { offset: 0 } => replace(root, path, partial),
            WriteMode::From { offset } => continue_at(&root, path, offset),
            WriteMode::Append => append(&root, path),
            WriteMode::Unique => unique(root, &path, partial),
        })
        .await?;
    Ok(opened.into_transfer(calls.clone(), representation))
}

struct Opened {
    file: std::fs::File,
    path: RemotePath,
    ending: Ending,
    replaced: Option<Replaced>,
}

/// An older file that is to be cut off when the first byte comes; untouched till then.
struct Replaced {
    file: std::fs::File,
    /// Bytes of it that stay.
    length: u64,
    what: String,
    /// From then on it is the upload's, to be deleted when that is cut.
    delete: Option<(Arc<Dir>, Metadata)>,
}

impl Replaced {
    /// Blocks.
    fn cut_off(self, path: &RemotePath) -> Result<Ending, Failure> {
        let Self { file, length, what, delete } = self;
        // Not by O_TRUNC: only when it is open it is sure to be a regular file.
        file.set_len(length).map_err(|e| failed(&what, &e))?;
        Ok(match delete {
            Some((root, metadata)) => {
                Ending::Deleted(Leftover::new(root, relative(path), &metadata, &what)?)
            }
            None => Ending::Stays,
        })
    }
}

fn replace(root: Arc<Dir>, path: RemotePath, partial: PartialUploads) -> Result<Opened, Failure> {
    let what = format!("open {path} for writing");
    let mut options = OpenOptions::new();
    options.write(true);
    if partial == PartialUploads::TemporaryName {
        let (file, temporary) = Temporary::create(root, relative(&path), &mut options, &what)?;
        return Ok(Opened { file, path, ending: Ending::Renamed(temporary), replaced: None });
    }
    let new = open_for_writing(&root, relative(&path), options.create_new(true), &what);
    let (is_new, (file, metadata)) = match new {
        Err(taken) if taken.kind == FailureKind::AlreadyExists => {
            options.create_new(false).create(true);
            (false, open_for_writing(&root, relative(&path), &mut options, &what)?)
        }
        new => (true, new?),
    };
    let delete = partial == PartialUploads::Delete;
    let (ending, replaced) = match is_new {
        true if delete => {
            (Ending::Deleted(Leftover::new(root, relative(&path), &metadata, &what)?), None)
        }
        true => (Ending::Stays, None),
        false => {
            let again = file.try_clone().map_err(|e| failed(&what, &e))?;
            let delete = delete.then_some((root, metadata));
            (Ending::Stays, Some(Replaced { file: again, length: 0, what, delete }))
        }
    };
    Ok(Opened { file, path, ending, replaced })
}

fn continue_at(root: &Dir, path: RemotePath, offset: u64) -> Result<Opened, Failure> {
    let what = format!("continue {path} at byte {offset}");
    let (mut file, metadata) =
        open_for_writing(root, relative(&path), OpenOptions::new().write(true), &what)?;
    if offset > metadata.len() {
        let reason = format_args!("it is only {} bytes long", metadata.len());
        return Err(refused(FailureKind::InvalidArgument, what, reason));
    }
    file.seek(SeekFrom::Start(offset)).map_err(|e| failed(&what, &e))?;
    let again = file.try_clone().map_err(|e| failed(&what, &e))?;
    let replaced = Some(Replaced { file: again, length: offset, what, delete: None });
    Ok(Opened { file, path, ending: Ending::Stays, replaced })
}

fn append(root: &Dir, path: RemotePath) -> Result<Opened, Failure> {
    let what = format!("open {path} for appending");
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let (file, _) = open_for_writing(root, relative(&path), &mut options, &what)?;
    Ok(Opened { file, path, ending: Ending::Stays, replaced: None })
}

fn unique(root: Arc<Dir>, folder: &RemotePath, partial: PartialUploads) -> Result<Opened, Failure> {
    let what = format!("create a new file in {folder}");
    let mut draws = 0;
    loop {
        draws += 1;
        let path = RemotePath::resolve(folder, random_name("upload-", "").as_bytes())
            .map_err(|reason| refused(FailureKind::NameRefused, &what, reason))?;
        let mut options = OpenOptions::new();
        options.write(true);
        let created = match partial {
            PartialUploads::TemporaryName => {
                Temporary::create_new(root.clone(), relative(&path), &mut options, &what)
                    .map(|(file, temporary)| (file, Ending::Renamed(temporary)))
            }
            PartialUploads::Keep | PartialUploads::Delete => {
                create_unique(&root, &path, &mut options, partial, &what)
            }
        };
        match created {
            Err(taken) if taken.kind == FailureKind::AlreadyExists && draws < DRAWS => {}
            Err(failure) => return Err(failure),
            Ok((file, ending)) => return Ok(Opened { file, path, ending, replaced: None }),
        }
    }
}

fn create_unique(
    root: &Arc<Dir>,
    path: &RemotePath,
    options: &mut OpenOptions,
    partial: PartialUploads,
    what: &str,
) -> Result<(std::fs::File, Ending), Failure> {
    let (file, metadata) = open_file(root, relative(path), options.create_new(true), what)?;
    let ending = match partial {
        PartialUploads::Delete => {
            Ending::Deleted(Leftover::new(root.clone(), relative(path), &metadata, what)?)
        }
        PartialUploads::Keep | PartialUploads::TemporaryName => Ending::Stays,
    };
    Ok((file, ending))
}

impl Opened {
    fn into_transfer(self, calls: Calls, representation: Representation) -> LocalWrite {
        let mut file = File::from_std(self.file);
        file.set_max_buf_size(BLOCK);
        let sink = match representation {
            Representation::Image => Sink::Writer(Box::new(file)),
            Representation::Ascii => Sink::Writer(Box::new(FromCrlf::new(file))),
        };
        let Self { path, ending, replaced, .. } = self;
        LocalWrite { calls, sink, path, ending, replaced }
    }
}

/// Dropped, it does as `abort` does, but nobody waits for it.
pub(super) struct LocalWrite {
    calls: Calls,
    sink: Sink,
    path: RemotePath,
    ending: Ending,
    replaced: Option<Replaced>,
}

impl LocalWrite {
    /// tokio writes behind the caller's back: only this tells whether the last bytes found room.
    async fn flush(&mut self) -> Result<(), Failure> {
        let flushed = match &mut self.sink {
            Sink::Writer(writer) => writer.shutdown().await,
            Sink::Socket(stream) => stream.shutdown().await,
        };
        flushed.map_err(|e| failed(format_args!("write {}", self.path), &e))
    }
}

#[async_trait]
impl WriteTransfer for LocalWrite {
    fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    fn path(&self) -> &RemotePath {
        &self.path
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        if let Some(replaced) = self.replaced.take() {
            let path = self.path.clone();
            self.ending = self.calls.run(move || replaced.cut_off(&path)).await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        self.begin().await?;
        self.flush().await
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.settle().await?;
        let calls = self.calls.clone();
        calls
            .run(move || {
                let Self { sink, path, ending, .. } = *self;
                drop(sink);
                ending.whole(&path).map(|()| None)
            })
            .await
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        // What has come is worth keeping as far as the disk takes it; more is not to be done here.
        let _ = self.flush().await;
        let calls = self.calls.clone();
        let _ = calls
            .run(move || {
                let Self { sink, ending, .. } = *self;
                drop(sink);
                ending.cut();
                Ok(())
            })
            .await;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::testing::{Sandbox, feed, from, settle};
    use super::*;

    const ALL: [PartialUploads; 3] =
        [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName];

    #[tokio::test]
    async fn a_whole_upload_is_there_in_every_mode() {
        for partial in ALL {
            let sandbox = Sandbox::with(partial);
            let content = vec![b'x'; 3 * BLOCK + 1];
            for content in [&content[..], b"short", b""] {
                let transfer = sandbox.begin("file", from(0), content).await;
                assert_eq!(transfer.path().as_bytes(), b"/file");
                transfer.finish().await.unwrap();
                assert_eq!(sandbox.get("file").unwrap(), content, "{partial:?}");
                assert_eq!(sandbox.names(), ["file"], "{partial:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_cut_upload_ends_as_configured() {
        for partial in ALL {
            for dropped in [false, true] {
                let sandbox = Sandbox::with(partial);
                let transfer = sandbox.begin("file", from(0), b"part").await;
                match dropped {
                    true => drop(transfer),
                    false => drop(transfer.abort().await),
                }
                match partial {
                    PartialUploads::Keep => {
                        settle(|| sandbox.get("file").unwrap() == b"part").await
                    }
                    PartialUploads::Delete if dropped => {
                        settle(|| sandbox.names().is_empty()).await
                    }
                    PartialUploads::Delete => assert!(sandbox.names().is_empty()),
                    PartialUploads::TemporaryName => {
                        let [name] = &sandbox.names()[..] else { panic!("{:?}", sandbox.names()) };
                        assert!(name.starts_with(".lockgate-") && name.ends_with(".part"));
                        settle(|| sandbox.get(name).unwrap() == b"part").await;
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn until_it_is_whole_the_old_file_stays_under_a_temporary_name() {
        let sandbox = Sandbox::with(PartialUploads::TemporaryName);
        sandbox.put("file", "old");
        let mode = std::fs::Permissions::from_mode(0o604);
        std::fs::set_permissions(sandbox.host("file"), mode).unwrap();
        symlink("file", sandbox.host("link")).unwrap();
        let transfer = sandbox.begin("link", from(0), b"new").await;
        assert_eq!(sandbox.get("file").unwrap(), b"old");
        transfer.finish().await.unwrap();
        assert_eq!(sandbox.get("file").unwrap(), b"new");
        assert_eq!(sandbox.names(), ["file", "link"]);
        assert!(sandbox.host("link").is_symlink());
        let mode = sandbox.host("file").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o604);
    }

    #[tokio::test]
    async fn continued_uploads_go_to_the_file_and_are_never_deleted() {
        for partial in ALL {
            let sandbox = Sandbox::with(partial);
            for (mode, whole) in [(from(3), &b"012new"[..]), (WriteMode::Append, b"01234new")] {
                sandbox.put("file", "01234");
                sandbox.begin("file", mode, b"new").await.finish().await.unwrap();
                assert_eq!(sandbox.get("file").unwrap(), whole);
                sandbox.put("file", "01234");
                sandbox.begin("file", mode, b"new").await.abort().await;
                assert_eq!(sandbox.get("file").unwrap(), whole);
                assert_eq!(sandbox.names(), ["file"]);
            }
        }
    }

    #[tokio::test]
    async fn continuing_needs_what_it_continues() {
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
    async fn unique_names_are_told() {
        for partial in ALL {
            let sandbox = Sandbox::with(partial);
            let one = sandbox.begin("/", WriteMode::Unique, b"one").await;
            let two = sandbox.begin("/", WriteMode::Unique, b"two").await;
            let name = one.path().to_string();
            assert_ne!(&name, &two.path().to_string());
            let looks_whole =
                || sandbox.names().iter().filter(|n| n.starts_with("upload-")).count();
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
    async fn a_unique_name_that_another_has_taken_is_not_replaced() {
        let sandbox = Sandbox::with(PartialUploads::TemporaryName);
        let transfer = sandbox.begin("/", WriteMode::Unique, b"one").await;
        let name = transfer.path().to_string();
        sandbox.put(&name[1..], "other");
        assert_eq!(transfer.finish().await.unwrap_err().kind, FailureKind::AlreadyExists);
        assert_eq!(sandbox.get(&name[1..]).unwrap(), b"other");
    }

    #[tokio::test]
    async fn an_upload_without_a_byte_leaves_no_temporary_file() {
        let sandbox = Sandbox::with(PartialUploads::TemporaryName);
        for mode in [from(0), WriteMode::Unique] {
            let name = if mode == WriteMode::Unique { "/" } else { "file" };
            let open = || sandbox.open_write(name, mode, Representation::Image);
            open().await.unwrap().abort().await;
            assert!(sandbox.names().is_empty());
        }
    }

    #[tokio::test]
    async fn text_is_translated() {
        let sandbox = Sandbox::new();
        let mut transfer =
            sandbox.open_write("text", from(0), Representation::Ascii).await.unwrap();
        for piece in [&b"a\r\nb\r"[..], b"\nc\rd\r"] {
            feed(&mut *transfer, piece).await;
        }
        transfer.finish().await.unwrap();
        assert_eq!(sandbox.get("text").unwrap(), b"a\nb\nc\rd\r");
    }

    #[tokio::test]
    async fn until_the_first_byte_may_come_an_older_file_is_untouched() {
        for partial in ALL {
            for (mode, cut) in
                [(from(0), &b""[..]), (from(3), b"012"), (WriteMode::Append, b"01234")]
            {
                for dropped in [false, true] {
                    let sandbox = Sandbox::with(partial);
                    sandbox.put("file", "01234");
                    let open = || sandbox.open_write("file", mode, Representation::Image);
                    let transfer = open().await.unwrap();
                    match dropped {
                        true => drop(transfer),
                        false => drop(transfer.abort().await),
                    }
                    assert_eq!(sandbox.get("file").unwrap(), b"01234", "{partial:?} {mode:?}");
                    // Nothing was to be written, and that is whole.
                    open().await.unwrap().finish().await.unwrap();
                    assert_eq!(sandbox.get("file").unwrap(), cut, "{partial:?} {mode:?}");
                }
            }
        }
    }

    /// Its client has come back before its end was noticed.
    #[tokio::test]
    async fn a_part_that_another_upload_has_begun_anew_is_not_deleted() {
        for (mode, left) in [(from(0), &b"whole"[..]), (WriteMode::Append, b"partwhole")] {
            let sandbox = Sandbox::with(PartialUploads::Delete);
            let broken = sandbox.begin("file", from(0), b"part").await;
            settle(|| sandbox.get("file").unwrap() == b"part").await;
            sandbox.begin("file", mode, b"whole").await.finish().await.unwrap();
            broken.abort().await;
            assert_eq!(sandbox.get("file").unwrap(), left);
            // And the next one's is its own again.
            sandbox.begin("file", from(0), b"part").await.abort().await;
            assert!(sandbox.names().is_empty());
        }
    }

    #[tokio::test]
    async fn a_file_that_another_put_there_is_not_deleted() {
        let sandbox = Sandbox::with(PartialUploads::Delete);
        let transfer = sandbox.begin("file", from(0), b"part").await;
        sandbox.put("other", "whole");
        std::fs::rename(sandbox.host("other"), sandbox.host("file")).unwrap();
        transfer.abort().await;
        assert_eq!(sandbox.get("file").unwrap(), b"whole");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_at_the_latest_by_finish() {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        for representation in [Representation::Image, Representation::Ascii] {
            let opened = Opened {
                file: file.try_clone().unwrap(),
                path: RemotePath::root(),
                ending: Ending::Stays,
                replaced: None,
            };
            let mut transfer = Box::new(opened.into_transfer(Calls::new(), representation));
            feed(&mut *transfer, b"text").await;
            let failure = transfer.finish().await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::NoSpace);
            assert_eq!(failure.message, "cannot write /: no space left on the device");
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_given_is_told() {
        let sandbox = Sandbox::with(PartialUploads::TemporaryName);
        let transfer = sandbox.begin("file", from(0), b"new").await;
        std::fs::create_dir(sandbox.host("file")).unwrap();
        let failure = transfer.finish().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::IsADirectory);
        let said = "cannot give the finished upload its name /file: it is a directory";
        assert_eq!(failure.message, said);
    }
}
