//! RNFR, RNTO, DELE, MKD, RMD (RFC 959 section 4.1.3), SITE CHMOD.

use super::Outcome;
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::Flow;
use crate::front::ftp::reply::Reply;
use crate::op::{Answer, Changes, Failure, Onto, Operation, PeerReply};

impl Client {
    pub(super) async fn rnfr(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let logged_in = self.logged_in()?;
        logged_in.session.perform(Operation::RenameFrom(path.clone())).await?;
        logged_in.rename_from = Some(path);
        self.reply(Reply::READY_FOR_RNTO).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn rnto(&mut self, given: &[u8]) -> Outcome {
        let Some(from) = self.logged_in()?.rename_from.take() else {
            self.reply(Reply::NO_RNFR).await;
            return Ok(Flow::Continue);
        };
        let to = self.path(given)?;
        self.change(Operation::Rename { from, to, onto: Onto::AsBackend }, Reply::RENAMED).await
    }

    pub(super) async fn dele(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        self.change(Operation::Remove(path), Reply::DELETED).await
    }

    pub(super) async fn rmd(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        self.change(Operation::RemoveDirectory(path), Reply::DIRECTORY_REMOVED).await
    }

    pub(super) async fn mkd(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        // The backend's own 257 may name another path.
        let operation = Operation::MakeDirectory { path: path.clone(), permissions: None };
        self.logged_in()?.session.perform(operation).await?;
        self.reply_path(&path, b" created").await;
        Ok(Flow::Continue)
    }

    pub(super) async fn chmod(&mut self, mode: u32, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let changes = Changes::permissions(mode);
        let reply = self.done(Operation::SetAttributes { path, changes, follow: true }).await?;
        self.reply_done(Reply::CHMOD, reply).await;
        Ok(Flow::Continue)
    }

    async fn change(&mut self, operation: Operation, own: Reply) -> Outcome {
        let reply = self.done(operation).await?;
        self.reply_done(own, reply).await;
        Ok(Flow::Continue)
    }

    async fn done(&mut self, operation: Operation) -> Result<Option<PeerReply>, Failure> {
        match self.logged_in()?.session.perform(operation).await? {
            Answer::Done(reply) => Ok(reply),
            _ => Ok(None),
        }
    }
}
