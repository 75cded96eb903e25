//! STOR, APPE and STOU (RFC 959), and what becomes of an upload that is cut.

mod part;

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
pub(super) use part::{Part, Replaced};

pub(super) struct FtpWrite {
    guard: ConnectionGuard,
    /// `None` once its end was sent, one way or the other.
    sink: Option<Sink>,
    /// The server's word that it has all.
    stored: Option<PeerReply>,
    idle: Sink,
    path: RemotePath,
    /// `None`: it continues an older file.
    part: Option<Part>,
    /// Bytes of this transfer, where they were counted.
    sent: Option<u64>,
    /// What the file has before them, where that is known and bytes are what the server counts.
    base: Option<u64>,
    /// Until it has ended, nothing is remembered of what is there.
    _write_guard: WriteGuard,
}

pub(super) async fn open(
    mut guard: ConnectionGuard,
    write_guard: WriteGuard,
    action: &WriteFile,
) -> Result<Box<dyn WriteTransfer>, Failure> {
    let WriteFile { path, mode, representation } = action;
    let part = match mode {
        WriteMode::From { offset: 0 } => Some(Part::new(&mut guard, path, false).await?),
        _ => None,
    };
    Ok(Box::new(begin(guard, write_guard, path, *mode, *representation, part).await?))
}

pub(super) async fn begin(
    mut guard: ConnectionGuard,
    write_guard: WriteGuard,
    path: &RemotePath,
    mode: WriteMode,
    representation: Representation,
    mut part: Option<Part>,
) -> Result<FtpWrite, Failure> {
    guard.set_type(representation).await?;
    let temporary = part.as_ref().and_then(|part| part.temporary.as_ref());
    let written = match mode {
        WriteMode::Unique => Vec::new(),
        _ => guard.name(temporary.unwrap_or(path))?,
    };
    if temporary.is_none() && mode != WriteMode::Unique {
        let lease = Arc::new(guard.pool().account().lease(path).await);
        part.iter_mut().for_each(|part| part.lease = Some(lease.clone()));
    }
    let started = match mode {
        WriteMode::From { offset } => {
            data_connection::start(&mut guard, "STOR", Some(&written), offset).await
        }
        WriteMode::Append => data_connection::start(&mut guard, "APPE", Some(&written), 0).await,
        WriteMode::Unique => {
            // Wherever the server is: somebody else may have renamed that folder.
            if guard.home.is_known() {
                match guard.change_directory(path).await {
                    // Where the login has put an account, it need not be allowed to go.
                    Err(_) if guard.is_at_home(path) => guard.check()?,
                    can_enter => can_enter.map(drop)?,
                }
            } else if !path.is_root() {
                let what = "a file with a new name (STOU) can be made in that folder only";
                return Err(failures::unknown_home(what));
            }
            data_connection::start(&mut guard, "STOU", None, 0).await
        }
    };
    if let (Err(failure), Some(part)) = (&started, &part)
        && began_anyway(failure)
    {
        part.delete(&mut guard, path, Some(0)).await;
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
        (WriteMode::Append, Some(part)) => Some(part.synced),
        (WriteMode::Append, None) => None,
        (WriteMode::Unique, _) => Some(0),
    };
    // A file that this upload began, under a name that is known.
    if mode == WriteMode::Unique && path != *folder {
        let delete = guard.settings.partial_uploads == PartialUploads::Delete;
        let lease = Some(Arc::new(guard.pool().account().lease(&path).await));
        part = Some(Part { delete, lease, ..Part::default() });
    }
    Ok(FtpWrite {
        guard,
        sink: Some(Sink::Socket(stream)),
        stored: None,
        idle: Sink::Writer(Box::new(tokio::io::sink())),
        path,
        part,
        sent: None,
        base,
        _write_guard: write_guard,
    })
}

/// Whether the server may have begun the file although its transfer did not begin.
fn began_anyway(failure: &Failure) -> bool {
    use FailureKind as K;
    matches!(failure.kind, K::Unavailable | K::DataConnection | K::TransferCut | K::TimedOut)
}

/// RFC 1123 section 4.1.2.9: `150 FILE: name`. A server that does not say it leaves the folder.
fn unique_name(preliminary: &PeerReply, folder: &RemotePath, home: &Home) -> RemotePath {
    let text = preliminary.lines.concat();
    let name = text.windows(6).position(|w| w.eq_ignore_ascii_case(b"FILE: ")).map(|at| {
        let name = &text[at + 6..];
        name.strip_suffix(b"\"").unwrap_or(name).trim_ascii()
    });
    // An absolute one is in a folder that the session has no name for.
    let name = name.filter(|name| home.is_known() || !name.starts_with(b"/"));
    name.and_then(|name| RemotePath::resolve(folder, name).ok()).unwrap_or_else(|| folder.clone())
}

/// The end that means *complete*. Whether it was torn: the server closed its side without having
/// read all, or in a way that looks so. Under TLS that tells nothing; whether the server has it all,
/// its reply says.
async fn close(stream: Stream, limit: Duration) -> bool {
    let plain = !stream.is_tls();
    // As long as something is taken, however slowly, the end is on its way.
    let timer = StallTimer::new(limit, Some(stream.tcp()));
    let closing = stream.complete_and_read_to_end(Duration::MAX);
    let error = match timer.wait(closing).await {
        Ok(Ok(())) => return false,
        Ok(Err(error)) => RelayError::Sink(error),
        Err(stalled) => stalled,
    };
    tracing::debug!(%error, "closing the data connection to the backend");
    use io::ErrorKind as E;
    let torn = [E::ConnectionReset, E::BrokenPipe, E::NotConnected, E::ConnectionAborted];
    plain && matches!(error, RelayError::Sink(error) if torn.contains(&error.kind()))
}

impl FtpWrite {
    async fn complete(&mut self, whole: bool) -> Result<PeerReply, Failure> {
        let reply = self.store().await?;
        if whole && let Some(part) = self.part.take() {
            part.give_name(&mut self.guard, &self.path).await?;
        }
        // The client stored a file: the words about the rename would only puzzle it.
        Ok(reply)
    }

    /// Ends the transfer as *complete*, under the name that is written to.
    async fn store(&mut self) -> Result<PeerReply, Failure> {
        if let Some(reply) = &self.stored {
            return Ok(reply.clone());
        }
        // What is on its way must be out: behind a close some servers take what came for all.
        if let Err(e) = self.flush().await {
            let told = self.cut().await;
            return Err(told.unwrap_or_else(|| {
                Failure::backend(
                    FailureKind::TransferCut,
                    "the backend server did not take the end of the file",
                )
                .with_detail(e)
            }));
        }
        let early_reply = self.guard.reply_before_end()?;
        let torn = match self.sink.take() {
            Some(Sink::Socket(stream)) => close(stream, self.guard.settings.reply_timeout).await,
            _ => false,
        };
        let reply = self.guard.end_upload(early_reply, torn).await?;
        if torn {
            self.check_whole().await?;
        }
        self.stored = Some(reply.clone());
        Ok(reply)
    }

    /// Some servers say that they have a file although they left before its end; others have it all,
    /// and close with a reset. Where no size tells which, their word is taken.
    async fn check_whole(&mut self) -> Result<(), Failure> {
        let expected = self.base.zip(self.sent).map(|(base, sent)| base + sent);
        let Some(expected) = expected else { return Ok(()) };
        let temporary = self.part.as_ref().and_then(|part| part.temporary.as_ref());
        let written = temporary.unwrap_or(&self.path);
        match stat::reported_size(&mut self.guard, written).await {
            Ok(Some(size)) if size != expected => Err(Failure::backend(
                FailureKind::TransferCut,
                "the backend server broke the data connection off, and the file there is not as \
                 long as what was sent",
            )
            .with_detail(format!("{expected} bytes are expected, it has {size}"))),
            Ok(Some(_)) => Ok(()),
            told => {
                tracing::debug!(
                    ?told,
                    "the backend reset the data connection of an upload that it says it has; no size tells more"
                );
                Ok(())
            }
        }
    }

    pub(super) fn connection(&self) -> &ConnectionGuard {
        &self.guard
    }

    pub(super) fn part(&self) -> Option<Part> {
        self.part.clone()
    }

    /// The bytes of this transfer.
    pub(super) fn count(&mut self, bytes: usize) {
        self.sent = Some(self.sent.unwrap_or(0) + bytes as u64);
    }

    pub(super) fn counted(&self) -> u64 {
        self.sent.unwrap_or(0)
    }

    /// `whole`: the file gets its name; else it is gone on with later.
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

    async fn cut(&mut self) -> Option<Failure> {
        match self.sink.take() {
            Some(Sink::Socket(stream)) => abort::abort(&mut self.guard, stream).await,
            _ => {
                // The end was sent already: its answer must not be taken for the next one's.
                abort::await_reply(&mut self.guard).await;
                None
            }
        }
    }

    async fn delete_part(&mut self) {
        if let Some(part) = &self.part {
            part.delete(&mut self.guard, &self.path, self.sent).await;
        }
    }
}

#[async_trait]
impl WriteTransfer for FtpWrite {
    fn sink(&mut self) -> &mut Sink {
        self.sink.as_mut().unwrap_or(&mut self.idle)
    }

    fn path(&self) -> &RemotePath {
        &self.path
    }

    fn sent(&mut self, bytes: u64) {
        self.sent = Some(bytes);
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        let temporary = self.part.as_ref().is_some_and(|part| part.temporary.is_some());
        // Under its own name, the end of data makes the file whole.
        if temporary { self.store().await.map(drop) } else { Ok(()) }
    }

    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.end(true).await.map(Some)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        let told = self.cut().await;
        self.delete_part().await;
        told
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
    fn the_name_that_stou_chose() {
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
