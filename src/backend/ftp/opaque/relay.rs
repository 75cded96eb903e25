//! One relayed command and its reply (RFC 959 section 5.4).

use crate::backend::ftp::connection::Connection;
use crate::op::{Failure, FailureKind, PeerReply};

impl Connection {
    /// Relays a command without data; returns the server's 2xx or 3xx reply, whatever that means for this command.
    pub(super) async fn relay(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        self.check()?;
        self.active = None;
        let replied = self.control.relay(verb, argument).await;
        let reply = self.note_loss(replied)?;
        match reply.code {
            200..=399 => Ok(reply),
            400..=599 => self.check_reply(2, verb, argument, reply),
            // More would follow, and perhaps data on a connection that nobody has made.
            100..=199 => Err(self.lose(format!(
                "the backend server began a transfer for {verb}, which the gateway does not know as one; the \
                 session cannot go on"
            ), &reply)),
            _ => Err(self.lose(format!(
                "the backend server answered {verb} with a code that the gateway does not know; the session \
                 cannot go on"
            ), &reply)),
        }
    }

    fn lose(&mut self, message: String, reply: &PeerReply) -> Failure {
        self.give_up();
        Failure::backend(FailureKind::Unavailable, message)
            .with_detail(format_args!("it answered {reply}"))
    }
}
