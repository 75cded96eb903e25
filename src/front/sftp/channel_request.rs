//! The request that starts something on a session channel (RFC 4254 section 6.5): SFTP, or a
//! program, which is refused.

use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

pub(super) const SUBSYSTEM: &str = "sftp";

const ONLY_SFTP: &[u8] = b"this server offers only SFTP\r\n";
/// SSH_EXTENDED_DATA_STDERR (RFC 4254 section 5.2).
const STDERR: u32 = 1;
/// Between the message and the refusal: OpenSSH's client does not print a message that comes with
/// the refusal.
const MESSAGE_DELAY: Duration = Duration::from_millis(100);

pub(super) enum ChannelRequest {
    Sftp,
    /// A shell or a command.
    Program,
    /// The channel is closed first.
    Closed,
}

/// Waits for the request; `handler` replies to all others.
pub(super) async fn next_request(read: &mut ChannelReadHalf) -> ChannelRequest {
    loop {
        match read.wait().await {
            Some(ChannelMsg::RequestSubsystem { name, .. }) if name == SUBSYSTEM => {
                return ChannelRequest::Sftp;
            }
            Some(ChannelMsg::Exec { .. } | ChannelMsg::RequestShell { .. }) => {
                return ChannelRequest::Program;
            }
            Some(ChannelMsg::Close) | None => return ChannelRequest::Closed,
            Some(_) => {}
        }
    }
}

/// Refuses a program with a message that clients print.
pub(super) async fn refuse_program(write: &ChannelWriteHalf<Msg>, handle: &Handle) -> Option<()> {
    write.extended_data_bytes(STDERR, ONLY_SFTP).await.ok()?;
    tokio::time::sleep(MESSAGE_DELAY).await;
    handle.channel_failure(write.id()).await.ok()?;
    write.exit_status(1).await.ok()?;
    write.eof().await.ok()?;
    write.close().await.ok()
}
