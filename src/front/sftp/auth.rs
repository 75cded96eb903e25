//! Logins (RFC 4252, RFC 4256): password, one hidden prompt that asks for it, public keys.

use std::borrow::Cow;
use std::sync::Arc;

use russh::keys::{Algorithm, PublicKey};
use russh::server::Auth;
use russh::{Disconnect, MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::connection::Connection;
use crate::auth::Credentials;
use crate::op::{Failure, FailureKind, Fault};
use crate::session::{Proof, SessionEnd};

/// Public keys that one connection may offer, whether it holds them or not. Agents have many.
const OFFERS: u32 = 20;
/// Refused requests of all kinds before russh itself ends the connection.
pub(super) const REQUESTS: usize = 100;

const PROMPTS: &[(Cow<'static, str>, bool)] = &[(Cow::Borrowed("Password: "), false)];

/// The logins of one connection.
pub(super) struct Logins {
    connection: Arc<Connection>,
    failed: u32,
    offered: u32,
}

/// What is offered to everybody: which users have keys is nobody's business.
pub(super) fn methods() -> MethodSet {
    let methods = [MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive];
    MethodSet::from(&methods[..])
}

/// All methods stay open for another try.
pub(super) fn reject() -> Auth {
    Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false }
}

pub(super) fn ask_password() -> Auth {
    Auth::Partial { name: "".into(), instructions: "".into(), prompts: PROMPTS.into() }
}

impl Logins {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, failed: 0, offered: 0 }
    }

    pub(super) async fn password(&mut self, user: &str, password: &[u8]) -> Auth {
        let password = Zeroizing::new(password.to_vec());
        let user = user.as_bytes().to_vec();
        let credentials = Credentials { user, password, account: None, key: None };
        self.enter(Proof::Password(credentials)).await
    }

    /// Whether it is worth a signature.
    pub(super) fn offer(&mut self, user: &str, key: &PublicKey, signature: &Algorithm) -> Auth {
        if self.connection.is_ending() {
            return reject();
        }
        self.offered += 1;
        if self.offered > OFFERS {
            self.too_many("too many public keys; offer the right one first");
            return reject();
        }
        self.connection.note_client();
        let Connection { shared, client_info, .. } = &*self.connection;
        let user = user.as_bytes();
        let admitted =
            self.takes(signature).and_then(|()| shared.gateway.admits_key(client_info, user, key));
        match admitted {
            Ok(()) => Auth::Accept,
            Err(failure) => {
                self.connection.note_login_line();
                shared.gateway.key_refused(client_info, user, key, &failure);
                reject()
            }
        }
    }

    /// `key` has signed.
    pub(super) async fn public_key(
        &mut self,
        user: &str,
        key: &PublicKey,
        signature: &Algorithm,
    ) -> Auth {
        // What was offered was judged; it is not for russh to say that this is the same.
        if self.takes(signature).is_err() {
            return reject();
        }
        let (user, key) = (user.as_bytes().to_vec(), Box::new(key.clone()));
        self.enter(Proof::PublicKey { user, key }).await
    }

    /// What a listener's own keys do not sign with is no proof of anybody else's (RFC 8332).
    fn takes(&self, signature: &Algorithm) -> Result<(), Failure> {
        if self.connection.shared.settings.algorithms.accepts_signature(signature) {
            return Ok(());
        }
        let detail = format!(
            "{signature} signatures are not taken (the listener's `algorithms`); the client must use \
             another kind"
        );
        Err(Failure::client(FailureKind::LoginRefused, "login incorrect").with_detail(detail))
    }

    async fn enter(&mut self, proof: Proof) -> Auth {
        let connection = &self.connection;
        // What a client sent behind its last try is no further one.
        if connection.is_ending() {
            return reject();
        }
        connection.note_client();
        connection.note_login_line();
        let gateway = &connection.shared.gateway;
        let login = gateway.login(&connection.client_info, proof, connection.login_deadline());
        let entered = tokio::select! {
            biased;
            () = connection.closing.cancelled() => return reject(),
            // Who has gone keeps nobody waiting who is there.
            () = connection.gone() => return reject(),
            entered = login => entered,
        };
        match entered {
            Ok(session) => {
                connection.admit(session).await;
                Auth::Accept
            }
            Err(failure) => {
                self.refused(&failure);
                reject()
            }
        }
    }

    fn refused(&mut self, failure: &Failure) {
        self.failed += 1;
        if matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut) {
            // The only words that SSH has for a refused login come with the end of the connection.
            let end = SessionEnd::by(failure.fault, failure.message.clone());
            self.connection.end(Disconnect::ServiceNotAvailable, end);
        } else if self.failed >= self.connection.shared.gateway.limits.login_attempts {
            self.too_many("too many failed logins; goodbye");
        }
    }

    fn too_many(&self, why: &'static str) {
        let end = SessionEnd::by(Fault::Client, why);
        self.connection.end(Disconnect::NoMoreAuthMethodsAvailable, end);
    }
}
