//! STOR, APPE and STOU (RFC 959), and what becomes of an upload that is cut.

use async_trait::async_trait;

use super::cache::Writer;
use super::{Turn, channel, operations, renames, transfer};
use crate::backend::{PartialUploads, WriteTransfer};
use crate::data::Sink;
use crate::op::{Failure, Operation, RemotePath, Representation, Words, WriteMode};

pub(super) struct FtpWrite {
    turn: Turn,
    /// `None` once it has ended one way or the other.
    sink: Option<Sink>,
    idle: Sink,
    path: RemotePath,
    /// The name that is written to, where it is not `path` itself.
    temporary: Option<RemotePath>,
    /// Whether a part is deleted: the upload began a file of its own and is configured so.
    delete_part: bool,
    /// Until it has ended, nothing is remembered of what is there.
    _writer: Writer,
}

pub(super) async fn open(
    turn: Turn,
    writer: Writer,
    operation: &Operation,
) -> Result<Box<dyn WriteTransfer>, Failure> {
    let Operation::Write { path, mode, representation } = operation else {
        return Err(operations::misdirected(operation));
    };
    Ok(Box::new(begin(turn, writer, path, *mode, *representation).await?))
}

pub(super) async fn begin(
    mut turn: Turn,
    writer: Writer,
    path: &RemotePath,
    mode: WriteMode,
    representation: Representation,
) -> Result<FtpWrite, Failure> {
    let whole = mode == WriteMode::From { offset: 0 };
    let policy = turn.settings.partial_uploads;
    let temporary = match policy {
        PartialUploads::TemporaryName if whole => Some(renames::temporary_name(path)?),
        _ => None,
    };
    turn.set_type(representation).await?;
    let written = temporary.as_ref().unwrap_or(path).as_bytes();
    let (stream, preliminary) = match mode {
        WriteMode::From { offset } => {
            channel::start(&mut turn, "STOR", Some(written), offset).await?
        }
        WriteMode::Append => channel::start(&mut turn, "APPE", Some(written), 0).await?,
        WriteMode::Unique => {
            turn.be_in(path).await?;
            channel::start(&mut turn, "STOU", None, 0).await?
        }
    };
    let folder = path;
    let path = match mode {
        WriteMode::Unique => unique_name(&preliminary, folder),
        _ => path.clone(),
    };
    // A file that this upload began, under a name that is known.
    let own = whole || (mode == WriteMode::Unique && path != *folder);
    Ok(FtpWrite {
        turn,
        sink: Some(Sink::Socket(stream)),
        idle: Sink::Writer(Box::new(tokio::io::sink())),
        path,
        temporary,
        delete_part: own && policy == PartialUploads::Delete,
        _writer: writer,
    })
}

/// RFC 1123 section 4.1.2.9: `150 FILE: name`. A server that does not say it leaves the folder.
fn unique_name(preliminary: &Words, folder: &RemotePath) -> RemotePath {
    let text = preliminary.lines.concat();
    let name = text.windows(6).position(|w| w.eq_ignore_ascii_case(b"FILE: ")).map(|at| {
        let name = &text[at + 6..];
        name.strip_suffix(b"\"").unwrap_or(name).trim_ascii()
    });
    name.and_then(|name| RemotePath::resolve(folder, name).ok()).unwrap_or_else(|| folder.clone())
}

impl FtpWrite {
    async fn complete(&mut self) -> Result<Words, Failure> {
        if let Some(Sink::Socket(stream)) = self.sink.take() {
            // Whether the server has it all, its reply says.
            if let Err(e) = stream.complete_and_drain(self.turn.settings.reply_timeout).await {
                tracing::debug!(error = %e, "closing the data connection to the backend");
            }
        }
        let words = self.turn.reply(2, "the end of the upload").await?;
        if let Some(temporary) = self.temporary.take() {
            renames::replace(&mut self.turn, &temporary, &self.path).await?;
        }
        // The client stored a file: the words about the rename would only puzzle it.
        Ok(words)
    }

    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Whether it is being written under another name.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    async fn delete_part(&mut self) {
        if !self.delete_part {
            return;
        }
        let deleted = match self.turn.check() {
            Ok(()) => self.turn.expect(2, "DELE", Some(self.path.as_bytes())).await.map(drop),
            lost => lost,
        };
        if let Err(failure) = deleted {
            tracing::warn!(path = %self.path, %failure, "the part of a cut upload stays");
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

    async fn finish(mut self: Box<Self>) -> Result<Option<Words>, Failure> {
        match self.complete().await {
            Ok(words) => Ok(Some(words)),
            Err(failure) => {
                self.delete_part().await;
                Err(failure)
            }
        }
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        let Some(Sink::Socket(stream)) = self.sink.take() else { return None };
        let told = transfer::abort(&mut self.turn, stream).await;
        self.delete_part().await;
        told
    }
}

impl Drop for FtpWrite {
    fn drop(&mut self) {
        if self.sink.is_some() {
            self.turn.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_stou_chose() {
        let folder = RemotePath::resolve(&RemotePath::root(), b"/in").unwrap();
        for (text, expected) in [
            ("FILE: stou.1", "/in/stou.1"),
            ("Opening BINARY mode data connection, file: x y", "/in/x y"),
            ("FILE: /in/abs.1", "/in/abs.1"),
            ("Ok to send data.", "/in"),
        ] {
            let words = Words { code: 150, lines: vec![text.into()] };
            assert_eq!(unique_name(&words, &folder).to_string(), expected);
        }
    }
}
