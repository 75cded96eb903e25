//! Logins that a login hook decides about (`authenticate: http`), and what its answer changes.

use russh::keys::PublicKey;

use super::super::client_info::ClientInfo;
use super::super::proof::Proof;
use super::authenticate::{Authenticated, CERTIFICATE_AND_HOOK};
use super::destination::{Destination, KEY_NOT_FORWARDED, no_folder};
use super::{Gateway, refused};
use crate::auth::PresentedKey;
use crate::auth::hook::{Answer, LoginHook, NoVerdict, Question, Shown, Verdict};
use crate::net::tls::ClientCertificate;
use crate::op::{Failure, FailureKind};
use crate::policy::limits::{Limit, Per};
use crate::route::{Account, Backends, Choice, RootSetting};

impl Gateway {
    /// A user whom the hook has let in.
    pub(super) async fn ask_hook(
        &self,
        hook: &str,
        choice: &Choice<'_>,
        client: &ClientInfo,
        proof: &Proof,
    ) -> Result<Authenticated, Failure> {
        let shown = match (&proof.password, &proof.key) {
            (Some(password), _) => Shown::Password(&password.password),
            (None, Some(key)) => match &**key {
                PresentedKey::Key(key) => {
                    self.refuse_revoked(client, key)?;
                    Shown::ProvedKey(key)
                }
                PresentedKey::Certificate(_) => return Err(refused(CERTIFICATE_AND_HOOK)),
            },
            (None, None) => return Err(refused("the client has shown neither password nor key")),
        };
        let sent = proof.password.as_ref().map(|password| &password.sent);
        sent.iter().for_each(|sent| sent.set());
        let user = self.decided_by_hook(hook, choice, client, shown).await?;
        sent.iter().for_each(|sent| sent.clear());
        // Other guesses may have been decided meanwhile.
        self.refuse_banned(client)?;
        Ok(user)
    }

    /// What the hook knows of keys does not count for those of the listener's `revoked_keys`.
    fn refuse_revoked(&self, client: &ClientInfo, key: &PublicKey) -> Result<(), Failure> {
        let refused_key = self.key_trust(client).refuse_revoked_key(key);
        refused_key.map_err(|refusal| refused(&refusal.to_string()))
    }

    /// Whether the hook would let a client with this key in. Nobody has signed yet: the hook is asked again.
    pub(super) async fn offer_to_hook(
        &self,
        hook: &str,
        choice: &Choice<'_>,
        client: &ClientInfo,
        key: &PublicKey,
    ) -> Result<(), Failure> {
        self.refuse_revoked(client, key)?;
        let shown = Shown::OfferedKey(key);
        let user = self.decided_by_hook(hook, choice, client, shown).await?;
        match user.destination.map(|destination| destination.account) {
            Some(Account::PassThrough) => Err(refused(KEY_NOT_FORWARDED)),
            _ => Ok(()),
        }
    }

    async fn decided_by_hook(
        &self,
        name: &str,
        choice: &Choice<'_>,
        client: &ClientInfo,
        shown: Shown<'_>,
    ) -> Result<Authenticated, Failure> {
        let hook = self.login_hooks.hooks.get(name).ok_or_else(|| {
            Failure::gateway(FailureKind::Internal, "the route's login hook does not exist")
        })?;
        let question = Question {
            user: &choice.user,
            shown,
            certificate: client.certificate.get().map(ClientCertificate::der),
            source: client.peer.ip().to_canonical(),
            listener: &client.listener,
            protocol: client.protocol,
            encrypted: client.encryption.get().is_some(),
            backend: &choice.backend.name,
        };
        match hook.ask(&question, |answer| self.granted(hook, answer, choice)).await {
            Ok(Verdict::Allowed(granted)) => granted,
            Ok(Verdict::Refused(reason)) => {
                let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
                Err(refused(&format!("the login hook \"{name}\" refuses the login{reason}")))
            }
            Err(NoVerdict::Question(bad)) => Err(refused(&bad.to_string())),
            Err(NoVerdict::Hook(error)) => Err(Failure::gateway(
                FailureKind::Unavailable,
                "the login cannot be checked at present; try again later",
            )
            .with_detail(format!(
                "the login hook \"{name}\" (login_hooks.{name}) has not decided: {error}"
            ))),
        }
    }

    /// What an answer gives; the outer error is the hook's fault.
    fn granted(
        &self,
        hook: &LoginHook,
        answer: &Answer,
        choice: &Choice<'_>,
    ) -> Result<Result<Authenticated, Failure>, String> {
        let other_user = answer.user.as_ref().filter(|user| user.as_bytes() != choice.user);
        let user = match other_user {
            // Their passwords and keys are the gateway's to check.
            Some(user) if self.passwords.users().get(user.as_bytes()).is_some() => {
                return Err(format!("names \"{user}\", who is one of the gateway's `users`"));
            }
            Some(user) => user.clone().into_bytes(),
            None => choice.user.clone(),
        };
        let backend = self.answered_backend(answer, choice)?;
        let account = self.answered_account(answer, &backend)?;
        let answered_root = answer.root.as_deref().map(RootSetting::from_text).transpose();
        let answered_root = answered_root.map_err(|wrong| format!("has a `root` that {wrong}"))?;
        let root = answered_root.as_ref().unwrap_or(&choice.route.root);
        let (root, rewrites) = match Self::folders(choice, root, &user) {
            Ok(folders) => folders,
            Err((key, _, why)) if other_user.is_some() => {
                return Err(format!(
                    "names a user who cannot have the folder of `{key}`: the name {why}"
                ));
            }
            Err(error) => return Ok(Err(no_folder(choice, error))),
        };
        let destination = Destination {
            user,
            backend,
            account,
            is_own_account: answer.account.is_some(),
            root,
            rewrites,
            limit: limit(hook.name(), answer),
        };
        Ok(Ok(Authenticated { groups: answer.groups.clone(), destination: Some(destination) }))
    }

    fn answered_backend(&self, answer: &Answer, choice: &Choice<'_>) -> Result<String, String> {
        let own = &choice.backend.name;
        match &answer.backend {
            None => Ok(own.clone()),
            Some(backend) if backend == own => Ok(own.clone()),
            Some(backend) if matches!(choice.route.backends, Backends::Named(_)) => Err(format!(
                "names the backend \"{backend}\", but the client has named another (user_at_backend)"
            )),
            Some(backend) if self.backends.contains_key(backend) => Ok(backend.clone()),
            Some(backend) => Err(format!("names \"{backend}\", which is none of the `backends`")),
        }
    }

    fn answered_account(&self, answer: &Answer, backend: &str) -> Result<Account, String> {
        let configured = self.login_hooks.accounts.get(backend);
        match (&answer.account, configured) {
            (Some(_), Some(Account::None)) => {
                Err(format!("has an `account`, but the backend \"{backend}\" is a folder"))
            }
            (Some(account), _) => Ok(Account::Mapped(account.credentials())),
            (None, Some(account)) => Ok(account.clone()),
            (None, None) => Err(format!("leads to \"{backend}\", which is none of the `backends`")),
        }
    }
}

/// A user's limit from an answer; it is shared by all sessions of the user that the hook has let in.
fn limit(hook: &str, answer: &Answer) -> Option<Limit> {
    let given = &answer.limits;
    (*given != Default::default()).then(|| Limit {
        // No limit of the configuration has a space in its name.
        name: format!("login hook {hook}"),
        is_answered: true,
        per: Per::User,
        bandwidth: given.bandwidth,
        upload_bandwidth: given.upload_bandwidth,
        download_bandwidth: given.download_bandwidth,
        sessions: given.sessions,
        transfers: given.transfers,
        ..Limit::default()
    })
}
