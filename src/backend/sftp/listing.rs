//! Folders: OPENDIR, READDIR, CLOSE (draft-ietf-secsh-filexfer-02 section 6.7).

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::attributes::{is_itself, listed};

use super::requests::Answer;
use super::server::Server;
use super::status::Expect;
use crate::backend::Listing;
use crate::op::{Entry, Failure, FailureKind, ListFolder, RemotePath, Timestamp};
use crate::wire::sftp::RequestBody;

/// Entries of one batch.
const BATCH: usize = 256;
/// READDIRs under way: OpenSSH answers each with a hundred names.
const AHEAD: usize = 4;
/// Answers in a row that may be without an entry other than `.` and `..`.
const EMPTY: usize = 16;

struct SftpListing {
    server: Arc<Server>,
    path: RemotePath,
    /// `None` once it is closed.
    handle: Option<Bytes>,
    asked: VecDeque<Answer>,
    /// Answers in a row without an entry.
    empty: usize,
    entries: VecDeque<Entry>,
}

pub(super) async fn open(
    server: &Arc<Server>,
    action: &ListFolder,
) -> Result<Box<dyn Listing>, Failure> {
    let path = &action.path;
    let opened = server.requests.ask(RequestBody::OpenDir { path: server.wire(path) }).await?;
    let handle = opened.handle(format_args!("list {path}"))?;
    let mut listing = SftpListing {
        server: server.clone(),
        path: path.clone(),
        handle: Some(handle),
        asked: VecDeque::new(),
        empty: 0,
        entries: VecDeque::new(),
    };
    listing.ask();
    // Some servers open what is no folder, and say so only now.
    listing.take().await?;
    Ok(Box::new(listing))
}

impl SftpListing {
    fn ask(&mut self) {
        let Some(handle) = &self.handle else { return };
        while self.asked.len() < AHEAD {
            let body = RequestBody::ReadDir { handle: handle.clone() };
            self.asked.push_back(self.server.requests.ask(body));
        }
    }

    /// Takes the next answer; `false` when none is to come.
    async fn take(&mut self) -> Result<bool, Failure> {
        let Some(answer) = self.asked.pop_front() else { return Ok(false) };
        let names = match answer.await {
            Ok(answer) => answer.names(format_args!("list {}", self.path)),
            Err(failure) => Err(failure),
        };
        match names {
            Ok(Some(names)) => {
                let now = Timestamp::now();
                let before = self.entries.len();
                self.entries.extend(names.iter().filter_map(|name| listed(name, now)));
                let any = self.entries.iter().skip(before).any(|entry| !is_itself(&entry.name));
                self.empty = if any { 0 } else { self.empty + 1 };
            }
            // What was asked beside it may still bring names.
            Ok(None) => self.close(),
            // The end was said before; to what came behind it servers say what they like.
            Err(failure) if self.handle.is_none() && failure.status.is_some() => {}
            Err(failure) => {
                self.abandon();
                return Err(failure);
            }
        }
        if self.empty > EMPTY {
            self.abandon();
            let message = format_args!(
                "cannot list {}: the backend server answers without names and without an end",
                self.path
            );
            return Err(Failure::backend(FailureKind::Internal, message));
        }
        Ok(true)
    }

    fn close(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.server.requests.tell(RequestBody::Close { handle });
        }
    }

    fn abandon(&mut self) {
        self.close();
        self.asked.clear();
    }
}

#[async_trait]
impl Listing for SftpListing {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        // `.` and `..` alone are no sign that the server will come to an end.
        while self.entries.iter().all(|entry| is_itself(&entry.name)) {
            self.ask();
            if !self.take().await? {
                break;
            }
        }
        if self.entries.is_empty() {
            return Ok(None);
        }
        self.ask();
        let count = self.entries.len().min(BATCH);
        Ok(Some(self.entries.drain(..count).collect()))
    }

    async fn abort(mut self: Box<Self>) {
        self.abandon();
    }
}

impl Drop for SftpListing {
    fn drop(&mut self) {
        self.close();
    }
}
