//! AUTH, PBSZ, PROT: RFC 2228, RFC 4217.

use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::{Flow, LoginState};
use crate::front::ftp::handshake;
use crate::front::ftp::reply::Reply;
use crate::session::ClientRefusal;

impl Client {
    pub(super) async fn auth(&mut self, mechanism: &[u8]) -> Flow {
        let Some(tls) = self.tls.take() else {
            let reason =
                "the client requested TLS (AUTH), which the listener does not offer (`tls.mode`)";
            self.log_refused(ClientRefusal::TlsNotOffered, reason);
            self.reply(Reply::NO_TLS).await;
            return Flow::Continue;
        };
        let refusal = match mechanism {
            _ if self.control.is_tls() => Some(Reply::TLS_ALREADY),
            _ if !matches!(self.login, LoginState::Initial) => Some(Reply::AUTH_AFTER_USER),
            b"TLS" | b"TLS-C" | b"TLS-P" | b"SSL" => None,
            b"" => Some(Reply::NO_MECHANISM),
            _ => Some(Reply::UNKNOWN_MECHANISM),
        };
        if let Some(refusal) = refusal {
            self.tls = Some(tls);
            self.reply(refusal).await;
            return Flow::Continue;
        }
        tls.note_handshake_allowed();
        self.reply(Reply::START_TLS).await;
        let limit = self.login_deadline().saturating_duration_since(tokio::time::Instant::now());
        let Some(tcp) = self.control.take_plain() else { return Flow::Close };
        self.client_info.protocol = "ftps";
        let accepted =
            handshake::accept(&self.shared.gateway, &self.client_info, &tls, tcp, limit, true)
                .await;
        self.tls = Some(tls);
        match accepted {
            Some(stream) => {
                self.control.set_stream(stream);
                // draft-murray-auth-ftp-ssl: this protects data connections without PBSZ and PROT.
                if matches!(mechanism, b"SSL" | b"TLS-P") {
                    self.pbsz_received = true;
                    self.set_private(true);
                }
                Flow::Continue
            }
            None => {
                self.is_recorded = true;
                Flow::Close
            }
        }
    }

    pub(super) async fn pbsz(&mut self) {
        if self.control.is_tls() {
            self.pbsz_received = true;
            self.reply(Reply::PBSZ_SET).await;
        } else {
            self.reply(Reply::PBSZ_IN_CLEAR).await;
        }
    }

    pub(super) async fn prot(&mut self, level: &[u8]) {
        let reply = match level {
            _ if !self.control.is_tls() => Reply::PROT_IN_CLEAR,
            _ if !self.pbsz_received => Reply::NO_PBSZ,
            b"P" => {
                self.set_private(true);
                Reply::PROT_PRIVATE
            }
            b"C" if self.tls_required() => Reply::PROT_CLEAR_DENIED,
            b"C" => {
                self.set_private(false);
                Reply::PROT_CLEAR
            }
            b"S" | b"E" => Reply::UNSUPPORTED_PROTECTION,
            _ => Reply::UNKNOWN_PROTECTION,
        };
        self.reply(reply).await;
    }

    /// Sets the protection of data connections. A reservation made for another one is given up.
    fn set_private(&mut self, private: bool) {
        if self.private != private {
            self.give_up_requested();
        }
        self.private = private;
    }

    /// Gives up the data connection of an earlier PASV or PORT.
    pub(super) fn give_up_requested(&mut self) {
        if let Some(requested) = self.transfer.requested.take() {
            requested.give_up();
        }
    }
}
