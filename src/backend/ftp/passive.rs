//! Passive data connections: EPSV (RFC 2428) and PASV (RFC 959), one where the other fails.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::data_commands::{DataCommand, allows_other};
use super::failures::no_data_connection;
use super::reply;
use super::servers::Server;
use super::settings::PassiveCommand;
use super::transfer_command::{CommandOrder, Fallback, PassiveStart, Started, Transfer, connect};
use crate::op::{Failure, FailureKind, PeerReply};
use crate::wire::ftp::host_port::{parse_epsv_reply, parse_pasv_reply};

/// How often a server is asked for a port before its 425 is told to the client.
const PORT_TRIES: usize = 3;

/// The commands that are still to be tried, and what became of the others.
pub(super) struct Attempts {
    server: Arc<Server>,
    left: VecDeque<DataCommand>,
    failed: Vec<(DataCommand, Failure)>,
    /// A port was named, and no connection to it could be made.
    unconnected: bool,
}

/// A data connection and the command that uses it, which the server has answered.
pub(super) async fn start(
    connection: &mut Connection,
    transfer: Transfer<'_>,
) -> Result<(TcpStream, PeerReply), Failure> {
    let mut attempts = Attempts::new(connection);
    if let Some(prepared) = connection.prepared.take() {
        let command = prepared.command();
        if let Some(connecting) = prepared.take() {
            attempts.leave_for_last(command);
            let repeated = transfer.is_repeatable();
            let has_other = attempts.left.front() != Some(&command);
            let start = attempts.passive_start(connection, transfer, connecting, has_other);
            match start.run(connection).await {
                Started::Both(tcp, reply) => return Ok((tcp, reply)),
                // The server does not take it any more, and nothing has begun: all is asked anew.
                Started::Refused(refusal) if is_no_channel(&refusal) && repeated => {
                    attempts = Attempts::new(connection);
                }
                Started::ConnectFirst => attempts = Attempts::new(connection),
                started => attempts.note(command, started, transfer)?,
            }
        }
    }
    loop {
        let (command, address) = attempts.next(connection).await?;
        let (header, limit) = (connection.proxy_header(), connection.settings.connect_timeout);
        let connecting = connect(address, header, limit);
        let has_other = !attempts.left.is_empty();
        let start = attempts.passive_start(connection, transfer, connecting, has_other);
        match start.run(connection).await {
            Started::Both(tcp, reply) => {
                attempts.note_success(command);
                return Ok((tcp, reply));
            }
            // Once: who is asked for the second time has its connection first.
            Started::ConnectFirst => attempts.left.push_front(command),
            started => attempts.note(command, started, transfer)?,
        }
    }
}

impl Attempts {
    pub(super) fn new(connection: &Connection) -> Self {
        let server = connection.server.clone();
        let settings = &connection.settings;
        let usual =
            usual(settings.passive_command, settings.trust_pasv_address, server.address.ip());
        let mut left = VecDeque::from(usual);
        if server.data_commands.preferred() == left.back().copied() {
            left.rotate_left(left.len() - 1);
        }
        Self { server, left, failed: Vec::new(), unconnected: false }
    }

    /// The address that the next command leads to; the failure, once none is left.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(DataCommand, SocketAddr), Failure> {
        while let Some(command) = self.left.pop_front() {
            match ask(connection, self.server.address.ip(), command).await? {
                Ok(address) => {
                    if !self.failed.is_empty() && !self.unconnected {
                        self.note_success(command);
                    }
                    return Ok((command, address));
                }
                Err(failure) => self.failed(command, failure),
            }
        }
        Err(self.failure(connection))
    }

    fn leave_for_last(&mut self, command: DataCommand) {
        if self.left.front() == Some(&command) {
            self.left.rotate_left(1);
        }
    }

    /// `has_other`: another command is left to try. A command that cannot be repeated waits for its
    /// data connection unless one was made recently.
    fn passive_start<'a, F>(
        &self,
        connection: &Connection,
        transfer: Transfer<'a>,
        connecting: F,
        has_other: bool,
    ) -> PassiveStart<'a, F> {
        let repeatable = transfer.is_repeatable();
        let connect_first = connection.connect_first || !(self.is_proven() || repeatable);
        let order =
            if connect_first { CommandOrder::AfterConnect } else { CommandOrder::Concurrent };
        let fallback =
            if has_other && repeatable { Fallback::OtherCommand } else { Fallback::None };
        PassiveStart { transfer, connecting, order, fallback }
    }

    /// Whether a data connection was made a while ago with what is tried first.
    fn is_proven(&self) -> bool {
        self.failed.is_empty() && self.server.data_commands.preferred().is_some()
    }

    fn note_success(&self, command: DataCommand) {
        let commands = &self.server.data_commands;
        if commands.preferred() != Some(command) {
            let other = self.failed.iter().find(|(failed, _)| *failed != command);
            commands.prefer(command, other.map(|(_, failure)| failure));
        }
    }

    fn failed(&mut self, command: DataCommand, failure: Failure) {
        tracing::debug!(command = command.verb(), %failure, detail = failure.detail.as_deref(), "no data connection");
        self.server.data_commands.forget(command);
        self.failed.push((command, failure));
    }

    /// Goes on where another command may be tried.
    fn note(
        &mut self,
        command: DataCommand,
        started: Started,
        transfer: Transfer<'_>,
    ) -> Result<(), Failure> {
        match started {
            Started::ConnectFailed(failure) => {
                self.unconnected = true;
                self.failed(command, failure);
                Ok(())
            }
            Started::NotEstablished(failure) => {
                self.unconnected = true;
                self.failed(command, failure.clone());
                if transfer.is_repeatable() { Ok(()) } else { Err(failure) }
            }
            Started::OutOfSync(failure) => {
                self.failed(command, failure.clone());
                // The next transfer begins with the other one.
                if let Some(other) = self.left.front().filter(|other| **other != command) {
                    self.server.data_commands.prefer(*other, Some(&failure));
                }
                Err(failure)
            }
            Started::Refused(failure) => Err(failure),
            // Both are the caller's.
            Started::Both(..) | Started::ConnectFirst => {
                Err(no_data_connection("it was not awaited"))
            }
        }
    }

    /// Of all that were tried: a connection that was not made tells more than a command that the
    /// server does not know.
    fn failure(&mut self, connection: &Connection) -> Failure {
        let told = self.failed.iter().map(|(command, failure)| {
            let detail = failure.detail.as_ref().unwrap_or(&failure.message);
            format!("{}: {detail}", command.verb())
        });
        let mut detail = told.collect::<Vec<_>>().join("; ");
        if self.server.address.is_ipv4()
            && connection.settings.passive_command != PassiveCommand::Auto
        {
            detail.push_str(" (`passive_command` keeps the gateway from trying the other)");
        }
        let is_about_data = |failure: &Failure| failure.kind == FailureKind::DataConnection;
        let best = self.failed.iter().rposition(|(_, failure)| is_about_data(failure));
        let best = best.or(self.failed.len().checked_sub(1));
        match best {
            Some(best) => self.failed.swap_remove(best).1.with_detail(detail),
            None => no_data_connection("no command was tried"),
        }
    }
}

/// EPSV first, since it works through address translation; PASV where the address that it names is to
/// be trusted. PASV can name no IPv6 address.
fn usual(setting: PassiveCommand, trusted: bool, server: IpAddr) -> Vec<DataCommand> {
    match (setting, server) {
        (_, IpAddr::V6(_)) | (PassiveCommand::Epsv, _) => vec![DataCommand::Epsv],
        (PassiveCommand::Pasv, _) => vec![DataCommand::Pasv],
        (PassiveCommand::Auto, _) if trusted => vec![DataCommand::Pasv, DataCommand::Epsv],
        (PassiveCommand::Auto, _) => vec![DataCommand::Epsv, DataCommand::Pasv],
    }
}

/// The address that one command leads to. The inner failure leaves the other command to be tried.
async fn ask(
    connection: &mut Connection,
    server: IpAddr,
    command: DataCommand,
) -> Result<Result<SocketAddr, Failure>, Failure> {
    let verb = command.verb();
    let reply = ask_for_port(connection, verb).await?;
    if reply.code >= 400 {
        let refusal = reply.code;
        let failure = reply::failure(verb, reply);
        return if allows_other(refusal) { Ok(Err(failure)) } else { Err(failure) };
    }
    if reply.code < 200 {
        // Something else was to follow.
        let out_of_step = reply::expect(2, verb, reply);
        connection.note_loss(out_of_step)?;
        return Err(no_data_connection(format!("{verb} was not answered")));
    }
    let found = match command {
        DataCommand::Epsv if reply.code == 229 => {
            parse_epsv_reply(&reply.lines).map(|port| SocketAddr::new(server, port)).ok()
        }
        // Servers behind address translation name an address that is not theirs, and bad ones
        // somebody else's.
        DataCommand::Pasv if reply.code < 300 => parse_pasv_reply(&reply.lines).ok().map(|named| {
            let trusted = connection.settings.trust_pasv_address && !named.ip().is_unspecified();
            let ip = if trusted { IpAddr::V4(*named.ip()) } else { server };
            SocketAddr::new(ip, named.port())
        }),
        _ => None,
    };
    Ok(found.ok_or_else(|| {
        no_data_connection(format!("the answer to {verb} was not understood: {reply}"))
    }))
}

/// 425 to EPSV or PASV is worth another try: ProFTPD and pure-ftpd say it when two of their sessions
/// choose the same port at once. Nothing has begun yet.
async fn ask_for_port(connection: &mut Connection, verb: &str) -> Result<PeerReply, Failure> {
    for _ in 1..PORT_TRIES {
        let asked = Instant::now();
        let reply = connection.command(verb, None).await?;
        let took = asked.elapsed();
        connection.port_latency =
            Some(connection.port_latency.map_or(took, |least| least.min(took)));
        if reply.code != 425 {
            return Ok(reply);
        }
    }
    connection.command(verb, None).await
}

/// 425: the server has no data connection.
fn is_no_channel(refusal: &Failure) -> bool {
    refusal.peer.as_ref().is_some_and(|reply| reply.code == 425)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataCommand::{Epsv, Pasv};

    #[test]
    fn ipv6_servers_are_asked_with_epsv_only() {
        for setting in [PassiveCommand::Auto, PassiveCommand::Epsv, PassiveCommand::Pasv] {
            for trusted in [true, false] {
                assert_eq!(usual(setting, trusted, "::1".parse().unwrap()), [Epsv]);
            }
        }
        let v4 = "127.0.0.1".parse().unwrap();
        assert_eq!(usual(PassiveCommand::Auto, false, v4), [Epsv, Pasv]);
        assert_eq!(usual(PassiveCommand::Auto, true, v4), [Pasv, Epsv]);
    }
}
