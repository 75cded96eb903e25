//! Folders: OPENDIR, READDIR, CLOSE (draft-ietf-secsh-filexfer-02 section 6.7).

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::attributes::listed;
use super::operations::misdirected;
use super::requests::Answer;
use super::server::{Server, wire};
use super::status::Expect;
use crate::backend::Listing;
use crate::op::{Entry, Failure, Operation, RemotePath, Timestamp};
use crate::wire::sftp::RequestBody;

/// Entries of one batch.
const BATCH: usize = 256;
/// READDIRs under way: OpenSSH answers each with a hundred names.
const AHEAD: usize = 4;

struct SftpListing {
    server: Arc<Server>,
    path: RemotePath,
    /// `None` once it is closed.
    handle: Option<Bytes>,
    asked: VecDeque<Answer>,
    entries: VecDeque<Entry>,
}

pub(super) async fn open(
    server: &Arc<Server>,
    operation: &Operation,
) -> Result<Box<dyn Listing>, Failure> {
    let Operation::List(path) = operation else { return Err(misdirected(operation)) };
    let opened = server.requests.ask(RequestBody::OpenDir { path: wire(path) }).await?;
    let handle = opened.handle(operation)?;
    let mut listing = SftpListing {
        server: server.clone(),
        path: path.clone(),
        handle: Some(handle),
        asked: VecDeque::new(),
        entries: VecDeque::new(),
    };
    listing.ask();
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

    fn close(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.server.requests.tell(RequestBody::Close { handle });
        }
        self.asked.clear();
    }
}

#[async_trait]
impl Listing for SftpListing {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        while self.entries.is_empty() {
            self.ask();
            let Some(answer) = self.asked.pop_front() else { return Ok(None) };
            let names = match answer.await {
                Ok(answer) => answer.names(format_args!("list {}", self.path)),
                Err(failure) => Err(failure),
            };
            match names {
                Ok(Some(names)) => {
                    let now = Timestamp::now();
                    self.entries.extend(names.iter().filter_map(|name| listed(name, now)));
                }
                Ok(None) => self.close(),
                Err(failure) => {
                    self.close();
                    return Err(failure);
                }
            }
        }
        self.ask();
        let count = self.entries.len().min(BATCH);
        Ok(Some(self.entries.drain(..count).collect()))
    }

    async fn abort(mut self: Box<Self>) {
        self.close();
    }
}

impl Drop for SftpListing {
    fn drop(&mut self) {
        self.close();
    }
}
