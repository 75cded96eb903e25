//! Directories: OPENDIR, READDIR, CLOSE (draft-ietf-secsh-filexfer-02 section 6.7).

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::attributes::{is_dot_entry, listed};
use super::requests::PendingResponse;
use super::server::Server;
use super::status::Expect;
use crate::backend::Listing;
use crate::op::{Entry, Failure, FailureKind, ListDirectory, RemotePath, Timestamp};
use crate::wire::sftp::RequestBody;

/// Entries of one batch.
const MAX_BATCH: usize = 256;
/// READDIRs in flight: OpenSSH answers each with a hundred names.
const MAX_PENDING: usize = 4;
/// Responses in a row without an entry other than `.` and `..`.
const MAX_EMPTY_RESPONSES: usize = 16;

struct SftpListing {
    server: Arc<Server>,
    path: RemotePath,
    /// `None` once it is closed.
    handle: Option<Bytes>,
    pending: VecDeque<PendingResponse>,
    /// Responses in a row without an entry.
    empty: usize,
    entries: VecDeque<Entry>,
}

pub(super) async fn open(
    server: &Arc<Server>,
    action: &ListDirectory,
) -> Result<Box<dyn Listing>, Failure> {
    let path = &action.path;
    let opened =
        server.requests.send(RequestBody::OpenDir { path: server.wire_path(path) }).await?;
    let handle = opened.handle(format_args!("list {path}"))?;
    let mut listing = SftpListing {
        server: server.clone(),
        path: path.clone(),
        handle: Some(handle),
        pending: VecDeque::new(),
        empty: 0,
        entries: VecDeque::new(),
    };
    listing.send_reads();
    // Some servers open what is not a directory, and refuse only the first READDIR.
    listing.receive().await?;
    Ok(Box::new(listing))
}

impl SftpListing {
    fn send_reads(&mut self) {
        let Some(handle) = &self.handle else { return };
        while self.pending.len() < MAX_PENDING {
            let body = RequestBody::ReadDir { handle: handle.clone() };
            self.pending.push_back(self.server.requests.send(body));
        }
    }

    /// Takes the next response; `false` when none is pending.
    async fn receive(&mut self) -> Result<bool, Failure> {
        let Some(response) = self.pending.pop_front() else { return Ok(false) };
        let names = match response.await {
            Ok(response) => response.names(format_args!("list {}", self.path)),
            Err(failure) => Err(failure),
        };
        match names {
            Ok(Some(names)) => {
                let now = Timestamp::now();
                let before = self.entries.len();
                self.entries.extend(names.iter().filter_map(|name| listed(name, now)));
                let any = self.entries.iter().skip(before).any(|entry| !is_dot_entry(&entry.name));
                self.empty = if any { 0 } else { self.empty + 1 };
            }
            // The other pending READDIRs may still bring names.
            Ok(None) => self.close(),
            // After the end, servers answer the remaining READDIRs as they like.
            Err(failure) if self.handle.is_none() && failure.status.is_some() => {}
            Err(failure) => {
                self.abandon();
                return Err(failure);
            }
        }
        if self.empty > MAX_EMPTY_RESPONSES {
            self.abandon();
            let message = format_args!(
                "cannot list {}: the backend server sends neither names nor an end",
                self.path
            );
            return Err(Failure::backend(FailureKind::Internal, message));
        }
        Ok(true)
    }

    fn close(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.server.requests.send_and_forget(RequestBody::Close { handle });
        }
    }

    fn abandon(&mut self) {
        self.close();
        self.pending.clear();
    }
}

#[async_trait]
impl Listing for SftpListing {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        // With `.` and `..` alone, the server need not ever come to an end.
        while self.entries.iter().all(|entry| is_dot_entry(&entry.name)) {
            self.send_reads();
            if !self.receive().await? {
                break;
            }
        }
        if self.entries.is_empty() {
            return Ok(None);
        }
        self.send_reads();
        let count = self.entries.len().min(MAX_BATCH);
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
