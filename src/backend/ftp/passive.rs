//! Passive data connections: EPSV (RFC 2428) and PASV (RFC 959); if one fails, the other is tried.

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

/// How often a port is requested before 425 is reported to the client.
const PORT_ATTEMPTS_MAX: usize = 3;

/// The commands that remain to be tried, and the failures of the others.
pub(super) struct Attempts {
    server: Arc<Server>,
    remaining: VecDeque<DataCommand>,
    failed: Vec<(DataCommand, Failure)>,
    /// A port was returned, but no connection to it could be established.
    port_unreachable: bool,
}

/// Establishes a data connection and sends the command that uses it. Returns the server's reply.
pub(super) async fn start(
    connection: &mut Connection,
    transfer: Transfer<'_>,
) -> Result<(TcpStream, PeerReply), Failure> {
    let mut attempts = Attempts::new(connection);
    if let Some(prepared) = connection.prepared.take() {
        let command = prepared.command();
        if let Some(connecting) = prepared.take() {
            attempts.try_last(command);
            let repeated = transfer.is_repeatable();
            let has_other = attempts.remaining.front() != Some(&command);
            let start = attempts.passive_start(connection, transfer, connecting, has_other);
            match start.run(connection).await {
                Started::Ready(tcp, reply) => return Ok((tcp, reply)),
                // The server no longer accepts the prepared connection, and nothing has started:
                // start over.
                Started::Refused(refusal) if has_no_data_connection(&refusal) && repeated => {
                    attempts = Attempts::new(connection);
                }
                Started::ConnectFirst => attempts = Attempts::new(connection),
                started => attempts.note_outcome(command, started, transfer)?,
            }
        }
    }
    loop {
        let (command, address) = attempts.next(connection).await?;
        let connecting = connect(&connection.settings, address, connection.proxy_header());
        let has_other = !attempts.remaining.is_empty();
        let start = attempts.passive_start(connection, transfer, connecting, has_other);
        match start.run(connection).await {
            Started::Ready(tcp, reply) => {
                attempts.note_success(command);
                return Ok((tcp, reply));
            }
            // Once only: the second attempt connects first.
            Started::ConnectFirst => attempts.remaining.push_front(command),
            started => attempts.note_outcome(command, started, transfer)?,
        }
    }
}

impl Attempts {
    pub(super) fn new(connection: &Connection) -> Self {
        let server = connection.server.clone();
        let settings = &connection.settings;
        let default_order = default_order(
            settings.passive_command,
            settings.trust_pasv_address,
            server.address.ip(),
        );
        let mut remaining = VecDeque::from(default_order);
        if server.data_commands.preferred() == remaining.back().copied() {
            remaining.rotate_left(remaining.len() - 1);
        }
        Self { server, remaining, failed: Vec::new(), port_unreachable: false }
    }

    /// The address returned by the next command; the failure, once none remains.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(DataCommand, SocketAddr), Failure> {
        while let Some(command) = self.remaining.pop_front() {
            match request_port(connection, self.server.address.ip(), command).await? {
                Ok(address) => {
                    if !self.failed.is_empty() && !self.port_unreachable {
                        self.note_success(command);
                    }
                    return Ok((command, address));
                }
                Err(failure) => self.note_failure(command, failure),
            }
        }
        Err(self.failure(connection))
    }

    fn try_last(&mut self, command: DataCommand) {
        if self.remaining.front() == Some(&command) {
            self.remaining.rotate_left(1);
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

    /// Whether a data connection was recently established with the first command.
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

    fn note_failure(&mut self, command: DataCommand, failure: Failure) {
        tracing::debug!(command = command.verb(), %failure, detail = failure.detail.as_deref(), "no data connection");
        self.server.data_commands.forget(command);
        self.failed.push((command, failure));
    }

    /// Records the outcome; fails if no other command may be tried.
    fn note_outcome(
        &mut self,
        command: DataCommand,
        started: Started,
        transfer: Transfer<'_>,
    ) -> Result<(), Failure> {
        match started {
            Started::ConnectFailed(failure) => {
                self.port_unreachable = true;
                self.note_failure(command, failure);
                Ok(())
            }
            Started::NotEstablished(failure) => {
                self.port_unreachable = true;
                self.note_failure(command, failure.clone());
                if transfer.is_repeatable() { Ok(()) } else { Err(failure) }
            }
            Started::OutOfSync(failure) => {
                self.note_failure(command, failure.clone());
                // The next transfer starts with the other one.
                if let Some(other) = self.remaining.front().filter(|other| **other != command) {
                    self.server.data_commands.prefer(*other, Some(&failure));
                }
                Err(failure)
            }
            Started::Refused(failure) => Err(failure),
            // Both are handled by the caller.
            Started::Ready(..) | Started::ConnectFirst => {
                Err(no_data_connection("unexpected outcome"))
            }
        }
    }

    /// The failure of all attempts: a failed connection takes precedence over an unknown command.
    fn failure(&mut self, connection: &Connection) -> Failure {
        let reports = self.failed.iter().map(|(command, failure)| {
            let detail = failure.detail.as_ref().unwrap_or(&failure.message);
            format!("{}: {detail}", command.verb())
        });
        let mut detail = reports.collect::<Vec<_>>().join("; ");
        if self.server.address.is_ipv4()
            && connection.settings.passive_command != PassiveCommand::Auto
        {
            detail.push_str(" (`passive_command` of the backend excludes the other command)");
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

/// EPSV first, since it works through NAT; PASV first if its address is trusted. PASV cannot return
/// IPv6 addresses.
fn default_order(setting: PassiveCommand, trusted: bool, server: IpAddr) -> Vec<DataCommand> {
    match (setting, server) {
        (_, IpAddr::V6(_)) | (PassiveCommand::Epsv, _) => vec![DataCommand::Epsv],
        (PassiveCommand::Pasv, _) => vec![DataCommand::Pasv],
        (PassiveCommand::Auto, _) if trusted => vec![DataCommand::Pasv, DataCommand::Epsv],
        (PassiveCommand::Auto, _) => vec![DataCommand::Epsv, DataCommand::Pasv],
    }
}

/// The address returned by one command. The inner failure permits the other command.
async fn request_port(
    connection: &mut Connection,
    server: IpAddr,
    command: DataCommand,
) -> Result<Result<SocketAddr, Failure>, Failure> {
    let verb = command.verb();
    let reply = request_port_repeatedly(connection, verb).await?;
    if reply.code >= 400 {
        let refusal = reply.code;
        let failure = reply::failure(verb, reply);
        return if allows_other(refusal) { Ok(Err(failure)) } else { Err(failure) };
    }
    if reply.code < 200 {
        // A 1xx or 3xx reply: another reply or command was to follow.
        let unexpected = reply::expect(2, verb, reply);
        connection.note_loss(unexpected)?;
        return Err(no_data_connection(format!("{verb} got no final reply")));
    }
    let found = match command {
        DataCommand::Epsv if reply.code == 229 => {
            parse_epsv_reply(&reply.lines).map(|port| SocketAddr::new(server, port)).ok()
        }
        // Servers behind NAT return an address that is not theirs, and malicious ones a third
        // party's.
        DataCommand::Pasv if reply.code < 300 => parse_pasv_reply(&reply.lines).ok().map(|named| {
            let trusted = connection.settings.trust_pasv_address && !named.ip().is_unspecified();
            let ip = if trusted { IpAddr::V4(*named.ip()) } else { server };
            SocketAddr::new(ip, named.port())
        }),
        _ => None,
    };
    Ok(found.ok_or_else(|| {
        no_data_connection(format!("the reply to {verb} could not be parsed: {reply}"))
    }))
}

/// Retries on 425, which ProFTPD and pure-ftpd send when two of their sessions choose the same port
/// at once.
async fn request_port_repeatedly(
    connection: &mut Connection,
    verb: &str,
) -> Result<PeerReply, Failure> {
    for _ in 1..PORT_ATTEMPTS_MAX {
        let sent_at = Instant::now();
        let reply = connection.command(verb, None).await?;
        let took = sent_at.elapsed();
        connection.port_latency = Some(connection.port_latency.map_or(took, |min| min.min(took)));
        if reply.code != 425 {
            return Ok(reply);
        }
    }
    connection.command(verb, None).await
}

/// 425: no data connection.
fn has_no_data_connection(refusal: &Failure) -> bool {
    refusal.peer.as_ref().is_some_and(|reply| reply.code == 425)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataCommand::{Epsv, Pasv};

    #[test]
    fn ipv6_servers_get_epsv_only() {
        for setting in [PassiveCommand::Auto, PassiveCommand::Epsv, PassiveCommand::Pasv] {
            for trusted in [true, false] {
                assert_eq!(default_order(setting, trusted, "::1".parse().unwrap()), [Epsv]);
            }
        }
        let v4 = "127.0.0.1".parse().unwrap();
        assert_eq!(default_order(PassiveCommand::Auto, false, v4), [Epsv, Pasv]);
        assert_eq!(default_order(PassiveCommand::Auto, true, v4), [Pasv, Epsv]);
    }
}
