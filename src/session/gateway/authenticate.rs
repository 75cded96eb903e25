//! Who logs in: passwords and public keys of the gateway's `users`.

use russh::keys::PublicKey;

use super::super::client_info::ClientInfo;
use super::super::proof::Proof;
use super::super::session_info::SessionInfo;
use super::{Gateway, refused};
use crate::auth::{KeyTrust, Methods, PresentedKey, UserTable};
use crate::op::{Failure, FailureKind};
use crate::route::{Access, Account, Authenticator, Chosen};

pub(super) const KEY_NOT_FORWARDED: &str = "a public key cannot be passed through to a backend";

const PASSWORD_ONLY: &str = "a password is required, and keys are not accepted (`require` or `methods` of the route or user)";

/// A user whom the gateway has authenticated.
pub(super) struct Authenticated {
    /// For routes, policy and limits.
    pub(super) groups: Vec<String>,
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
        match chosen.choice.as_ref().map(|choice| &choice.backend.access) {
            Some(Access::Backend) => Ok(None),
            // Without a route, too: the reply and its time must not depend on whether the user exists.
            None | Some(Access::Gateway { by: Authenticator::Users, .. }) => {
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
        if let Some(key) = &proof.key {
            self.judge_key(users, client, &proof.user, key)?;
        }
        let Some(choice) = &chosen.choice else { return Err(self.without_route(chosen)) };
        // A name that no user can have is told as that.
        Self::paths(choice)?;
        let user = users.get(name).filter(|_| password_is_right);
        let user = user.ok_or_else(|| refused("unknown user or wrong password"))?;
        check_methods(choice.route.required | user.required, proof.methods(), client)?;
        Ok(Authenticated { groups: user.groups.clone() })
    }

    /// Whether the gateway would accept a login with this key or certificate, perhaps with a password, too.
    pub fn admits_key(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PresentedKey,
    ) -> Result<(), Failure> {
        self.judge_key(&self.passwords.users(), client, user, key)
    }

    fn judge_key(
        &self,
        users: &UserTable,
        client: &ClientInfo,
        user: &[u8],
        key: &PresentedKey,
    ) -> Result<(), Failure> {
        let chosen = self.choose_among(users, client.login(user));
        let Some(choice) = &chosen.choice else { return Err(self.without_route(&chosen)) };
        let Access::Gateway { account, .. } = &choice.backend.access else {
            return Err(refused(
                "the route has `authenticate: backend`, which accepts no public keys",
            ));
        };
        Self::paths(choice)?;
        let known = users.get(&choice.user).ok_or_else(|| refused("unknown user"))?;
        let required = choice.route.required | known.required;
        if !required.is_empty() && !required.publickey {
            return Err(refused(PASSWORD_ONLY));
        }
        // A password besides the key can be.
        if matches!(account, Account::PassThrough) && !required.password {
            return Err(refused(KEY_NOT_FORWARDED));
        }
        let admitted = self.key_trust(client).admits(known, &choice.user, key, client.peer.ip());
        admitted.map_err(|refusal| refused(&refusal.to_string()))
    }

    /// Whether a client should sign with this key. It may be that of a certificate, which is not visible
    /// before the signature: where certificates are accepted, the client signs in any case.
    pub fn admits_offer(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
    ) -> Result<(), Failure> {
        if self.key_trust(client).accepts_certificates() {
            return Ok(());
        }
        self.admits_key(client, user, &PresentedKey::Key(key.clone()))
    }

    fn key_trust(&self, client: &ClientInfo) -> &KeyTrust {
        static NONE: KeyTrust = KeyTrust::NONE;
        self.key_trust.get(&client.listener).unwrap_or(&NONE)
    }

    /// Records a key that was refused without a login: most clients have several.
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
        self.metrics.key_refused(&info, failure);
    }
}

/// `present` has been checked.
fn check_methods(required: Methods, present: Methods, client: &ClientInfo) -> Result<(), Failure> {
    if present.is_empty() {
        return Err(refused("nothing that proves the user was presented"));
    }
    if required.is_empty() || required.without(present).is_empty() {
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
