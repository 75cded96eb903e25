//! Authentication (RFC 4252, RFC 4256): publickey, password, and keyboard-interactive with a prompt
//! for the password.

use std::borrow::Cow;
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, PublicKey};
use russh::server::Auth;
use russh::{Disconnect, MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::connection::Connection;
use crate::auth::{Methods, PresentedKey};
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
    /// What the gateway has accepted of a user who needs a further method (RFC 4252 section 5.1).
    accepted: Option<Proof>,
    /// A key was refused.
    key_refused: bool,
    /// A password was refused, and counted as a guess.
    password_refused: bool,
}

/// The names of methods.
pub(super) fn method_set(methods: Methods) -> MethodSet {
    let mut set = MethodSet::empty();
    if methods.publickey {
        set.push(MethodKind::PublicKey);
    }
    if methods.password {
        set.push(MethodKind::Password);
        set.push(MethodKind::KeyboardInteractive);
    }
    set
}

/// The message of SSH_MSG_USERAUTH_BANNER: lines end in CRLF (RFC 4252 section 5.4).
pub(super) fn banner(greeting: &Greeting) -> String {
    greeting.lines().iter().flat_map(|line| [line.as_str(), "\r\n"]).collect()
}

impl Logins {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            failed: 0,
            offered: 0,
            accepted: None,
            key_refused: false,
            password_refused: false,
        }
    }

    /// The methods that may follow depend on what `user` has presented, never on who that is: clients must
    /// not learn which users exist, and which have keys.
    pub(super) fn reject(&self, user: &str) -> Auth {
        let methods = method_set(self.methods(user));
        Auth::Reject { proceed_with_methods: Some(methods), partial_success: false }
    }

    fn methods(&self, user: &str) -> Methods {
        let offered = self.connection.shared.settings.methods;
        let accepted = self.accepted.as_ref().filter(|it| it.user == user.as_bytes());
        accepted.map_or(offered, |accepted| offered.without(accepted.methods()))
    }

    pub(super) fn ask_password(&self, user: &str) -> Auth {
        if !self.methods(user).password {
            return self.reject(user);
        }
        Auth::Partial { name: "".into(), instructions: "".into(), prompts: PROMPTS.into() }
    }

    pub(super) async fn password(&mut self, user: &str, password: &[u8]) -> Auth {
        if !self.methods(user).password {
            return self.reject(user);
        }
        let password = Zeroizing::new(password.to_vec());
        self.log_in(Proof::password(user.as_bytes().to_vec(), password.into())).await
    }

    /// SSH_MSG_USERAUTH_PK_OK or a failure (RFC 4252 section 7). `key` may be that of a certificate.
    pub(super) async fn offer(
        &mut self,
        user: &str,
        key: &PublicKey,
        signature: &Algorithm,
    ) -> Auth {
        if self.connection.is_ending() || !self.methods(user).publickey {
            return self.reject(user);
        }
        self.offered += 1;
        if self.offered > KEY_OFFERS_MAX {
            self.disconnect("too many public keys; offer the right one first");
            return self.reject(user);
        }
        self.connection.note_client();
        let Connection { shared, client_info, .. } = &*self.connection;
        let gateway = &shared.gateway;
        let judged = self.check_signature(signature);
        let admits = async {
            judged?;
            gateway.admits_offer(client_info, user.as_bytes(), key).await
        };
        match self.while_connected(admits).await {
            Some(Ok(())) => Auth::Accept,
            Some(Err(failure)) => self.key_refused(user, PresentedKey::Key(key.clone()), &failure),
            None => self.reject(user),
        }
    }

    /// `None` if the connection ends meanwhile: a login hook may take its time.
    async fn while_connected(
        &self,
        judging: impl Future<Output = Result<(), Failure>>,
    ) -> Option<Result<(), Failure>> {
        let connection = &self.connection;
        tokio::select! {
            biased;
            () = connection.closing.cancelled() => None,
            () = connection.closed_by_client() => None,
            judged = tokio::time::timeout_at(connection.login_deadline(), judging) => {
                Some(judged.unwrap_or_else(|_| {
                    let message = "the login took too long; try again";
                    Err(Failure::gateway(FailureKind::Unavailable, message).with_detail(
                        "a login hook had not answered yet (limits.login_timeout)",
                    ))
                }))
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
            return self.reject(user);
        }
        self.signed(user, PresentedKey::Key(key.clone())).await
    }

    /// The client has signed with the key of `certificate`, with an algorithm that the offer named.
    pub(super) async fn certificate(&mut self, user: &str, certificate: &Certificate) -> Auth {
        self.signed(user, PresentedKey::Certificate(Box::new(certificate.clone()))).await
    }

    /// Agents sign with every key that may be accepted: a wrong one is no failed login.
    async fn signed(&mut self, user: &str, key: PresentedKey) -> Auth {
        if self.connection.is_ending() || !self.methods(user).publickey {
            return self.reject(user);
        }
        let Connection { shared, client_info, .. } = &*self.connection;
        // Otherwise the offer was judged.
        if shared.gateway.accepts_certificates(client_info) {
            let admits = shared.gateway.admits_key(client_info, user.as_bytes(), &key);
            match self.while_connected(admits).await {
                Some(Ok(())) => {}
                Some(Err(failure)) => return self.key_refused(user, key, &failure),
                None => return self.reject(user),
            }
        }
        self.log_in(Proof::public_key(user.as_bytes().to_vec(), key)).await
    }

    fn key_refused(&mut self, user: &str, key: PresentedKey, failure: &Failure) -> Auth {
        let Connection { shared, client_info, .. } = &*self.connection;
        self.connection.note_login_logged();
        shared.gateway.key_refused(client_info, user.as_bytes(), key, failure);
        if failure.kind == FailureKind::Unavailable {
            self.end_unavailable(failure);
        } else {
            self.key_refused = true;
        }
        self.reject(user)
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
        let user = String::from_utf8_lossy(&proof.user).into_owned();
        // Requests after the last permitted attempt do not count.
        if self.connection.is_ending() {
            return self.reject(&user);
        }
        let proof = match &self.accepted {
            Some(accepted) => proof.with(accepted),
            None => proof,
        };
        let connection = self.connection.clone();
        connection.note_client();
        connection.note_login_logged();
        let has_password = proof.password.is_some();
        let gateway = &connection.shared.gateway;
        let deadline = connection.login_deadline();
        let login = gateway.login(&connection.client_info, proof.clone(), deadline);
        let outcome = tokio::select! {
            biased;
            () = connection.closing.cancelled() => return self.reject(&user),
            // A login that waits for its backend must not outlive the client.
            () = connection.closed_by_client() => return self.reject(&user),
            outcome = login => outcome,
        };
        match outcome {
            Ok(session) => {
                self.accepted = None;
                connection.set_session(session).await;
                Auth::Accept
            }
            Err(failure) if failure.kind == FailureKind::MethodNeeded => {
                self.accepted = Some(proof);
                let methods = Some(method_set(self.methods(&user)));
                Auth::Reject { proceed_with_methods: methods, partial_success: true }
            }
            Err(failure) => {
                if failure.kind == FailureKind::LoginRefused {
                    self.password_refused |= has_password;
                    self.key_refused |= !has_password;
                }
                self.login_failed(&failure);
                self.reject(&user)
            }
        }
    }

    fn login_failed(&mut self, failure: &Failure) {
        self.failed += 1;
        if matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut) {
            self.end_unavailable(failure);
        } else if self.failed >= self.connection.shared.gateway.limits.login_attempts {
            self.disconnect("too many failed logins (limits.login_attempts)");
        }
    }

    /// SSH can report a reason only with the end of the connection.
    fn end_unavailable(&self, failure: &Failure) {
        let end = SessionEnd::by(failure.fault, failure.message.clone());
        self.connection.end(Disconnect::ServiceNotAvailable, end);
    }

    fn disconnect(&self, reason: &'static str) {
        let end = SessionEnd::by(Fault::Client, reason);
        self.connection.end(Disconnect::NoMoreAuthMethodsAvailable, end);
    }
}

/// Agents offer all their keys: a connection with refused keys is one failed login.
impl Drop for Logins {
    fn drop(&mut self) {
        let Connection { shared, client_info, .. } = &*self.connection;
        let is_logged_in = self.connection.session().is_some();
        if self.key_refused && !self.password_refused && !is_logged_in {
            shared.gateway.keys_refused(client_info);
        }
    }
}
