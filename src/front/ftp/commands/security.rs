//! AUTH, PBSZ, PROT: RFC 2228, RFC 4217.

use crate::front::ftp::client::{Client, Flow, LoginState};
use crate::front::ftp::handshake;
use crate::session::ClientRefusal;

impl Client {
    pub(super) async fn auth(&mut self, mechanism: &[u8]) -> Flow {
        let Some(tls) = self.tls.take() else {
            let what = "it asked for TLS (AUTH), which the listener does not offer: see `tls.mode`";
            self.refused(ClientRefusal::TlsNotOffered, what);
            self.answer(502, "TLS is not offered here").await;
            return Flow::Continue;
        };
        let refusal = match mechanism {
            _ if self.control.is_tls() => Some((503, "the connection is under TLS already")),
            _ if !matches!(self.login, LoginState::Nobody) => {
                Some((503, "AUTH TLS comes before USER"))
            }
            b"TLS" | b"TLS-C" | b"TLS-P" | b"SSL" => None,
            b"" => Some((501, "AUTH wants a mechanism: AUTH TLS")),
            _ => Some((504, "only AUTH TLS is known")),
        };
        if let Some((code, text)) = refusal {
            self.tls = Some(tls);
            self.answer(code, text).await;
            return Flow::Continue;
        }
        tls.note_handshake_allowed();
        self.answer(234, "begin the TLS handshake").await;
        let limit = self.login_deadline().saturating_duration_since(tokio::time::Instant::now());
        let Some(tcp) = self.control.take_plain() else { return Flow::Close };
        self.client_info.protocol = "ftps";
        let made =
            handshake::accept(&self.shared.gateway, &self.client_info, &tls, tcp, limit, true)
                .await;
        self.tls = Some(tls);
        match made {
            Some(stream) => {
                self.control.put_back(stream);
                // draft-murray-auth-ftp-ssl: data connections are protected without PBSZ and PROT.
                if matches!(mechanism, b"SSL" | b"TLS-P") {
                    self.buffer_size = true;
                    self.protect(true);
                }
                Flow::Continue
            }
            None => Flow::Close,
        }
    }

    pub(super) async fn pbsz(&mut self) {
        if self.control.is_tls() {
            self.buffer_size = true;
            self.answer(200, "PBSZ=0").await;
        } else {
            self.answer(503, "AUTH TLS first").await;
        }
    }

    pub(super) async fn prot(&mut self, level: &[u8]) {
        let (code, text) = match level {
            _ if !self.control.is_tls() => (503, "AUTH TLS first"),
            _ if !self.buffer_size => (503, "PBSZ 0 first"),
            b"P" => {
                self.protect(true);
                (200, "data connections are protected now")
            }
            b"C" if self.tls_required() => (534, "data connections must be protected here: PROT P"),
            b"C" => {
                self.protect(false);
                (200, "data connections are in clear now")
            }
            b"S" | b"E" => (536, "TLS protects data connections with PROT P only"),
            _ => (504, "PROT P or PROT C"),
        };
        self.answer(code, text).await;
    }

    /// A reservation made for the other kind of connection is not used for this one.
    fn protect(&mut self, private: bool) {
        if self.private != private {
            self.transfer.asked = None;
        }
        self.private = private;
    }
}
