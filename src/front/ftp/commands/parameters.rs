//! TYPE, MODE, STRU, PASV, PORT, REST, ALLO (RFC 959), EPSV, EPRT (RFC 2428).

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use super::Outcome;
use crate::data::{ClientMatch, Pool, PortRequest, Reservation};
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::{Flow, LoginState};
use crate::front::ftp::data_connection::{RequestedConnection, Target};
use crate::front::ftp::reply::Reply;
use crate::op::{Failure, FailureKind, Fault, Representation};
use crate::wire::ftp::host_port::{Epsv, format_port};

impl Client {
    pub(super) async fn set_type(&mut self, requested: Option<Representation>) -> Outcome {
        if let Some(representation) = requested {
            self.transfer.representation = representation;
        }
        self.reply(match requested {
            Some(Representation::Ascii) => Reply::TYPE_ASCII,
            Some(Representation::Image) => Reply::TYPE_IMAGE,
            None => Reply::UNKNOWN_TYPE,
        })
        .await;
        Ok(Flow::Continue)
    }

    pub(super) async fn mode(&mut self, letter: u8) -> Outcome {
        let reply = if letter == b'S' { Reply::MODE_SET } else { Reply::UNKNOWN_MODE };
        self.reply(reply).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn structure(&mut self, letter: u8) -> Outcome {
        let reply = if letter == b'F' { Reply::STRUCTURE_SET } else { Reply::UNKNOWN_STRUCTURE };
        self.reply(reply).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn rest(&mut self, offset: u64) -> Outcome {
        self.transfer.restart = offset;
        self.reply(Reply::new(350, format!("Restart position accepted ({offset})."))).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn pasv(&mut self) -> Outcome {
        let outcome = self.enter_passive().await;
        self.log_refusal("PASV", outcome)
    }

    pub(super) async fn epsv(&mut self, protocol: Epsv) -> Outcome {
        let outcome = self.enter_extended_passive(protocol).await;
        // Clients then send PASV, which is logged where it fails.
        let falls_back =
            |failure: &Failure| failure.peer.as_ref().is_some_and(|reply| reply.code == 522);
        if self.local.ip().is_ipv4() && outcome.as_ref().is_err_and(falls_back) {
            return outcome;
        }
        self.log_refusal("EPSV", outcome)
    }

    async fn enter_passive(&mut self) -> Outcome {
        if self.transfer.epsv_only {
            self.reply(Reply::PASV_AFTER_EPSV_ALL).await;
            return Ok(Flow::Continue);
        }
        let pool = self.pool()?;
        let local = self.local.ip();
        if local.is_ipv6() {
            return Err(Failure::client(
                FailureKind::DataConnection,
                "PASV names an IPv4 address, and this connection is IPv6; use EPSV",
            ));
        }
        let advertised = pool.advertised(self.client_info.peer.ip(), local);
        let advertised =
            advertised.map_err(|e| Failure::gateway(FailureKind::DataConnection, e))?;
        let IpAddr::V4(named) = advertised.address else {
            return Err(Failure::gateway(
                FailureKind::DataConnection,
                "the pool has no IPv4 address to name (advertise); use EPSV",
            ));
        };
        if advertised.address == local && !pool.listens_at(local) {
            return Err(Failure::gateway(
                FailureKind::DataConnection,
                "no data port listens on the address that you connected to (listen of the pool)",
            )
            .with_detail(not_listening(&pool, local)));
        }
        let Some(reservation) = self.reserve(&pool).await? else { return Ok(Flow::Close) };
        let address = SocketAddrV4::new(named, advertised.port(reservation.port()));
        self.transfer.requested = Some(RequestedConnection::Passive(reservation));
        let text = format!("Entering Passive Mode ({}).", format_port(address));
        self.reply(Reply::new(227, text)).await;
        self.expect_transfer();
        Ok(Flow::Continue)
    }

    /// EPSV names no address: it works only where the data port is reached at the address of the
    /// control connection.
    async fn enter_extended_passive(&mut self, protocol: Epsv) -> Outcome {
        if protocol == Epsv::All {
            self.transfer.epsv_only = true;
            self.reply(Reply::EPSV_ALL).await;
            return Ok(Flow::Continue);
        }
        let pool = self.pool()?;
        let local = self.local.ip();
        let other_family = match protocol {
            Epsv::V4 => local.is_ipv6(),
            Epsv::V6 => local.is_ipv4(),
            Epsv::Other => true,
            Epsv::Any | Epsv::All => false,
        };
        if other_family {
            let family = if local.is_ipv4() { 1 } else { 2 };
            let text = format!("Network protocol not supported, use ({family}).");
            let reply = Reply::new(522, text);
            return Err(reply.failure(FailureKind::DataConnection, Fault::Client));
        }
        let advertised = pool.advertised(self.client_info.peer.ip(), local).ok();
        let reachable = advertised.filter(|it| it.address == local && pool.listens_at(local));
        let Some(advertised) = reachable else {
            let reply = if local.is_ipv4() {
                Reply::EPSV_OTHER_ADDRESS_V4
            } else {
                Reply::EPSV_OTHER_ADDRESS_V6
            };
            let refusal = reply.failure(FailureKind::DataConnection, Fault::Policy);
            return Err(if pool.listens_at(local) {
                refusal.with_detail("`advertise` names another address to this client")
            } else {
                refusal.with_detail(not_listening(&pool, local))
            });
        };
        let Some(reservation) = self.reserve(&pool).await? else { return Ok(Flow::Close) };
        let port = advertised.port(reservation.port());
        let text = format!("Entering Extended Passive Mode (|||{port}|)");
        self.transfer.requested = Some(RequestedConnection::Passive(reservation));
        self.reply(Reply::new(229, text)).await;
        self.expect_transfer();
        Ok(Flow::Continue)
    }

    /// PORT and EPRT. The address is checked before anything is connected.
    pub(super) async fn port(&mut self, to: SocketAddr) -> Outcome {
        let refusal = if self.transfer.epsv_only {
            Some(Reply::PORT_AFTER_EPSV_ALL)
        } else if !self.shared.settings.active_allowed {
            Some(Reply::NO_ACTIVE_MODE)
        } else if to.ip().to_canonical() != self.client_info.peer.ip() {
            Some(Reply::PORT_OTHER_ADDRESS)
        } else if to.port() < 1024 {
            Some(Reply::PORT_PRIVILEGED)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let refusal = refusal.failure(FailureKind::DataConnection, Fault::Policy).with_detail(
                format_args!("the client requested {to}; see the listener's `active`"),
            );
            return self.log_refusal("PORT", Err(refusal));
        }
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        // Behind a proxy, this is not the address that the client connected to.
        let from = self.control.local_address().unwrap_or(self.local.ip());
        let source_ports = self.shared.settings.active_source_ports.clone();
        self.announce_data();
        let target = Target { from, source_ports, to, since: Instant::now() };
        self.transfer.requested = Some(RequestedConnection::Active(target));
        self.reply(Reply::PORT_OK).await;
        Ok(Flow::Continue)
    }

    /// Logs a data connection that is refused before its transfer, and so belongs to no operation.
    pub(super) fn log_refusal<T>(
        &self,
        command: &str,
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let (LoginState::LoggedIn(logged_in), Err(failure)) = (&self.login, &outcome) {
            logged_in.session.data_connection_refused(command, failure);
        }
        outcome
    }

    /// Lets the backend prepare while the client connects and sends its transfer command.
    fn expect_transfer(&self) {
        if let LoginState::LoggedIn(logged_in) = &self.login {
            logged_in.session.expect_transfer();
        }
    }

    /// From the reply on, the client may resume its TLS session on a data connection.
    fn announce_data(&self) {
        if let Some(tls) = self.tls.as_ref().filter(|_| self.private) {
            tls.note_data_requested();
        }
    }

    fn pool(&self) -> Result<Arc<Pool>, Failure> {
        self.shared.pool.clone().ok_or_else(|| {
            Reply::NO_PASSIVE_MODE
                .failure(FailureKind::Unsupported, Fault::Policy)
                .with_detail("the listener has no `data_ports`")
        })
    }

    /// Reserves a port for the next transfer and releases that of an earlier PASV. Returns `None`
    /// when the client closes the connection meanwhile, as others must not wait for its port, or when the
    /// session ends.
    async fn reserve(&mut self, pool: &Pool) -> Result<Option<Reservation>, Failure> {
        self.give_up_requested();
        self.announce_data();
        let required = self.shared.settings.tls.settings().is_some_and(|s| s.require_resumed_data);
        let tls = self.tls.as_ref().filter(|tls| self.private && (required || tls.resumes()));
        if tls.is_none() && pool.client_match() == ClientMatch::Session {
            return Err(Failure::new(
                FailureKind::DataConnection,
                Fault::Policy,
                "data connections are identified by their TLS session only (client_match); send AUTH TLS \
                 and PROT P first",
            )
            .with_detail(format_args!(
                "pool \"{}\" has `client_match: session`; `address` accepts clients without TLS",
                pool.name()
            )));
        }
        let request = PortRequest {
            client: self.client_info.peer.ip(),
            session: self.client_info.session,
            tls,
            must_resume: required,
            connect_within: self.shared.gateway.limits.data_connect_timeout,
            wait: pool.wait(),
        };
        let live = self.client_info.live.clone();
        let reserved = tokio::select! {
            biased;
            reserved = self.control.while_connected(pool.reserve(request)) => reserved,
            () = live.drain().draining() => {
                self.end_drained().await;
                None
            }
        };
        reserved.transpose().map_err(|e| Failure::gateway(FailureKind::DataConnection, e))
    }
}

fn not_listening(pool: &Pool, local: IpAddr) -> String {
    format!(
        "the client came to {local}, where no port of pool \"{}\" listens: name it in the pool's \
         `listen`, or another address in its `advertise`",
        pool.name()
    )
}
