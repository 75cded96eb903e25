//! The end of a channel: complete requests are finished, open files and directories are closed.

use std::time::Duration;

use futures_util::StreamExt;
use russh::Disconnect;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout, timeout_at};

use super::{CLOSE_TIMEOUT, Channel, End};
use crate::front::sftp::budget::Budget;
use crate::front::sftp::connection::CHANNEL_END_TIMEOUT;
use crate::front::sftp::response_queue::ResponseQueue;
use crate::op::{Failure, FailureKind, Fault};
use crate::session::SessionEnd;
use crate::task::poll_once;

/// The part of [`CHANNEL_END_TIMEOUT`] that is reserved for open files and directories.
const HANDLES_END_TIMEOUT: Duration = Duration::from_secs(3);
const STALLED: &str = "the client accepted no response in time (limits.stall_timeout)";

impl Channel {
    pub(super) async fn finish(mut self, end: End) {
        let deadline = Instant::now() + CHANNEL_END_TIMEOUT;
        let answered = !matches!(end, End::Stalled | End::Unsent) && self.has_answered_all();
        self.close(&end).await;
        self.discard_responses();
        let rest = async {
            if !matches!(end, End::Forced) {
                self.finish_received().await;
            }
            // Running requests finish, so that the backend's session stays in sync.
            while let Some((id, usage, outcome)) = self.running.next().await {
                self.finish_request(id, usage, outcome);
            }
        };
        // Requests that are late are dropped.
        let _ = timeout_at(deadline - HANDLES_END_TIMEOUT, rest).await;
        self.running.clear();
        // Files that are dropped count as aborted, too.
        let failure = self.failure(&end);
        let _ = timeout_at(deadline, self.requests.abandon(&failure, answered)).await;
    }

    /// Why files and directories end without CLOSE.
    fn failure(&self, end: &End) -> Failure {
        let left_open = "the client closed the channel and left the file open";
        let aborted = |reason: &str| Failure::client(FailureKind::Aborted, reason);
        match end {
            End::Stalled => aborted(STALLED),
            End::ProtocolError(reason) => aborted(reason),
            End::Done | End::Closed | End::Unsent | End::Forced => {
                match self.connection.client_info.end.get() {
                    Some(end) => end.failure(),
                    None => aborted(left_open),
                }
            }
        }
    }

    /// Closes the channel towards the client, and logs why unless the client has closed it.
    async fn close(&mut self, end: &End) {
        let status = match end {
            End::Done => Some(0),
            End::ProtocolError(reason) => {
                tracing::warn!(reason, "SFTP channel ended");
                Some(1)
            }
            End::Stalled => {
                let reason = STALLED;
                tracing::warn!(reason, "SFTP channel ended");
                // Other channels of the connection may not be affected.
                if self.channels() > 1 {
                    let _ = timeout(CLOSE_TIMEOUT, self.write.close()).await;
                } else {
                    let end = SessionEnd::by(Fault::Client, reason);
                    self.connection.end(Disconnect::ConnectionLost, end);
                }
                None
            }
            End::Closed | End::Unsent | End::Forced => None,
        };
        if let Some(status) = status {
            let _ = timeout(CLOSE_TIMEOUT, self.send_exit_status(status)).await;
        }
    }

    async fn send_exit_status(&mut self, status: u32) -> Option<()> {
        if let Some(sending) = &mut self.sending {
            sending.await.ok()?;
        }
        self.write.exit_status(status).await.ok()?;
        self.write.eof().await.ok()?;
        self.write.close().await.ok()
    }

    /// Drops unsent responses, which then use no budget.
    fn discard_responses(&mut self) {
        self.discards_responses = true;
        self.sending = None;
        self.responses = ResponseQueue::default();
        self.budget = Budget::used_by(self.running.iter().map(|running| running.usage));
    }

    /// Finishes the requests that were complete before the end, within the budget: a client that
    /// has sent CLOSE need not wait for the response.
    async fn finish_received(&mut self) {
        loop {
            self.receive_rest();
            match self.queue.next_without_response(&self.budget, self.channels()) {
                Some((request, usage)) => {
                    self.start(request, usage).await;
                    // Requests that finish at once must not keep the thread from other tasks.
                    consume_budget().await;
                }
                None => match self.running.next().await {
                    Some((id, usage, outcome)) => self.finish_request(id, usage, outcome),
                    None => return,
                },
            }
        }
    }

    fn receive_rest(&mut self) {
        while self.wants_input()
            && let Some(message) = poll_once(self.read.wait())
        {
            self.eof |= self.receive(message).is_err();
        }
    }

    /// Whether every request is finished, and every response was sent.
    fn has_answered_all(&mut self) -> bool {
        if let Some(sending) = &mut self.sending {
            let sent = poll_once(sending.as_mut());
            if sent.is_some() {
                self.sending = None;
            }
            if !matches!(sent, Some(Ok(_))) {
                return false;
            }
        }
        self.running.is_empty() && self.responses.is_empty()
    }
}
