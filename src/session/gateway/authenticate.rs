//! Who logs in: passwords and public keys of the gateway's `users`.

use russh::keys::PublicKey;

use super::super::client_info::ClientInfo;
use super::super::proof::Proof;
use super::super::session_info::SessionInfo;
use super::{Gateway, refused};
use crate::op::Failure;
use crate::route::{Access, Account, Authenticator, Chosen};

pub(super) const KEY_NOT_FORWARDED: &str = "a public key cannot be passed through to a backend";

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
        chosen: &Chosen<'_>,
        client: &ClientInfo,
        proof: &Proof,
    ) -> Result<Option<Authenticated>, Failure> {
        match chosen.choice.as_ref().map(|choice| &choice.backend.access) {
            Some(Access::Backend) => Ok(None),
            // Without a route, too: the reply and its time must not depend on whether the user exists.
            None | Some(Access::Gateway { by: Authenticator::Users, .. }) => {
                self.authenticate_user(chosen, client, proof).await.map(Some)
            }
        }
    }

    async fn authenticate_user(
        &self,
        chosen: &Chosen<'_>,
        client: &ClientInfo,
        proof: &Proof,
    ) -> Result<Authenticated, Failure> {
        let name = chosen.choice.as_ref().map_or(&proof.user, |choice| &choice.user);
        let user = match (&proof.password, &proof.key) {
            (Some(password), _) => self.passwords.verify(name, &password.password).await,
            (None, Some(key)) => {
                self.admits_key(client, &proof.user, key)?;
                self.passwords.known(name)
            }
            (None, None) => None,
        };
        let Some(choice) = &chosen.choice else { return Err(self.without_route(chosen)) };
        // A name that no user can have is told as that.
        Self::paths(choice)?;
        let user = user.ok_or_else(|| refused("unknown user or wrong password"))?;
        Ok(Authenticated { groups: user.groups.clone() })
    }

    /// Whether the gateway would accept a login with this key, before the client signs.
    pub fn admits_key(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
    ) -> Result<(), Failure> {
        let chosen = self.choose(client.login(user));
        let Some(choice) = &chosen.choice else { return Err(self.without_route(&chosen)) };
        match choice.backend.access {
            Access::Gateway { account: Account::Mapped(_) | Account::None, .. } => {}
            Access::Gateway { account: Account::PassThrough, .. } => {
                return Err(refused(KEY_NOT_FORWARDED));
            }
            Access::Backend => {
                return Err(refused(
                    "the route has `authenticate: backend`, which accepts no public keys",
                ));
            }
        }
        Self::paths(choice)?;
        let known = self.passwords.known(&choice.user).ok_or_else(|| refused("unknown user"))?;
        known.keys.admits(key, client.peer.ip()).map_err(|refusal| refused(&refusal.to_string()))
    }

    /// Records a key that was refused before the client signed, so that no login follows.
    pub fn key_refused(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
        failure: &Failure,
    ) {
        let choice = self.choose(client.login(user)).choice;
        let info = SessionInfo::new(client, user, Some(key), choice.as_ref(), &self.audit);
        self.metrics.key_refused(&info, failure);
    }
}
