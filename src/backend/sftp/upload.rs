//! Files written from one end to the other: OPEN, WRITEs that wait for no answer, CLOSE
//! (draft-ietf-secsh-filexfer-02 sections 6.3 and 6.4).

use std::sync::Arc;

use async_trait::async_trait;

use super::ending::{self, Ending, Prepared};
use super::explain::{Tried, explained};
use super::full;
use super::handle::Handle;
use super::server::Server;
use super::status::{Expect, is_look_denied};
use crate::backend::claims::Claim;
use crate::backend::{PartialUploads, WriteTransfer};
use crate::data::{Behind, FirstError, FromCrlf, Sink, WriteBehind};
use crate::op::{
    Failure, FailureKind, PeerReply, RemotePath, Representation, WriteFile, WriteMode,
};
use crate::wire::sftp::{Attributes, OpenFlags, RequestBody};

/// How often a name for `Unique` is drawn; one draw has 128 random bits.
const DRAWS: usize = 3;
/// Bytes whose answers are waited for together with the one to CLOSE.
const LAST_FLIGHT: usize = 256 * 1024;

struct SftpWrite {
    sink: Sink,
    behind: Behind<Handle>,
    fault: FirstError,
    file: Begun,
}

/// A file that is open for writing. Dropped before its end, it counts as cut.
struct Begun {
    handle: Handle,
    ending: Option<Ending>,
    /// An older file that is to be cut off here when the first byte comes; untouched till then.
    replaced: Option<u64>,
}

impl Begun {
    fn take_ending(&mut self) -> Option<Ending> {
        let ending = self.ending.take()?;
        Some(if self.replaced.is_some() { Ending::Stays } else { ending })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(ending) = self.take_ending() {
            ending::cut_behind(self.handle.clone(), ending);
        }
    }
}

pub(super) async fn open(
    server: &Arc<Server>,
    action: &WriteFile,
) -> Result<Box<dyn WriteTransfer>, Failure> {
    let WriteFile { path, mode, representation } = action;
    let (file, offset) = match mode {
        WriteMode::From { offset: 0 } => (replace(server, path).await?, 0),
        WriteMode::From { offset } => {
            (continue_at(server, path, *offset, *representation).await?, *offset)
        }
        WriteMode::Append => append(server, path).await?,
        WriteMode::Unique => (unique(server, path).await?, 0),
    };
    let fault = FirstError::default();
    let (stream, behind) = WriteBehind::new(file.handle.clone(), offset, fault.clone());
    let sink = match representation {
        Representation::Image => Sink::Writer(Box::new(stream)),
        Representation::Ascii => Sink::Writer(Box::new(FromCrlf::new(stream))),
    };
    Ok(Box::new(SftpWrite { sink, behind, fault, file }))
}

const WRITE: OpenFlags = OpenFlags::WRITE;

async fn replace(server: &Arc<Server>, path: &RemotePath) -> Result<Begun, Failure> {
    let ending = Ending::of_new(server, path, false)?;
    let Ending::Renamed { .. } = &ending else {
        return replace_in_place(server, path, ending.of_stream()).await;
    };
    replace_by_rename(server, path, ending).await
}

/// Servers with OpenSSH's fsync have files of their own, and can empty one that is open.
async fn replace_in_place(
    server: &Arc<Server>,
    path: &RemotePath,
    ending: Ending,
) -> Result<Begun, Failure> {
    let flags = WRITE | OpenFlags::CREATE;
    if !server.extensions.file_sync {
        return open_file(server, path, path, flags | OpenFlags::TRUNCATE, ending).await;
    }
    let claim = ending.claim(server, path).await?;
    // In one flight with it: whether there is anything to be emptied.
    let there = server.requests.ask(RequestBody::Stat { path: server.wire(path) });
    let mut file = open_claimed(server, path, path, flags, ending, claim).await?;
    let length = there.await.and_then(|answer| answer.attributes("tell what is replaced"));
    file.replaced = match length {
        Ok(there) if there.size == Some(0) => None,
        Err(failure) if failure.kind == FailureKind::NotFound => None,
        _ => Some(0),
    };
    Ok(file)
}

async fn replace_by_rename(
    server: &Arc<Server>,
    path: &RemotePath,
    ending: Ending,
) -> Result<Begun, Failure> {
    // In one flight with it: what will be replaced.
    let there = server.requests.ask(RequestBody::LinkStat { path: server.wire(path) });
    let flags = WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let written = ending.written(path).clone();
    let mut file = open_file(server, &written, path, flags, ending).await?;
    let there = there.await.and_then(|answer| answer.attributes("tell what is replaced"));
    if let Some(ending) = file.ending.take() {
        match ending::prepare(&file.handle, &ending, there).await? {
            Prepared::Here => file.ending = Some(ending),
            Prepared::Elsewhere(ending) => {
                return Box::pin(replace_by_rename(server, path, ending)).await;
            }
        }
    }
    Ok(file)
}

async fn continue_at(
    server: &Arc<Server>,
    path: &RemotePath,
    offset: u64,
    representation: Representation,
) -> Result<Begun, Failure> {
    let what = format!("continue {path} at byte {offset}");
    if representation == Representation::Ascii {
        let message =
            format_args!("cannot {what}: the offset in TYPE A is not that in the file; use TYPE I");
        return Err(Failure::client(FailureKind::Unsupported, message));
    }
    let mut file = open_file(server, path, path, WRITE, Ending::Stays.of_stream()).await?;
    let length = file.handle.stat().await?.attributes(&what)?.size;
    match length {
        Some(length) if length < offset => {
            let message = format_args!("cannot {what}: it is only {length} bytes long");
            Err(Failure::client(FailureKind::InvalidArgument, message))
        }
        Some(length) if length == offset => Ok(file),
        _ => {
            file.replaced = Some(offset);
            Ok(file)
        }
    }
}

/// Also the offset of the end: some servers pass APPEND over.
async fn append(server: &Arc<Server>, path: &RemotePath) -> Result<(Begun, u64), Failure> {
    let flags = WRITE | OpenFlags::APPEND | OpenFlags::CREATE;
    let ending = Ending::Stays.of_stream();
    let claim = ending.claim(server, path).await?;
    // In one flight with it: whether it is the upload that makes the file.
    let there = server.requests.ask(RequestBody::Stat { path: server.wire(path) });
    let mut file = open_claimed(server, path, path, flags, ending, claim).await?;
    let length = file.handle.stat().await?.attributes(format_args!("append to {path}"))?.size;
    let end = length.ok_or_else(|| {
        let message = format_args!("cannot append to {path}: the backend does not tell its size");
        Failure::backend(FailureKind::Unsupported, message)
    })?;
    let there = there.await.and_then(|answer| answer.attributes("tell what is there"));
    let is_new = end == 0 && there.is_err_and(|failure| failure.kind == FailureKind::NotFound);
    if is_new && server.settings.partial_uploads == PartialUploads::Delete {
        file.ending = Some(Ending::Deleted);
    }
    Ok((file, end))
}

async fn unique(server: &Arc<Server>, folder: &RemotePath) -> Result<Begun, Failure> {
    let flags = WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let mut draws = 0;
    loop {
        draws += 1;
        let name = format!("upload-{:032x}", rand::random::<u128>());
        let path = RemotePath::resolve(folder, name.as_bytes())
            .map_err(|e| Failure::client(FailureKind::NameRefused, e))?;
        let ending = Ending::of_new(server, &path, true)?.of_stream();
        let written = ending.written(&path).clone();
        match open_file(server, &written, &path, flags, ending).await {
            Err(taken) if taken.kind == FailureKind::AlreadyExists && draws < DRAWS => {}
            opened => return opened,
        }
    }
}

/// `written`: the name that is opened, of the file that is `path` in the end.
async fn open_file(
    server: &Arc<Server>,
    written: &RemotePath,
    path: &RemotePath,
    flags: OpenFlags,
    ending: Ending,
) -> Result<Begun, Failure> {
    let claim = ending.claim(server, path).await?;
    open_claimed(server, written, path, flags, ending, claim).await
}

async fn open_claimed(
    server: &Arc<Server>,
    written: &RemotePath,
    path: &RemotePath,
    flags: OpenFlags,
    ending: Ending,
    claim: Option<Claim>,
) -> Result<Begun, Failure> {
    let body =
        RequestBody::Open { path: server.wire(written), flags, attributes: Attributes::default() };
    server.changes.note_all();
    let opened = server.requests.ask(body).await?.handle(format_args!("open {path} for writing"));
    let tried = match flags.contains(OpenFlags::EXCLUSIVE) {
        true => Tried::Make,
        false => Tried::Open,
    };
    let handle = explained(server, opened, written, tried).await?;
    let handle = Handle::new(server.clone(), handle, path.clone(), claim);
    Ok(Begun { handle, ending: Some(ending), replaced: None })
}

#[async_trait]
impl WriteTransfer for SftpWrite {
    fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    fn path(&self) -> &RemotePath {
        self.file.handle.path()
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        if let Some(length) = self.file.replaced {
            cut_off(&self.file.handle, length).await?;
            self.file.replaced = None;
        }
        Ok(())
    }

    /// The last WRITE and CLOSE are answered together: that saves small files a round trip. What the
    /// server has against a WRITE, `finish` tells.
    async fn settle(&mut self) -> Result<(), Failure> {
        self.begin().await?;
        if self.sink.shutdown().await.is_ok() {
            let _ = self.behind.all_but(LAST_FLIGHT).await;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.begin().await?;
        let sent = self.sink.shutdown().await;
        let Self { behind, fault, mut file, .. } = *self;
        let cut = move |error: std::io::Error| {
            let message = format_args!("the upload was cut: {error}");
            fault.take().unwrap_or_else(|| Failure::backend(FailureKind::TransferCut, message))
        };
        let written = async move {
            match sent {
                Ok(()) => behind.answers().await.map_err(cut),
                Err(error) => Err(cut(error)),
            }
        };
        let Some(ending) = file.ending.take() else { return Ok(None) };
        ending::complete(file.handle.clone(), ending, written).await.map(|()| None)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        let Some(ending) = self.file.take_ending() else { return self.fault.take() };
        let handle = &self.file.handle;
        handle.give_up_writes();
        let fault = match self.fault.take() {
            // Before what takes the room is deleted.
            Some(fault) => {
                let written = ending.written(handle.path());
                Some(full::explained(handle.server(), written, fault).await)
            }
            None => None,
        };
        ending::cut(handle, ending).await;
        fault
    }
}

/// Ends an older file at `length`.
async fn cut_off(handle: &Handle, length: u64) -> Result<(), Failure> {
    let what = format!("cut {} off at byte {length}", handle.path());
    let attributes = Attributes { size: Some(length), ..Attributes::default() };
    match handle.set_stat(attributes).await?.done(&what) {
        Err(refusal)
            if length == 0
                && matches!(
                    refusal.kind,
                    FailureKind::PermissionDenied | FailureKind::Unsupported
                ) =>
        {
            empty(handle, refusal).await
        }
        outcome => outcome,
    }
}

/// Some servers let nobody set attributes, and still empty a file that is opened so.
async fn empty(handle: &Handle, refusal: Failure) -> Result<(), Failure> {
    let (server, path) = (handle.server(), handle.path());
    let flags = WRITE | OpenFlags::TRUNCATE;
    let body =
        RequestBody::Open { path: server.wire(path), flags, attributes: Attributes::default() };
    let what = format_args!("empty {path}").to_string();
    let again = server.requests.ask(body).await?.handle(&what)?;
    server.requests.tell(RequestBody::Close { handle: again });
    // Another file may have the name by now.
    match handle.stat().await?.attributes(&what) {
        Ok(now) if now.size == Some(0) => Ok(()),
        Err(denied) if is_look_denied(&denied) => Ok(()),
        _ => Err(refusal),
    }
}
