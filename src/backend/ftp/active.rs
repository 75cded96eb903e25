//! Active data connections (PORT, RFC 959; EPRT, RFC 2428): the server connects to a port of the
//! pool that the backend's `data_ports` names.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Connection;
use super::data_commands::{DataCommand, allows_other};
use super::data_ports::DataPorts;
use super::failures::no_data_connection;
use crate::data::{PortRequest, Reservation};
use crate::net;
use crate::op::{Failure, FailureKind};
use crate::wire::ftp::host_port::{format_eprt, format_port};

/// Replies between the reservation and the data connection: to PORT, REST and the command.
const REPLIES_MAX: u32 = 3;

/// Reserves a port and sends it to the server: with PORT, or with EPRT if that is refused or the
/// address is IPv6. Waits if all ports are reserved for this server.
pub(super) async fn reserve(connection: &mut Connection) -> Result<Reservation, Failure> {
    connection.active = None;
    let server = connection.server.address.ip();
    let settings = connection.settings.clone();
    let DataPorts { pool, session } = connection.data_ports.clone().ok_or_else(|| {
        no_port(format!("backend \"{}\" has `data_mode: active` and no pool", settings.name))
    })?;
    let local = connection.control.stream().tcp().local_addr().map_err(no_port)?;
    let local = local.ip().to_canonical();
    let advertised = pool.advertised(server, local).map_err(no_port)?;
    if advertised.address == local && !pool.listens_at(local) {
        let pool = pool.name();
        return Err(no_port(format!(
            "no port of pool \"{pool}\" listens on {local}, which leads to the server"
        )));
    }
    let request = PortRequest {
        client: server,
        session,
        tls: None,
        must_resume: false,
        connect_within: settings.reply_timeout * REPLIES_MAX + settings.connect_timeout,
        wait: pool.wait(),
    };
    let reserved = pool.reserve(request).await;
    // The pool's messages are about a client; here that is the server.
    let reservation = reserved.map_err(|e| no_port(format!("for the server {server}: {e}")))?;
    let address = SocketAddr::new(advertised.address, advertised.port(reservation.port()));
    match send_address(connection, address).await {
        Ok(()) => Ok(reservation),
        Err(refusal) => Err(release_after_refusal(reservation, refusal)),
    }
}

/// The first refusal is reported: PORT is the command that servers know.
async fn send_address(connection: &mut Connection, address: SocketAddr) -> Result<(), Failure> {
    let SocketAddr::V4(v4) = address else {
        return connection.expect(2, "EPRT", Some(format_eprt(address).as_bytes())).await.map(drop);
    };
    let server = connection.server.clone();
    let first = server.data_commands.preferred().unwrap_or(DataCommand::Port);
    let mut refusal: Option<Failure> = None;
    for command in [first, first.other()] {
        let argument = match command {
            DataCommand::Eprt => format_eprt(address),
            _ => format_port(v4),
        };
        match connection.expect(2, command.verb(), Some(argument.as_bytes())).await {
            Ok(_) => {
                if refusal.is_some() {
                    server.data_commands.prefer(command, refusal.as_ref());
                }
                return Ok(());
            }
            Err(failure) if failure.peer.as_ref().is_some_and(|reply| allows_other(reply.code)) => {
                server.data_commands.forget(command);
                refusal.get_or_insert(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(refusal.unwrap_or_else(|| no_port("neither PORT nor EPRT was tried")))
}

/// A server that refuses does not connect: the port is free for others.
pub(super) fn release_after_refusal(reservation: Reservation, refusal: Failure) -> Failure {
    if refusal.peer.is_some() {
        reservation.release();
    }
    refusal
}

/// Accepts the server's data connection, after the server has announced the transfer.
pub(super) async fn accept(
    connection: &mut Connection,
    mut reservation: Reservation,
) -> Result<TcpStream, Failure> {
    let limit = connection.settings.connect_timeout;
    reservation.renew(limit);
    let arrived = timeout(limit, reservation.arrived()).await.ok().flatten();
    let arrived = arrived.ok_or_else(|| {
        let port = reservation.port();
        no_data_connection(format!(
            "the server did not connect to port {port} within {} (`connect_timeout`)",
            humantime::format_duration(limit)
        ))
    })?;
    net::reset_on_drop(&arrived.tcp);
    connection.active = Some(reservation.activate());
    Ok(arrived.tcp)
}

fn no_port(detail: impl std::fmt::Display) -> Failure {
    Failure::gateway(
        FailureKind::DataConnection,
        "the gateway has no port for the backend server's data connection; try again",
    )
    .with_detail(detail)
}
