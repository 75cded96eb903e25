//! Judges open sessions anew when another configuration is in force (`on_reload: judge`): those whose login
//! would be refused now, or would lead elsewhere, end; the others go on under the rules of now.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::live::LiveSessions;
use super::super::login_basis::{Judge, Judged, LoginBasis, Place};
use super::{Gateway, certificate};
use crate::auth::{Methods, PresentedKey, User};
use crate::net::tls::{ClientAuth, ClientCertificate};
use crate::route::{Authenticator, Choice, LoginRequest};

/// The client reads it: it must not tell which files the gateway has.
const KEY_REFUSED: &str = "the client's key or SSH certificate is not accepted any more (trusted_user_ca_keys, \
                           revoked_keys)";

/// What a listener demands of its sessions before their logins.
#[derive(Default)]
pub struct ListenerDemands {
    /// Logins in clear are refused (`tls.mode`).
    pub tls_required: bool,
    /// `None`: it does not ask for certificates.
    pub client_auth: Option<ClientAuth>,
    /// Those that it offers (`methods`). `None`: as many as its protocol has.
    pub methods: Option<Methods>,
}

/// The configuration in force, as sessions are judged by it.
struct ConfigurationJudge {
    gateway: Arc<Gateway>,
    listeners: HashMap<String, ListenerDemands>,
}

impl Gateway {
    /// Ends each session after its transfers if its listener is not one of `listeners`, or its login would be
    /// refused now or would lead elsewhere; else puts the rules of now in force for it. Later logins at
    /// listeners of earlier configurations are judged, too.
    pub fn judge_sessions(
        self: &Arc<Self>,
        sessions: &LiveSessions,
        listeners: HashMap<String, ListenerDemands>,
    ) {
        let judge = ConfigurationJudge { gateway: self.clone(), listeners };
        sessions.judge_by(Some(Arc::new(judge)));
    }
}

impl Judge for ConfigurationJudge {
    fn judge(&self, listener: &str, judged: Option<&Judged>) -> Result<(), String> {
        let demands = self.listeners.get(listener).ok_or("its listener is no more")?;
        let Some(judged) = judged else { return Ok(()) };
        let certificate = demands.certificate(&judged.basis)?;
        let methods = demands.methods(&judged.basis)?;
        self.gateway.judge_login(judged, certificate.as_ref(), methods)
    }
}

impl ListenerDemands {
    /// The session's certificate, if it counts here.
    fn certificate(&self, basis: &LoginBasis) -> Result<Option<ClientCertificate>, String> {
        if self.tls_required && !basis.facts.encrypted {
            return Err("its listener requires TLS now".to_owned());
        }
        let Some(client_auth) = &self.client_auth else { return Ok(None) };
        match &basis.presented.certificate {
            Some(certificate) => match client_auth.verified_again(certificate) {
                Ok(certificate) => Ok(Some(certificate)),
                Err(reason) => {
                    Err(format!("the client's certificate is not accepted any more: {reason}"))
                }
            },
            None if client_auth.is_required() => {
                Err("its listener requires a certificate of the client now".to_owned())
            }
            None => Ok(None),
        }
    }

    /// What the session has presented, as far as it could be presented here.
    fn methods(&self, basis: &LoginBasis) -> Result<Methods, String> {
        let presented = basis.presented.methods;
        let offered = self.methods.map_or(presented, |offered| presented.and(offered));
        if offered.is_empty() && !presented.is_empty() {
            return Err(format!("its listener does not accept {presented} any more (`methods`)"));
        }
        Ok(offered)
    }
}

impl Gateway {
    /// `certificate`: the client's, if it counts at the listener of now; `methods`: those that it has presented
    /// and that the listener offers now.
    fn judge_login(
        &self,
        Judged { basis, rules }: &Judged,
        certificate: Option<&ClientCertificate>,
        methods: Methods,
    ) -> Result<(), String> {
        let users = self.passwords.users();
        let chosen = self.choose_among(
            &users,
            LoginRequest {
                listener: &basis.facts.listener,
                source: basis.source,
                server_name: basis.server_name.as_deref(),
                name: &basis.name,
            },
        );
        let choice = chosen.choice.as_ref().ok_or("no route matches this login any more")?;
        if Place::of(choice) != basis.place {
            return Err("this login leads elsewhere now".to_owned());
        }
        certificate::check_name(certificate, &choice.user)
            .map_err(|_| "the client's certificate does not name the user any more")?;
        let mut facts = basis.facts.clone();
        match &basis.place.by {
            Some(Authenticator::Users) => {
                let user = users.get(&choice.user).ok_or("the user is no more")?;
                self.judge_user(user, choice, basis, (certificate, methods))?;
                facts.groups.clone_from(&user.groups);
            }
            Some(Authenticator::Hook(_)) => {
                if let Some(PresentedKey::Key(key)) = basis.presented.key.as_deref() {
                    let trust = self.key_trust_at(&basis.facts.listener);
                    trust.refuse_revoked_key(key).map_err(|_| KEY_REFUSED)?;
                }
            }
            Some(Authenticator::Anonymous) | None => {}
        }
        // Without the session, which has ended, nothing is to be done.
        if let Some(rules) = rules.upgrade() {
            rules.replace(self.session_policy(facts));
        }
        Ok(())
    }

    fn judge_user(
        &self,
        user: &Arc<User>,
        choice: &Choice<'_>,
        basis: &LoginBasis,
        (certificate, methods): (Option<&ClientCertificate>, Methods),
    ) -> Result<(), String> {
        if !basis.user.as_ref().is_some_and(|before| before.has_same_credentials(user)) {
            return Err("the user's password or keys are others".to_owned());
        }
        let presented = &basis.presented;
        let required = choice.route.required | user.required;
        let missing = required.without(methods);
        if !missing.is_empty() {
            return Err(format!("{missing} is required now (`require` or `methods` of the route)"));
        }
        if methods.is_empty() && !certificate::is_enough(user, certificate, &choice.user) {
            return Err("the client's certificate is not enough any more".to_owned());
        }
        let Some(key) = presented.key.as_deref() else {
            let required = certificate::check_required(certificate, &choice.user, user);
            return required.map_err(|_| "the user needs a certificate that names the user".into());
        };
        let trust = self.key_trust_at(&basis.facts.listener);
        let admitted = trust.admits(user, &choice.user, key, basis.source, presented.at);
        admitted.map_err(|_| KEY_REFUSED.to_owned())
    }
}
