//! RNFR, RNTO, DELE, MKD, RMD (RFC 959 section 4.1.3), SITE CHMOD.

use super::Outcome;
use crate::front::ftp::client::{Client, Flow};
use crate::op::{Answer, Changes, Failure, Onto, Operation, PeerReply};

impl Client {
    pub(super) async fn rnfr(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let logged_in = self.logged_in()?;
        logged_in.session.perform(Operation::RenameFrom(path.clone())).await?;
        logged_in.rename_from = Some(path);
        self.answer(350, "RNTO with the new name").await;
        Ok(Flow::Continue)
    }

    pub(super) async fn rnto(&mut self, given: &[u8]) -> Outcome {
        let Some(from) = self.logged_in()?.rename_from.take() else {
            self.answer(503, "RNFR first").await;
            return Ok(Flow::Continue);
        };
        let to = self.path(given)?;
        self.change(Operation::Rename { from, to, onto: Onto::AsBackend }, "renamed").await
    }

    pub(super) async fn dele(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        self.change(Operation::Remove(path), "deleted").await
    }

    pub(super) async fn rmd(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        self.change(Operation::RemoveDirectory(path), "directory removed").await
    }

    pub(super) async fn mkd(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        // The backend's 257 would name the path as it is there.
        let operation = Operation::MakeDirectory { path: path.clone(), permissions: None };
        self.logged_in()?.session.perform(operation).await?;
        self.answer_path(&path, b" created").await;
        Ok(Flow::Continue)
    }

    pub(super) async fn chmod(&mut self, mode: u32, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let changes = Changes::permissions(mode);
        let words = self.done(Operation::SetAttributes { path, changes, follow: true }).await?;
        self.answer_with(200, "permissions set", words).await;
        Ok(Flow::Continue)
    }

    async fn change(&mut self, operation: Operation, text: &str) -> Outcome {
        let words = self.done(operation).await?;
        self.answer_with(250, text, words).await;
        Ok(Flow::Continue)
    }

    async fn done(&mut self, operation: Operation) -> Result<Option<PeerReply>, Failure> {
        match self.logged_in()?.session.perform(operation).await? {
            Answer::Done(words) => Ok(words),
            _ => Ok(None),
        }
    }
}
