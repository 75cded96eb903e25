//! What a session channel is opened for (RFC 4254 section 6.5): SFTP, or what is refused.

use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

pub(super) const SUBSYSTEM: &str = "sftp";

const ONLY_SFTP: &[u8] = b"this server offers only SFTP\r\n";
const STDERR: u32 = 1;
/// From that line to the refusal.
const READING: Duration = Duration::from_millis(100);

/// What a channel is for.
pub(super) enum ChannelRequest {
    Sftp,
    /// A shell or a command.
    Program,
    /// The channel ends before.
    Nothing,
}

/// What a client starts on a channel; what else it asks for russh's handler answers.
pub(super) async fn asked(read: &mut ChannelReadHalf) -> ChannelRequest {
    loop {
        match read.wait().await {
            Some(ChannelMsg::RequestSubsystem { name, .. }) if name == SUBSYSTEM => {
                return ChannelRequest::Sftp;
            }
            Some(ChannelMsg::Exec { .. } | ChannelMsg::RequestShell { .. }) => {
                return ChannelRequest::Program;
            }
            Some(ChannelMsg::Close) | None => return ChannelRequest::Nothing,
            Some(_) => {}
        }
    }
}

/// Says why where people read it, which OpenSSH's client does not show when the refusal comes at once.
pub(super) async fn refuse_program(write: &ChannelWriteHalf<Msg>, handle: &Handle) -> Option<()> {
    write.extended_data_bytes(STDERR, ONLY_SFTP).await.ok()?;
    tokio::time::sleep(READING).await;
    handle.channel_failure(write.id()).await.ok()?;
    write.exit_status(1).await.ok()?;
    write.eof().await.ok()?;
    write.close().await.ok()
}
