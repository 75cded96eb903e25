//! Sessions at opaque servers: commands and replies are relayed (RFC 959), FEAT (RFC 2389) is combined.

use super::Outcome;
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::Flow;
use crate::op::{FailureKind, PeerReply};
use crate::session::RelayedDownload;
use crate::wire::ftp::relayed::{Data, RelayedCommand};

/// Features that are no commands.
const OTHER_FEATURES: [&str; 3] = ["REST STREAM", "TVFS", "UTF8"];

impl Client {
    /// Relays a command, with a data connection of each side where it needs one.
    pub(in crate::front::ftp) async fn relay(&mut self, command: RelayedCommand) -> Flow {
        let is_rename_from = command.verb() == "RNFR";
        let argument = command.argument().map(<[u8]>::to_vec);
        let outcome = self.relay_prepared(command).await;
        if is_rename_from
            && outcome.is_ok()
            && let Ok(logged_in) = self.logged_in()
        {
            logged_in.relayed.rename_from = argument;
        }
        match outcome {
            Ok(flow) => flow,
            Err(failure) => self.fail(&failure).await,
        }
    }

    /// With what earlier commands have set: REST, RNFR, TYPE, STRU and MODE.
    async fn relay_prepared(&mut self, command: RelayedCommand) -> Outcome {
        let offset = self.transfer.restart;
        if !command.keeps_restart() {
            self.transfer.restart = 0;
        }
        let state = &mut self.logged_in()?.relayed;
        let (renamed, form) = (state.rename_from.take(), state.form);
        match (command.data(), command.verb()) {
            (Data::Receive, _) => self.relay_read(command.with_transfer(offset, form)).await,
            (Data::Send, _) => self.relay_write(command.with_transfer(offset, form)).await,
            (Data::None, "FEAT") => self.relay_feat(command).await,
            (Data::None, "RNTO") => self.relay_command(command.with_renamed(renamed)).await,
            (Data::None, _) => self.relay_command(command).await,
        }
    }

    async fn relay_command(&mut self, command: RelayedCommand) -> Outcome {
        let logged_in = self.logged_in()?;
        let form = command.form_after(logged_in.relayed.form);
        let reply = logged_in.session.relay(command).await?;
        if reply.code / 100 == 2 {
            logged_in.relayed.form = form;
        }
        self.reply_of_server(&reply).await;
        Ok(Flow::Continue)
    }

    async fn relay_read(&mut self, command: RelayedCommand) -> Outcome {
        let requested = self.take_requested()?;
        let opened = self.logged_in()?.session.relay_read(command).await;
        match requested.with(opened)? {
            (requested, RelayedDownload::Started(download, reply)) => {
                self.reply_of_server(&reply).await;
                self.send_download(requested, *download).await
            }
            (requested, RelayedDownload::Ended(reply)) => {
                requested.give_up();
                self.reply_of_server(&reply).await;
                Ok(Flow::Continue)
            }
        }
    }

    async fn relay_write(&mut self, command: RelayedCommand) -> Outcome {
        let requested = self.take_requested()?;
        let _transferring = self.transferring().await;
        let opened = self.logged_in()?.session.relay_write(command).await;
        let (requested, (upload, reply)) = requested.with(opened)?;
        self.reply_of_server(&reply).await;
        self.receive_upload(requested, upload).await
    }

    /// The gateway's features of logins and data connections, and the server's others, as far as the rules let them
    /// be used.
    async fn relay_feat(&mut self, command: RelayedCommand) -> Outcome {
        let session = &self.logged_in()?.session;
        let of_server = match session.relay(command).await {
            Ok(reply) => features(&reply),
            // A server without FEAT has no others.
            Err(failure) if failure.kind != FailureKind::Unavailable => Vec::new(),
            Err(failure) => return Err(failure),
        };
        let is_usable = |feature: &Vec<u8>| {
            OTHER_FEATURES.iter().any(|name| feature.eq_ignore_ascii_case(name.as_bytes()))
                || matches!(RelayedCommand::parse(feature), Ok(Some(it)) if session.may_relay(&it))
        };
        let usable: Vec<_> = of_server.into_iter().filter(is_usable).collect();
        let mut lines = vec![b"Features:".to_vec()];
        lines.extend(self.own_features().iter().map(|feature| feature.as_bytes().to_vec()));
        lines.extend(usable.iter().map(|feature| [b" ", &feature[..]].concat()));
        lines.push(b"End".to_vec());
        self.control.reply_lines(211, &lines).await;
        Ok(Flow::Continue)
    }
}

/// Between the first line and the last (RFC 2389 section 3.2).
fn features(reply: &PeerReply) -> Vec<Vec<u8>> {
    let lines = reply.lines.iter().skip(1).take(reply.lines.len().saturating_sub(2));
    lines.map(|line| line.trim_ascii().to_vec()).filter(|line| !line.is_empty()).collect()
}
