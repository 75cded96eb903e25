//! Both sides of a control connection stay in step where a server says more than it was asked: nothing may
//! be taken for the answer to something else.

use super::connection::Connection;
use super::reply::unavailable;
use super::{reply, reply_codes};
use crate::op::{Failure, PeerReply};

/// The most replies that are dropped at once.
const MAX_SURPLUS: usize = 16;

impl Connection {
    /// The last reply to a transfer, which is to be 2xx.
    pub(super) async fn end(&mut self, what: &str) -> Result<PeerReply, Failure> {
        self.end_checked(what, true).await
    }

    /// `checked`: nothing is known to come behind the ends of this server's transfers.
    async fn end_checked(&mut self, what: &str, checked: bool) -> Result<PeerReply, Failure> {
        let ended = self.transfer_end(checked).await;
        let ended = ended.and_then(|reply| reply::expect(2, what, reply));
        self.active = None;
        self.note_surplus();
        self.note_loss(ended)
    }

    /// As [`Connection::end`], of an upload whose data connection was closed just now. `early`: what the
    /// server had said before. `torn`: it had left before the end.
    pub(super) async fn end_upload(
        &mut self,
        early_reply: Option<PeerReply>,
        torn: bool,
    ) -> Result<PeerReply, Failure> {
        const WHAT: &str = "the end of the upload";
        let checked = self.server.uploads_checked.is_known();
        self.server.uploads_checked.note();
        let reply = match early_reply {
            Some(reply) if reply.code >= 400 => {
                self.control.settle();
                reply
            }
            // It may have said all that it has to say, or has the refusal still to come.
            Some(reply) if torn => {
                let refusal = self.said_before_marker().await;
                self.note_loss(refusal)?.unwrap_or(reply)
            }
            Some(reply) => {
                self.control.drop_surplus(reply);
                return self.end_checked(WHAT, checked).await;
            }
            None => return self.end_checked(WHAT, checked).await,
        };
        self.active = None;
        self.check_reply(2, WHAT, None, reply)
    }

    /// Nothing may be taken for the success of a transfer that belongs to something before it. Where
    /// that could be, a question follows: what is answered before it is about the transfer.
    async fn transfer_end(&mut self, checked: bool) -> Result<PeerReply, Failure> {
        let mut last = self.control.reply().await?;
        for _ in 0..MAX_SURPLUS {
            let preliminary = last.code < 200;
            if last.code >= 400 || !preliminary && reply_codes::ends_transfer(last.code) {
                break;
            }
            let another = self.control.reply().await?;
            self.control.drop_surplus(std::mem::replace(&mut last, another));
        }
        let beyond_doubt =
            checked && matches!(last.code, 226 | 250) && !self.server.surplus_replies.is_known();
        if last.code >= 400 || beyond_doubt {
            return Ok(last);
        }
        Ok(self.said_before_marker().await?.unwrap_or(last))
    }

    /// What the server says of an upload whose end was not sent yet: it may have left, or what it says
    /// is about something before.
    pub(super) fn reply_before_end(&mut self) -> Result<Option<PeerReply>, Failure> {
        let mut early_reply: Option<PeerReply> = None;
        for _ in 0..MAX_SURPLUS {
            let Some(said) = self.control.reply_at_hand() else { break };
            let said = self.note_loss(said)?;
            // A refusal stays one, whatever is said behind it.
            match &early_reply {
                Some(refusal) if refusal.code >= 400 => self.control.drop_surplus(said),
                _ => {
                    early_reply.replace(said).into_iter().for_each(|s| self.control.drop_surplus(s))
                }
            }
        }
        Ok(early_reply)
    }

    /// Whatever is still under way from the server is taken.
    pub(super) async fn synchronize(&mut self) -> Result<(), Failure> {
        let said = self.said_before_marker().await;
        self.note_loss(said).map(drop)
    }

    /// The first refusal before the answer to the marker.
    async fn said_before_marker(&mut self) -> Result<Option<PeerReply>, Failure> {
        let marker = self.marker;
        self.control.send(marker.verb, self.marker_argument()).await?;
        let mut refusal = None;
        for _ in 0..MAX_SURPLUS {
            let reply = self.control.reply().await?;
            match reply.code {
                421 => return Err(reply::failure("the backend closed the session", reply)),
                code if code == marker.code => {
                    self.control.settle();
                    return Ok(refusal);
                }
                400.. => drop(refusal.get_or_insert(reply)),
                _ => self.control.drop_surplus(reply),
            }
        }
        Err(unavailable(format!("out of step: no answer to {}", marker.verb)))
    }

    /// Remembers of the server what was dropped.
    pub(super) fn note_surplus(&mut self) {
        let Some(reply) = self.control.take_surplus() else { return };
        tracing::debug!(%reply, "a reply that nothing asked for was dropped");
        // A greeting of two replies says nothing about what comes behind the login.
        if !self.logged_in {
            return;
        }
        if self.server.surplus_replies.note() {
            tracing::info!(
                backend = %self.settings.name,
                server = %self.server.address,
                reply = %reply,
                "the backend server sends more replies than it has commands; they are dropped, and \
                 a question is asked in between where one could be taken for another"
            );
        }
    }
}
