//! Keeps commands and replies in sync (RFC 959 section 5.4), also with servers that send surplus
//! replies: no reply may be taken for that of another command.

use super::connection::Connection;
use super::reply::unavailable;
use super::{reply, reply_codes};
use crate::op::{Failure, PeerReply};

/// The most surplus replies that are dropped at once.
const SURPLUS_REPLIES_MAX: usize = 16;

impl Connection {
    /// The last reply to a transfer, expected to be 2xx.
    pub(super) async fn end(&mut self, what: &str) -> Result<PeerReply, Failure> {
        self.end_verified(what, true).await
    }

    /// `nothing_follows`: this server is not known to send replies after the last one of a
    /// transfer.
    async fn end_verified(
        &mut self,
        what: &str,
        nothing_follows: bool,
    ) -> Result<PeerReply, Failure> {
        let ended = self.last_transfer_reply(nothing_follows).await;
        let ended = ended.and_then(|reply| reply::expect(2, what, reply));
        self.active = None;
        self.note_surplus();
        self.note_loss(ended)
    }

    /// As [`Connection::end`], for an upload whose data connection was just closed. `early_reply`:
    /// received before that. `reset`: the server had closed it first.
    pub(super) async fn end_upload(
        &mut self,
        early_reply: Option<PeerReply>,
        reset: bool,
    ) -> Result<PeerReply, Failure> {
        const WHAT: &str = "the end of the upload";
        let nothing_follows = self.server.upload_ends_verified.is_known();
        self.server.upload_ends_verified.note();
        let reply = match early_reply {
            Some(reply) if reply.code >= 400 => {
                self.control.settle();
                reply
            }
            // The server may be done, or an error reply may follow.
            Some(reply) if reset => {
                let refusal = self.refusal_before_marker().await;
                self.note_loss(refusal)?.unwrap_or(reply)
            }
            Some(reply) => {
                self.control.drop_surplus(reply);
                return self.end_verified(WHAT, nothing_follows).await;
            }
            None => return self.end_verified(WHAT, nothing_follows).await,
        };
        self.active = None;
        self.check_reply(2, WHAT, None, reply)
    }

    /// A success reply may belong to an earlier command. If in doubt, the marker is sent: replies
    /// before the one to the marker are about the transfer.
    async fn last_transfer_reply(&mut self, nothing_follows: bool) -> Result<PeerReply, Failure> {
        let mut last = self.control.reply().await?;
        for _ in 0..SURPLUS_REPLIES_MAX {
            let preliminary = last.code < 200;
            if last.code >= 400 || !preliminary && reply_codes::ends_transfer(last.code) {
                break;
            }
            let another = self.control.reply().await?;
            self.control.drop_surplus(std::mem::replace(&mut last, another));
        }
        let is_certain = nothing_follows
            && matches!(last.code, 226 | 250)
            && !self.server.surplus_replies.is_known();
        if last.code >= 400 || is_certain {
            return Ok(last);
        }
        Ok(self.refusal_before_marker().await?.unwrap_or(last))
    }

    /// A reply received before the upload's end was sent: the server has ended the transfer, or the
    /// reply belongs to an earlier command.
    pub(super) fn reply_before_end(&mut self) -> Result<Option<PeerReply>, Failure> {
        let mut early_reply: Option<PeerReply> = None;
        for _ in 0..SURPLUS_REPLIES_MAX {
            let Some(reply) = self.control.try_reply() else { break };
            let reply = self.note_loss(reply)?;
            // An error reply counts, whatever follows it.
            match &early_reply {
                Some(refusal) if refusal.code >= 400 => self.control.drop_surplus(reply),
                _ => early_reply
                    .replace(reply)
                    .into_iter()
                    .for_each(|s| self.control.drop_surplus(s)),
            }
        }
        Ok(early_reply)
    }

    /// Receives all replies that are still on their way.
    pub(super) async fn synchronize(&mut self) -> Result<(), Failure> {
        let reply = self.refusal_before_marker().await;
        self.note_loss(reply).map(drop)
    }

    /// The first error reply before the reply to the marker.
    async fn refusal_before_marker(&mut self) -> Result<Option<PeerReply>, Failure> {
        let marker = self.marker;
        self.control.send(marker.verb, self.marker_argument()).await?;
        let mut refusal = None;
        for _ in 0..SURPLUS_REPLIES_MAX {
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
        Err(unavailable(format!("out of sync: no reply to {}", marker.verb)))
    }

    /// Records that the server sends surplus replies.
    pub(super) fn note_surplus(&mut self) {
        let Some(reply) = self.control.take_surplus() else { return };
        tracing::debug!(%reply, "dropped a surplus reply");
        // A repeated greeting does not predict surplus replies after the login.
        if !self.logged_in {
            return;
        }
        if self.server.surplus_replies.note() {
            tracing::info!(
                server = %self.server.address,
                %reply,
                "the backend server sends surplus replies; they are dropped, and an extra command is \
                 sent where one could be taken for the reply to another command"
            );
        }
    }
}
