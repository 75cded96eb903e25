//! Authentication (RFC 4252, RFC 4256): publickey, password, and keyboard-interactive with a prompt
//! for the password.

use std::borrow::Cow;
use std::sync::Arc;

use russh::keys::{Algorithm, PublicKey};
use russh::server::Auth;
use russh::{Disconnect, MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::connection::Connection;
use crate::op::{Failure, FailureKind, Fault, Greeting};
use crate::session::{Proof, SessionEnd};

/// Public keys that a client may offer on one connection. Agents have many.
const KEY_OFFERS_MAX: u32 = 20;
/// Refused requests of all methods before russh itself ends the connection.
pub(super) const AUTH_REQUESTS_MAX: usize = 100;

const PROMPTS: &[(Cow<'static, str>, bool)] = &[(Cow::Borrowed("Password: "), false)];

/// The logins of one connection.
pub(super) struct Logins {
    connection: Arc<Connection>,
    failed: u32,
    offered: u32,
}

/// The same for every user: clients must not learn which users have keys.
pub(super) fn methods() -> MethodSet {
    let methods = [MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive];
    MethodSet::from(&methods[..])
}

/// All methods may be tried again.
pub(super) fn reject() -> Auth {
    Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false }
}

pub(super) fn ask_password() -> Auth {
    Auth::Partial { name: "".into(), instructions: "".into(), prompts: PROMPTS.into() }
}

/// The message of SSH_MSG_USERAUTH_BANNER: lines end in CRLF (RFC 4252 section 5.4).
pub(super) fn banner(greeting: &Greeting) -> String {
    greeting.lines().iter().flat_map(|line| [line.as_str(), "\r\n"]).collect()
}

impl Logins {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, failed: 0, offered: 0 }
    }

    pub(super) async fn password(&mut self, user: &str, password: &[u8]) -> Auth {
        let password = Zeroizing::new(password.to_vec());
        let user = user.as_bytes().to_vec();
        self.log_in(Proof::password(user, password.into())).await
    }

    /// SSH_MSG_USERAUTH_PK_OK or a failure (RFC 4252 section 7).
    pub(super) fn offer(&mut self, user: &str, key: &PublicKey, signature: &Algorithm) -> Auth {
        if self.connection.is_ending() {
            return reject();
        }
        self.offered += 1;
        if self.offered > KEY_OFFERS_MAX {
            self.disconnect("too many public keys; offer the right one first");
            return reject();
        }
        self.connection.note_client();
        let Connection { shared, client_info, .. } = &*self.connection;
        let user = user.as_bytes();
        let admitted = self
            .check_signature(signature)
            .and_then(|()| shared.gateway.admits_key(client_info, user, key));
        match admitted {
            Ok(()) => Auth::Accept,
            Err(failure) => {
                self.connection.note_login_logged();
                shared.gateway.key_refused(client_info, user, key, &failure);
                reject()
            }
        }
    }

    /// The client has signed with `key`.
    pub(super) async fn public_key(
        &mut self,
        user: &str,
        key: &PublicKey,
        signature: &Algorithm,
    ) -> Auth {
        // The offer was checked, but this may be another key or algorithm.
        if self.check_signature(signature).is_err() {
            return reject();
        }
        self.log_in(Proof::public_key(user.as_bytes().to_vec(), key.clone())).await
    }

    /// Signature algorithms that the listener does not offer are refused from users, too (RFC
    /// 8332).
    fn check_signature(&self, signature: &Algorithm) -> Result<(), Failure> {
        if self.connection.shared.settings.algorithms.accepts_signature(signature) {
            return Ok(());
        }
        let detail = format!(
            "{signature} signatures are not accepted (the listener's `algorithms`); the client must use \
             another algorithm"
        );
        Err(Failure::client(FailureKind::LoginRefused, "login incorrect").with_detail(detail))
    }

    async fn log_in(&mut self, proof: Proof) -> Auth {
        let connection = &self.connection;
        // Requests after the last permitted attempt do not count.
        if connection.is_ending() {
            return reject();
        }
        connection.note_client();
        connection.note_login_logged();
        let gateway = &connection.shared.gateway;
        let login = gateway.login(&connection.client_info, proof, connection.login_deadline());
        let outcome = tokio::select! {
            biased;
            () = connection.closing.cancelled() => return reject(),
            // A login that waits for its backend must not outlive the client.
            () = connection.closed_by_client() => return reject(),
            outcome = login => outcome,
        };
        match outcome {
            Ok(session) => {
                connection.set_session(session).await;
                Auth::Accept
            }
            Err(failure) => {
                self.login_failed(&failure);
                reject()
            }
        }
    }

    fn login_failed(&mut self, failure: &Failure) {
        self.failed += 1;
        if matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut) {
            // SSH can report a reason only with the end of the connection.
            let end = SessionEnd::by(failure.fault, failure.message.clone());
            self.connection.end(Disconnect::ServiceNotAvailable, end);
        } else if self.failed >= self.connection.shared.gateway.limits.login_attempts {
            self.disconnect("too many failed logins (limits.login_attempts)");
        }
    }

    fn disconnect(&self, reason: &'static str) {
        let end = SessionEnd::by(Fault::Client, reason);
        self.connection.end(Disconnect::NoMoreAuthMethodsAvailable, end);
    }
}
