//! The backend against a scripted server (see [`testing`](super::testing)).

mod connections;
mod drop_box;
mod links;
mod listing_times;
mod listings;
mod login_folder;
mod logins;
mod open_files;
mod overwrites;
mod partial_uploads;
mod passive;
mod permissions;
mod refused_commands;
mod renames;
mod resumes;
mod surplus;
mod times;
mod transfers;
mod uploads;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::testing::{Oddities, Server, login};
use super::*;
use crate::backend::PartialUploads;
use crate::op::{
    Action, Changes, FailureKind, ListDirectory, Onto, OpenHandle, OpenMode, ReadFile,
    Representation, WriteFile,
};

fn path(text: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), text.as_bytes()).expect("a path")
}

fn target<A: Action>(action: A) -> Target<A> {
    Target::for_test(action)
}

fn reading() -> OpenMode {
    OpenMode { read: true, ..OpenMode::default() }
}

/// How `sftp put` and most clients open a file for an upload.
fn replacing() -> OpenMode {
    OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() }
}

/// Continues an existing file.
fn continuing() -> OpenMode {
    OpenMode { write: true, create: true, ..OpenMode::default() }
}

async fn open(
    session: &dyn BackendSession,
    name: &str,
    mode: OpenMode,
) -> Result<Arc<dyn OpenFile>, Failure> {
    session.open(&target(OpenHandle { path: path(name), mode })).await
}

async fn stat(session: &dyn BackendSession, name: &str) -> Result<Entry, Failure> {
    match session.perform(&target(Operation::Stat(path(name)))).await? {
        Answer::Entry(entry) => Ok(entry),
        other => panic!("{other:?}"),
    }
}

async fn perform(session: &dyn BackendSession, operation: Operation) -> Result<Answer, Failure> {
    session.perform(&target(operation)).await
}

/// Like OpenSSH's sftp: 64 outstanding requests of 32 KiB.
async fn get(file: &dyn OpenFile) -> Result<Vec<u8>, Failure> {
    const BLOCK: u32 = 32 * 1024;
    let mut bytes = Vec::new();
    loop {
        let at = bytes.len() as u64;
        let reads = (0..64).map(|i| file.read_at(at + i * u64::from(BLOCK), BLOCK));
        for read in join_all(reads).await {
            match read? {
                Some(read) => bytes.extend(read),
                None => return Ok(bytes),
            }
        }
    }
}

async fn put(file: &dyn OpenFile, bytes: &[u8]) -> Result<(), Failure> {
    let blocks = bytes.chunks(32 * 1024).enumerate();
    let writes =
        blocks.map(|(i, block)| file.write_at(i as u64 * 32 * 1024, Bytes::copy_from_slice(block)));
    for written in join_all(writes).await {
        written?;
    }
    Ok(())
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 257) as u8).collect()
}

/// Announces a transfer as the front does, and waits for the server's reply.
async fn prepare_transfer(server: &Server, session: &dyn BackendSession) {
    let ports = server.count("EPSV");
    session.expect_transfer();
    while server.count("EPSV") == ports {
        tokio::task::yield_now().await;
    }
    server.wait_until_idle().await;
}

async fn download(session: &dyn BackendSession) -> Vec<u8> {
    let read = ReadFile { path: path("/a"), offset: 0, representation: Representation::Image };
    let mut transfer = session.open_read(&target(read)).await.unwrap();
    let crate::data::Source::Socket(stream) = transfer.source() else { panic!("no socket") };
    let mut all = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(stream, &mut all).await.unwrap();
    transfer.finish().await.unwrap();
    all
}

async fn login_with(server: &Server, policy: PartialUploads) -> Box<dyn BackendSession> {
    login(&server.backend_with(|settings| settings.partial_uploads = policy)).await
}

/// The names in a folder.
async fn names(session: &dyn BackendSession, folder: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut listing = session.list(&target(ListDirectory { path: path(folder) })).await?;
    let mut names = Vec::new();
    while let Some(entries) = listing.next().await? {
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    Ok(names)
}
