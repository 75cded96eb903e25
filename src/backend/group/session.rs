//! A session at one server of a backend, which counts there until it ends.

use std::sync::Arc;

use async_trait::async_trait;

use super::resumable::ResumeNote;
use super::server::Place;
use crate::backend::{
    BackendSession, CommandRelay, Home, Listing, OpenFile, ReadTransfer, WriteTransfer,
};
use crate::net::Peer;
use crate::op::{
    Abilities, Answer, Failure, ListDirectory, OpenHandle, Operation, ReadFile, WriteFile,
};
use crate::route::Target;

pub(super) struct GroupSession {
    session: Box<dyn BackendSession>,
    note: Option<Arc<ResumeNote>>,
    #[expect(dead_code, reason = "counts until dropped")]
    place: Place,
}

impl GroupSession {
    pub(super) fn new(
        session: Box<dyn BackendSession>,
        place: Place,
        note: Option<Arc<ResumeNote>>,
    ) -> Self {
        Self { session, note, place }
    }
}

#[async_trait]
impl BackendSession for GroupSession {
    fn home(&self) -> Home {
        self.session.home()
    }

    fn abilities(&self) -> Abilities {
        self.session.abilities()
    }

    fn peer(&self) -> Option<Peer> {
        self.session.peer()
    }

    fn resume_note(&self) -> Option<Arc<ResumeNote>> {
        self.note.clone()
    }

    fn relay(&self) -> Option<&dyn CommandRelay> {
        self.session.relay()
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        self.session.perform(target).await
    }

    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        self.session.list(target).await
    }

    async fn open_read(&self, target: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        self.session.open_read(target).await
    }

    async fn open_write(
        &self,
        target: &Target<WriteFile>,
    ) -> Result<Box<dyn WriteTransfer>, Failure> {
        self.session.open_write(target).await
    }

    fn expect_many(&self) {
        self.session.expect_many();
    }

    fn expect_exact_times(&self) {
        self.session.expect_exact_times();
    }

    fn expect_transfer(&self) {
        self.session.expect_transfer();
    }

    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        self.session.open(target).await
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
