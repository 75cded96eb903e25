//! Who logs in: passwords and public keys of the gateway's `users`.

use std::sync::Arc;

use russh::keys::PublicKey;

use super::super::client_info::ClientInfo;
use super::super::login_record::LoginRecord;
use super::super::proof::Proof;
use super::super::session_info::SessionInfo;
use super::destination::{Destination, KEY_NOT_FORWARDED};
use super::{Gateway, certificate, refused};
use crate::auth::UserTable;
use crate::op::{Failure, FailureKind};
use crate::route::{Access, Account, Authenticator, Choice, Chosen};

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
                certificate::check_name(client, &choice.user)?;
                Ok(None)
            }
            Some((choice, Access::Gateway { by: Authenticator::Hook(hook), .. })) => {
                certificate::check_name(client, &choice.user)?;
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
        let user = match (&proof.password, &proof.key) {
            (Some(password), _) => {
                let place = self.passwords.place(client.peer.ip()).await;
                // Other guesses may have been checked meanwhile.
                self.refuse_banned(client)?;
                self.passwords.verify(place, users, name, &password.password).await
            }
            (None, Some(key)) => {
                let Some(choice) = &chosen.choice else { return Err(self.without_route(chosen)) };
                Self::admits_users_key(users, choice, client, key)?;
                users.get(name).cloned()
            }
            (None, None) => {
                let choice = chosen.choice.as_ref();
                choice.and_then(|it| certificate::user_by_certificate(users, client, it))
            }
        };
        let Some(choice) = &chosen.choice else { return Err(self.without_route(chosen)) };
        // A name that no user can have is told as that.
        Self::paths(choice)?;
        certificate::check_name(client, name)?;
        let user = user.ok_or_else(|| refused("unknown user or wrong password"))?;
        if proof.key.is_none() {
            certificate::check_required(client, name, &user)?;
        }
        Ok(Authenticated { groups: user.groups.clone(), destination: None })
    }

    /// Whether the gateway would accept a login with this key, before the client signs. A login hook is
    /// asked as long as the caller waits.
    pub async fn admits_key(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
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
                self.offer_to_hook(hook, choice, client, key).await
            }
            Access::Gateway { by: Authenticator::Users, .. } => {
                Self::admits_users_key(&users, choice, client, key)
            }
            Access::Backend => {
                Err(refused("the route has `authenticate: backend`, which accepts no public keys"))
            }
        }
    }

    fn admits_users_key(
        users: &UserTable,
        choice: &Choice<'_>,
        client: &ClientInfo,
        key: &PublicKey,
    ) -> Result<(), Failure> {
        if let Access::Gateway { account: Account::PassThrough, .. } = choice.backend.access {
            return Err(refused(KEY_NOT_FORWARDED));
        }
        Self::paths(choice)?;
        let known = users.get(&choice.user).ok_or_else(|| refused("unknown user"))?;
        known.keys.admits(key, client.peer.ip()).map_err(|refusal| refused(&refusal.to_string()))
    }

    /// Records a key that was refused before the client signed, so that no login follows; or a login that
    /// failed since nobody could decide about the key.
    pub fn key_refused(
        &self,
        client: &ClientInfo,
        user: &[u8],
        key: &PublicKey,
        failure: &Failure,
    ) {
        let choice = self.choose(client.login(user)).choice;
        let info = SessionInfo::new(client, user, Some(key), choice.as_ref(), &self.audit);
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
    certificate::check_name(client, &choice.user)?;
    Ok(Authenticated { groups: Vec::new(), destination: None })
}
