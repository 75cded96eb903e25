//! Uploads: STOR, APPE and STOU (RFC 959).

mod partial_file;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;

use super::ConnectionGuard;
use super::cache::WriteGuard;
use super::{abort, data_connection, failures, stat};
use crate::backend::{Home, PartialUploads, WriteTransfer};
use crate::data::{RelayError, Sink, StallTimer};
use crate::net::Stream;
use crate::op::{
    Failure, FailureKind, PeerReply, RemotePath, Representation, WriteFile, WriteMode,
};
pub(super) use partial_file::{PartialFile, ReplacedFile};

pub(super) struct FtpWrite {
    guard: ConnectionGuard,
    /// `None` once the transfer was ended or aborted.
    sink: Option<Sink>,
    /// The success reply to the transfer.
    final_reply: Option<PeerReply>,
    closed_sink: Sink,
    path: RemotePath,
    /// `None`: the upload continues an older file.
    part: Option<PartialFile>,
    /// Bytes of this transfer, if counted.
    bytes_sent: Option<u64>,
    /// The size of the file before them, if known; `None` for ASCII transfers, whose bytes the
    /// server does not count.
    base: Option<u64>,
    /// Nobody can ask for its size.
    is_opaque: bool,
    /// Nothing is cached until the transfer has ended.
    _write_guard: Option<WriteGuard>,
}

pub(super) async fn open(
    mut guard: ConnectionGuard,
    write_guard: WriteGuard,
    action: &WriteFile,
) -> Result<Box<dyn WriteTransfer>, Failure> {
    let WriteFile { path, mode, representation } = action;
    let part = match mode {
        WriteMode::From { offset: 0 } => Some(PartialFile::new(&mut guard, path, false).await?),
        WriteMode::New => Some(PartialFile::new(&mut guard, path, true).await?),
        WriteMode::From { .. } | WriteMode::Append | WriteMode::Unique => None,
    };
    Ok(Box::new(start(guard, write_guard, path, *mode, *representation, part).await?))
}

pub(super) async fn start(
    mut guard: ConnectionGuard,
    write_guard: WriteGuard,
    path: &RemotePath,
    mode: WriteMode,
    representation: Representation,
    mut part: Option<PartialFile>,
) -> Result<FtpWrite, Failure> {
    guard.set_type(representation).await?;
    let temporary = part.as_ref().and_then(|part| part.temporary.as_ref());
    let target_name = match mode {
        WriteMode::Unique => Vec::new(),
        _ => guard.name(temporary.unwrap_or(path))?,
    };
    if temporary.is_none() && mode != WriteMode::Unique {
        let lease = Arc::new(guard.pool().account().lease(path).await);
        part.iter_mut().for_each(|part| part.lease = Some(lease.clone()));
    }
    let started = match mode {
        WriteMode::From { offset } => {
            data_connection::start(&mut guard, "STOR", Some(&target_name), offset).await
        }
        WriteMode::New => data_connection::start(&mut guard, "STOR", Some(&target_name), 0).await,
        WriteMode::Append => {
            data_connection::start(&mut guard, "APPE", Some(&target_name), 0).await
        }
        WriteMode::Unique => {
            // CWD even if the server is there: another client may have renamed the folder.
            if guard.home.is_known() {
                match guard.change_directory(path).await {
                    // An account need not be allowed to enter its login folder.
                    Err(_) if guard.is_at_home(path) => guard.check()?,
                    entered => entered.map(drop)?,
                }
            } else if !path.is_root() {
                let what = "a file with a unique name (STOU) can be created in that folder only";
                return Err(failures::unknown_home(what));
            }
            data_connection::start(&mut guard, "STOU", None, 0).await
        }
    };
    if let (Err(failure), Some(part)) = (&started, &part)
        && may_have_created_file(failure)
    {
        part.delete_if_own(&mut guard, path, Some(0)).await;
    }
    let (stream, preliminary) = started?;
    let folder = path;
    let path = match mode {
        WriteMode::Unique => unique_name(&preliminary, folder, &guard.home),
        _ => path.clone(),
    };
    let base = match (mode, &part) {
        _ if representation != Representation::Image => None,
        (WriteMode::From { offset }, _) => Some(offset),
        (WriteMode::Append, Some(part)) => Some(part.synced_bytes),
        (WriteMode::Append, None) => None,
        (WriteMode::New | WriteMode::Unique, _) => Some(0),
    };
    // A file that this upload created, if its name is known.
    if mode == WriteMode::Unique && path != *folder {
        let delete_on_abort = guard.settings.partial_uploads == PartialUploads::Delete;
        let lease = Some(Arc::new(guard.pool().account().lease(&path).await));
        part = Some(PartialFile { delete_on_abort, lease, ..PartialFile::default() });
    }
    Ok(FtpWrite {
        guard,
        sink: Some(Sink::Socket(stream)),
        final_reply: None,
        closed_sink: Sink::Writer(Box::new(tokio::io::sink())),
        path,
        part,
        bytes_sent: None,
        base,
        is_opaque: false,
        _write_guard: Some(write_guard),
    })
}

/// Whether the server may have created the file although the transfer did not start.
fn may_have_created_file(failure: &Failure) -> bool {
    use FailureKind as K;
    matches!(failure.kind, K::Unavailable | K::DataConnection | K::TransferCut | K::TimedOut)
}

/// The file name in the reply to STOU (RFC 1123 section 4.1.2.9: `150 FILE: name`), or the folder
/// if there is none.
fn unique_name(preliminary: &PeerReply, folder: &RemotePath, home: &Home) -> RemotePath {
    let text = preliminary.lines.concat();
    let name = text.windows(6).position(|w| w.eq_ignore_ascii_case(b"FILE: ")).map(|at| {
        let name = &text[at + 6..];
        name.strip_suffix(b"\"").unwrap_or(name).trim_ascii()
    });
    // Without a known login folder, absolute names are outside of the session's paths.
    let name = name.filter(|name| home.is_known() || !name.starts_with(b"/"));
    name.and_then(|name| RemotePath::resolve(folder, name).ok()).unwrap_or_else(|| folder.clone())
}

/// Ends the data connection as *complete*. Returns whether the server reset it: it may have closed
/// it without reading everything. Under TLS that cannot be seen; the server's reply decides.
async fn close_data(stream: Stream, limit: Duration) -> bool {
    let plain = !stream.is_tls();
    // While the server reads anything, however slowly, the end is on its way.
    let timer = StallTimer::new(limit, Some(stream.tcp()));
    let closing = stream.complete_and_read_to_end(Duration::MAX);
    let error = match timer.wait(closing).await {
        Ok(Ok(())) => return false,
        Ok(Err(error)) => RelayError::Sink(error),
        Err(stalled) => stalled,
    };
    tracing::debug!(%error, "closing the data connection to the backend");
    use io::ErrorKind as E;
    let resets = [E::ConnectionReset, E::BrokenPipe, E::NotConnected, E::ConnectionAborted];
    plain && matches!(error, RelayError::Sink(error) if resets.contains(&error.kind()))
}

impl FtpWrite {
    /// An upload that has started, of a file that only the server knows: what an interrupted one leaves there is
    /// the server's matter.
    pub(super) fn without_path(guard: ConnectionGuard, stream: Stream) -> Self {
        Self {
            guard,
            sink: Some(Sink::Socket(stream)),
            final_reply: None,
            closed_sink: Sink::Writer(Box::new(tokio::io::sink())),
            path: RemotePath::root(),
            part: None,
            bytes_sent: None,
            base: None,
            is_opaque: true,
            _write_guard: None,
        }
    }

    async fn complete(&mut self, whole: bool) -> Result<PeerReply, Failure> {
        let reply = self.store().await?;
        if whole && let Some(part) = self.part.take() {
            part.rename_to_final(&mut self.guard, &self.path).await?;
        }
        // The reply to the STOR, not to the rename.
        Ok(reply)
    }

    /// Ends the transfer as *complete*, under the name that was written to.
    async fn store(&mut self) -> Result<PeerReply, Failure> {
        if let Some(reply) = &self.final_reply {
            return Ok(reply.clone());
        }
        // Flush first: some servers take the data received before a close as complete.
        if let Err(e) = self.flush().await {
            let reported = self.abort_transfer().await;
            return Err(reported.unwrap_or_else(|| {
                Failure::backend(
                    FailureKind::TransferCut,
                    "the backend server did not accept the end of the file",
                )
                .with_detail(e)
            }));
        }
        let early_reply = self.guard.reply_before_end()?;
        let reset = match self.sink.take() {
            Some(Sink::Socket(stream)) => {
                close_data(stream, self.guard.settings.reply_timeout).await
            }
            _ => false,
        };
        let reply = self.guard.end_upload(early_reply, reset).await?;
        if reset && self.is_opaque {
            return Err(Failure::backend(
                FailureKind::TransferCut,
                "the backend server reset the data connection, so that it may not have the whole file, although \
                 it said so",
            )
            .with_detail(format!("it answered {reply}")));
        }
        if reset {
            self.check_size().await?;
        }
        self.final_reply = Some(reply.clone());
        Ok(reply)
    }

    /// After a reset, some servers confirm a file that they did not read to its end; others have
    /// all of it. The size decides, if the server reports it.
    async fn check_size(&mut self) -> Result<(), Failure> {
        let expected = self.base.zip(self.bytes_sent).map(|(base, bytes_sent)| base + bytes_sent);
        let Some(expected) = expected else { return Ok(()) };
        let temporary = self.part.as_ref().and_then(|part| part.temporary.as_ref());
        let target = temporary.unwrap_or(&self.path);
        match stat::reported_size(&mut self.guard, target).await {
            Ok(Some(size)) if size != expected => Err(Failure::backend(
                FailureKind::TransferCut,
                "the backend server reset the data connection, and its file is not as long as \
                 the uploaded one",
            )
            .with_detail(format!("expected {expected} bytes, the server has {size}"))),
            Ok(Some(_)) => Ok(()),
            reported => {
                tracing::debug!(
                    ?reported,
                    "the backend reset the data connection of an upload that it confirmed; its size is unknown"
                );
                Ok(())
            }
        }
    }

    pub(super) fn connection(&self) -> &ConnectionGuard {
        &self.guard
    }

    pub(super) fn part(&self) -> Option<PartialFile> {
        self.part.clone()
    }

    /// The bytes of this transfer.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes_sent = Some(self.bytes_sent.unwrap_or(0) + bytes as u64);
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.bytes_sent.unwrap_or(0)
    }

    /// `whole`: the file gets its final name; else it is continued later.
    pub(super) async fn end(mut self: Box<Self>, whole: bool) -> Result<PeerReply, Failure> {
        let ended = self.complete(whole).await;
        if ended.is_err() {
            self.delete_part().await;
        }
        ended
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Some(Sink::Socket(stream)) = &mut self.sink else { return Ok(()) };
        let timer = StallTimer::new(self.guard.settings.reply_timeout, Some(stream.tcp()));
        let flushed = timer.wait(stream.flush()).await;
        flushed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn abort_transfer(&mut self) -> Option<Failure> {
        match self.sink.take() {
            Some(Sink::Socket(stream)) => abort::abort(&mut self.guard, stream).await,
            _ => {
                // The end was sent already: its reply must not be taken for the next command's.
                abort::await_reply(&mut self.guard).await;
                None
            }
        }
    }

    async fn delete_part(&mut self) {
        if let Some(part) = &self.part {
            part.delete_if_own(&mut self.guard, &self.path, self.bytes_sent).await;
        }
    }
}

#[async_trait]
impl WriteTransfer for FtpWrite {
    fn sink(&mut self) -> &mut Sink {
        self.sink.as_mut().unwrap_or(&mut self.closed_sink)
    }

    fn path(&self) -> &RemotePath {
        &self.path
    }

    fn sent(&mut self, bytes: u64) {
        self.bytes_sent = Some(bytes);
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        let temporary = self.part.as_ref().is_some_and(|part| part.temporary.is_some());
        // Under its final name, the end of data would complete the file.
        if temporary { self.store().await.map(drop) } else { Ok(()) }
    }

    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.end(true).await.map(Some)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        let reported = self.abort_transfer().await;
        self.delete_part().await;
        reported
    }
}

impl Drop for FtpWrite {
    fn drop(&mut self) {
        if self.sink.is_some() {
            self.guard.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_chosen_by_stou_is_parsed() {
        let folder = RemotePath::resolve(&RemotePath::root(), b"/in").unwrap();
        let known = Home::At(RemotePath::root());
        for (text, home, expected) in [
            ("FILE: stou.1", &known, "/in/stou.1"),
            ("Opening BINARY mode data connection, file: x y", &known, "/in/x y"),
            ("FILE: /in/abs.1", &known, "/in/abs.1"),
            ("Ok to send data.", &known, "/in"),
            ("FILE: stou.1", &Home::Unknown, "/in/stou.1"),
            ("FILE: /home/x/stou.1", &Home::Unknown, "/in"),
        ] {
            let reply = PeerReply { code: 150, lines: vec![text.into()] };
            assert_eq!(unique_name(&reply, &folder, home).to_string(), expected);
        }
    }
}
