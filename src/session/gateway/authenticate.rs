//! Who logs in: passwords and public keys of the gateway's `users`.

use std::sync::Arc;

use russh::keys::PublicKey;

use super::super::client_info::ClientInfo;
use super::super::login_record::LoginRecord;
use super::super::proof::Proof;
use super::super::session_info::SessionInfo;
use super::destination::{Destination, KEY_NOT_FORWARDED};
use super::{Gateway, certificate, refused};
use crate::auth::{KeyTrust, Methods, PresentedKey, UserTable};
use crate::op::{Failure, FailureKind, Timestamp};
use crate::route::{Access, Account, Authenticator, Choice, Chosen};

pub(super) const CERTIFICATE_AND_HOOK: &str =
    "the route has `authenticate: http`, and a login hook gets plain keys, not SSH certificates";

const PASSWORD_ONLY: &str = "a password is required, and keys are not accepted (`require` or `methods` of the route or user)";

/// A user whom the gateway has authenticated.
pub(super) struct Authenticated {
    /// For routes, policy and limits.
    pub(super) groups: Vec<String>,
    /// Where the login leads; `None`: where the route says.
    pub(super) destination: Option<Destination>,
}

impl Gateway {
    /// The user of a login, if the gateway is to authenticate it. `None`: only the backend can
    /// (`authenticate: backend`).
    pub(super) async fn authenticate(
        &self,
        users: &UserTable,
        chosen: &Chosen<'_>,
        client: &ClientInfo,
        proof: &Proof,
    ) -> Result<Option<Authenticated>, Failure> {
        match chosen.choice.as_ref().map(|choice| (choice, &choice.backend.access)) {
            Some((choice, Access::Backend)) => {
                // Before the backend gets the password.
                certificate::check_name(client.certificate.get(), &choice.user)?;
                Ok(None)
            }
            Some((choice, Access::Gateway { by: Authenticator::Hook(hook), .. })) => {
                certificate::check_name(client.certificate.get(), &choice.user)?;
                self.ask_hook(hook, choice, client, proof).await.map(Some)
            }
            Some((choice, Access::Gateway { by: Authenticator::Anonymous, .. })) => {
                authenticate_anonymous(choice, client, proof).map(Some)
            }
            // Without a route, too: the reply and its time must not depend on whether the user exists.
            None | Some((_, Access::Gateway { by: Authenticator::Users, .. })) => {
                self.authenticate_user(users, chosen, client, proof).await.map(Some)
            }
        }
    }

    async fn authenticate_user(
        &self,
        users: &UserTable,
        chosen: &Chosen<'_>,
        client: &ClientInfo,
        proof: &Proof,
    ) -> Result<Authenticated, Failure> {
        let name = chosen.choice.as_ref().map_or(&proof.user, |choice| &choice.user);
        // Whatever is required, so that the time does not depend on the user.
        let password_is_right = match &proof.password {
            Some(given) => {
                let place = self.passwords.place(client.peer.ip()).await;
                // Other guesses may have been checked meanwhile.
                self.refuse_banned(client)?;
                self.passwords.verify(place, users, name, &given.password).await.is_some()
            }
            None => true,
        };
        let Some(choice) = &chosen.choice else { return Err(self.without_route(chosen)) };
        if let Some(key) = &proof.key {
            self.admits_users_key(users, choice, client, key)?;
        }
        // A name that no user can have is told as that.
        Self::paths(choice)?;
        let certificate = client.certificate.get();
        certificate::check_name(certificate, name)?;
        let user = if proof.methods().is_empty() {
            certificate::user_by_certificate(users, certificate, choice)
        } else {
            users.get(name).filter(|_| password_is_right).cloned()
        };
        let user = user.ok_or_else(|| refused("unknown user or wrong password"))?;
        if proof.key.is_none() {
            certificate::check_required(certificate, name, &user)?;
        }
        check_methods(choice.route.required | user.required, proof.methods(), client)?;
        Ok(Authenticated { groups: user.groups.clone(), destination: None })
    }

    /// Whether the gateway would accept a login with this key or certificate, perhaps with a password, too. A
    /// login hook is asked as long as the caller waits.
    pub async fn admits_key(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PresentedKey,
    ) -> Result<(), Failure> {
        let users = self.passwords.users();
        let chosen = self.choose_among(&users, client.login(user));
        let Some(choice) = &chosen.choice else { return Err(self.without_route(&chosen)) };
        match &choice.backend.access {
            Access::Gateway { by: Authenticator::Anonymous, .. } => {
                Err(refused("the route has `authenticate: anonymous`: FTP without keys"))
            }
            Access::Gateway { by: Authenticator::Hook(hook), .. } => {
                self.refuse_banned(client)?;
                match key {
                    PresentedKey::Key(key) => self.offer_to_hook(hook, choice, client, key).await,
                    PresentedKey::Certificate(_) => Err(refused(CERTIFICATE_AND_HOOK)),
                }
            }
            Access::Gateway { by: Authenticator::Users, .. } => {
                self.admits_users_key(&users, choice, client, key)
            }
            Access::Backend => {
                Err(refused("the route has `authenticate: backend`, which accepts no public keys"))
            }
        }
    }

    /// Whether a client should sign with this key. It may be that of a certificate, which is not visible
    /// before the signature: where certificates are accepted, the client signs in any case.
    pub async fn admits_offer(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
    ) -> Result<(), Failure> {
        if self.accepts_certificates(client) {
            return Ok(());
        }
        self.admits_key(client, user, &PresentedKey::Key(key.clone())).await
    }

    /// Whether the client's listener accepts certificates of users.
    pub fn accepts_certificates(&self, client: &ClientInfo) -> bool {
        self.key_trust(client).accepts_certificates()
    }

    fn admits_users_key(
        &self,
        users: &UserTable,
        choice: &Choice<'_>,
        client: &ClientInfo,
        key: &PresentedKey,
    ) -> Result<(), Failure> {
        Self::paths(choice)?;
        let known = users.get(&choice.user).ok_or_else(|| refused("unknown user"))?;
        let required = choice.route.required | known.required;
        if !required.is_empty() && !required.publickey {
            return Err(refused(PASSWORD_ONLY));
        }
        // A password besides the key can be.
        if let Access::Gateway { account: Account::PassThrough, .. } = choice.backend.access
            && !required.password
        {
            return Err(refused(KEY_NOT_FORWARDED));
        }
        let (source, now) = (client.peer.ip(), Timestamp::now());
        let admitted = self.key_trust(client).admits(known, &choice.user, key, source, now);
        admitted.map_err(|refusal| refused(&refusal.to_string()))
    }

    pub(super) fn key_trust(&self, client: &ClientInfo) -> &KeyTrust {
        self.key_trust_at(&client.listener)
    }

    pub(super) fn key_trust_at(&self, listener: &str) -> &KeyTrust {
        static NONE: KeyTrust = KeyTrust::NONE;
        self.key_trust.get(listener).unwrap_or(&NONE)
    }

    /// Records a key that was refused without a login, as most clients have several; or a login that
    /// failed since nobody could decide about the key.
    pub fn key_refused(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: PresentedKey,
        failure: &Failure,
    ) {
        let choice = self.choose(client.login(user)).choice;
        let proof = Proof::public_key(user.to_vec(), key);
        let info = SessionInfo::new(client, &proof, choice.as_ref(), &self.audit);
        if failure.kind == FailureKind::Unavailable {
            LoginRecord::new(Arc::new(info), self.metrics.clone()).done(Err(failure));
        } else {
            self.metrics.key_refused(&info, failure);
        }
    }
}

/// Whoever knows the name; a certificate of somebody else still counts.
fn authenticate_anonymous(
    choice: &Choice<'_>,
    client: &ClientInfo,
    proof: &Proof,
) -> Result<Authenticated, Failure> {
    if proof.password.is_none() {
        return Err(refused(
            "an anonymous user sends a password: anything, by convention a mail address",
        ));
    }
    certificate::check_name(client.certificate.get(), &choice.user)?;
    Ok(Authenticated { groups: Vec::new(), destination: None })
}

/// `present` has been checked.
fn check_methods(required: Methods, present: Methods, client: &ClientInfo) -> Result<(), Failure> {
    if required.without(present).is_empty() {
        return Ok(());
    }
    let setting = "`require` or `methods` of the route or user";
    if required.publickey && client.protocol != "sftp" {
        return Err(refused(&format!(
            "a public key is required ({setting}), which only SFTP clients have"
        )));
    }
    // What is present but not required proves nothing here.
    if required.and(present).is_empty() {
        return Err(refused(&format!("{required} is required ({setting}), not {present}")));
    }
    let missing = required.without(present);
    let message = "a further authentication method is required";
    Err(Failure::client(FailureKind::MethodNeeded, message)
        .with_detail(format!("{present} is accepted; {missing} is required, too ({setting})")))
}
