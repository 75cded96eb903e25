//! TYPE, MODE, STRU, PASV, PORT, REST, ALLO (RFC 959), EPSV, EPRT (RFC 2428).

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use super::Outcome;
use crate::data::{ClientMatch, Pool, Reservation, Wanted};
use crate::front::ftp::client::{Client, Flow, LoginState};
use crate::front::ftp::data_connection::{RequestedConnection, Target};
use crate::op::{Failure, FailureKind, Fault, PeerReply, Representation};
use crate::wire::ftp::host_port::{Epsv, format_port};

impl Client {
    pub(super) async fn set_type(&mut self, wanted: Option<Representation>) -> Outcome {
        match wanted {
            Some(representation) => {
                self.transfer.representation = representation;
                self.answer(200, "type set").await;
            }
            None => self.answer(504, "TYPE A, I and L 8 are known").await,
        }
        Ok(Flow::Continue)
    }

    pub(super) async fn mode(&mut self, letter: u8) -> Outcome {
        match letter {
            b'S' => self.answer(200, "mode set to stream").await,
            _ => self.answer(504, "only MODE S (stream) is known").await,
        }
        Ok(Flow::Continue)
    }

    pub(super) async fn structure(&mut self, letter: u8) -> Outcome {
        match letter {
            b'F' => self.answer(200, "structure set to file").await,
            _ => self.answer(504, "only STRU F (file) is known").await,
        }
        Ok(Flow::Continue)
    }

    pub(super) async fn rest(&mut self, offset: u64) -> Outcome {
        self.transfer.restart = offset;
        self.answer(350, &format!("the next transfer begins at byte {offset}")).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn pasv(&mut self) -> Outcome {
        let outcome = self.enter_passive().await;
        self.note_refusal("PASV", outcome)
    }

    pub(super) async fn epsv(&mut self, protocol: Epsv) -> Outcome {
        let outcome = self.enter_extended_passive(protocol).await;
        // Clients then send PASV, which has a line of its own where it fails.
        let falls_back = |failure: &Failure| failure.peer.as_ref().is_some_and(|w| w.code == 522);
        if self.local.ip().is_ipv4() && outcome.as_ref().is_err_and(falls_back) {
            return outcome;
        }
        self.note_refusal("EPSV", outcome)
    }

    async fn enter_passive(&mut self) -> Outcome {
        if self.transfer.epsv_only {
            self.answer(501, "EPSV ALL was said: use EPSV").await;
            return Ok(Flow::Continue);
        }
        let pool = self.pool()?;
        let local = self.local.ip();
        if local.is_ipv6() {
            return Err(Failure::client(
                FailureKind::DataConnection,
                "PASV names an IPv4 address, and this is IPv6: use EPSV",
            ));
        }
        let advertised = pool.advertised(self.client_info.peer.ip(), local);
        let advertised =
            advertised.map_err(|e| Failure::gateway(FailureKind::DataConnection, e))?;
        let IpAddr::V4(named) = advertised.address else {
            return Err(Failure::gateway(
                FailureKind::DataConnection,
                "there is no IPv4 address to name: use EPSV",
            ));
        };
        if advertised.address == local && !pool.listens_at(local) {
            return Err(Failure::gateway(
                FailureKind::DataConnection,
                "no data port listens on the address that you came to",
            )
            .with_detail(elsewhere(&pool, local)));
        }
        let Some(reservation) = self.reserve(&pool).await? else { return Ok(Flow::Close) };
        let address = SocketAddrV4::new(named, advertised.port(reservation.port()));
        self.transfer.asked = Some(RequestedConnection::Passive(reservation));
        let text = format!("Entering Passive Mode ({}).", format_port(address));
        self.answer(227, &text).await;
        self.expect_transfer();
        Ok(Flow::Continue)
    }

    /// EPSV names no address: it is answered only where the port is reached at the control
    /// connection's own.
    async fn enter_extended_passive(&mut self, protocol: Epsv) -> Outcome {
        if protocol == Epsv::All {
            self.transfer.epsv_only = true;
            self.answer(200, "EPSV ALL: nothing but EPSV from now on").await;
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
            let text = format!("network protocol not supported, use ({family})");
            return Err(answered_522(Fault::Client, text));
        }
        let advertised = pool.advertised(self.client_info.peer.ip(), local).ok();
        let reachable = advertised.filter(|it| it.address == local && pool.listens_at(local));
        let Some(advertised) = reachable else {
            let text = match local.is_ipv4() {
                true => "data connections come to another address: use PASV",
                false => "data connections come to another address, which EPSV cannot name",
            };
            let refusal = answered_522(Fault::Policy, text.to_owned());
            return Err(match pool.listens_at(local) {
                true => refusal.with_detail("`advertise` names another address to this client"),
                false => refusal.with_detail(elsewhere(&pool, local)),
            });
        };
        let Some(reservation) = self.reserve(&pool).await? else { return Ok(Flow::Close) };
        let port = advertised.port(reservation.port());
        let text = format!("Entering Extended Passive Mode (|||{port}|)");
        self.transfer.asked = Some(RequestedConnection::Passive(reservation));
        self.answer(229, &text).await;
        self.expect_transfer();
        Ok(Flow::Continue)
    }

    /// PORT and EPRT. The address is judged before anything is connected.
    pub(super) async fn port(&mut self, to: SocketAddr) -> Outcome {
        let refusal = if self.transfer.epsv_only {
            Some((501, "EPSV ALL was said: use EPSV"))
        } else if !self.shared.settings.active_allowed {
            Some((502, "active mode is not offered here: use EPSV or PASV"))
        } else if to.ip().to_canonical() != self.client_info.peer.ip() {
            Some((504, "data connections go to the address that you come from only"))
        } else if to.port() < 1024 {
            Some((504, "data connections go to ports from 1024 on only"))
        } else {
            None
        };
        match refusal {
            Some((code, text)) => {
                let refusal = Failure::new(FailureKind::DataConnection, Fault::Policy, text)
                    .with_detail(format_args!(
                        "the client asked for {to}; see `active` of the listener"
                    ));
                let words = PeerReply { code, lines: vec![text.into()] };
                return self.note_refusal("PORT", Err(refusal.with_peer(words)));
            }
            None => {
                let to = SocketAddr::new(to.ip().to_canonical(), to.port());
                // Behind a proxy it is not what the client connected to.
                let from = self.control.own_address().unwrap_or(self.local.ip());
                let source_ports = self.shared.settings.active_source_ports.clone();
                self.announce_data();
                self.transfer.asked =
                    Some(RequestedConnection::Active(Target { from, source_ports, to }));
                self.answer(200, "data connections go there").await;
            }
        }
        Ok(Flow::Continue)
    }

    /// A data connection that is refused before its transfer belongs to no operation: it has a log
    /// line of its own.
    pub(super) fn note_refusal<T>(
        &self,
        command: &str,
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let (LoginState::In(logged_in), Err(failure)) = (&self.login, &outcome) {
            logged_in.session.data_connection_refused(command, failure);
        }
        outcome
    }

    /// The backend makes ready while the client connects and says what it wants.
    fn expect_transfer(&self) {
        if let LoginState::In(logged_in) = &self.login {
            logged_in.session.expect_transfer();
        }
    }

    /// From the answer on the client may use up what it can resume.
    fn announce_data(&self) {
        if let Some(tls) = self.tls.as_ref().filter(|_| self.private) {
            tls.note_data_requested();
        }
    }

    fn pool(&self) -> Result<Arc<Pool>, Failure> {
        self.shared.pool.clone().ok_or_else(|| {
            Failure::new(
                FailureKind::Unsupported,
                Fault::Policy,
                "passive mode is not offered here: use PORT or EPRT",
            )
            .with_detail("the listener names no `data_ports`")
        })
    }

    /// A port for the next transfer; the one of an older PASV is given back. `None` for a client that
    /// went away while it waited: the next in the queue must not wait for its port.
    async fn reserve(&mut self, pool: &Pool) -> Result<Option<Reservation>, Failure> {
        self.transfer.asked = None;
        self.announce_data();
        let required = self.shared.settings.tls.settings().is_some_and(|s| s.require_resumed_data);
        let tls = self.tls.as_ref().filter(|tls| self.private && (required || tls.resumes()));
        if tls.is_none() && pool.client_match() == ClientMatch::Session {
            return Err(Failure::new(
                FailureKind::DataConnection,
                Fault::Policy,
                "data connections are known here by their TLS session only: AUTH TLS and PROT P first",
            )
            .with_detail(format_args!(
                "pool \"{}\" has `client_match: session`; `address` takes clients without TLS",
                pool.name()
            )));
        }
        let wanted = Wanted {
            client: self.client_info.peer.ip(),
            session: self.client_info.session,
            tls,
            must_resume: required,
            connect_within: self.shared.gateway.limits.data_connect_timeout,
            wait: pool.wait(),
        };
        let reserved = self.control.while_there(pool.reserve(wanted)).await;
        reserved.transpose().map_err(|e| Failure::gateway(FailureKind::DataConnection, e))
    }
}

fn answered_522(fault: Fault, text: String) -> Failure {
    let words = PeerReply { code: 522, lines: vec![text.clone().into_bytes()] };
    Failure::new(FailureKind::DataConnection, fault, text).with_peer(words)
}

/// For the log.
fn elsewhere(pool: &Pool, local: IpAddr) -> String {
    format!(
        "the client came to {local}, where no port of pool \"{}\" listens: name it in the pool's \
         `listen`, or another address in its `advertise`",
        pool.name()
    )
}
