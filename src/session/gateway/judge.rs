//! Judges open sessions anew when another configuration is in force (`on_reload: judge`): those whose login
//! would be refused now, or would lead elsewhere, end; the others go on under the rules of now.

use std::sync::Arc;

use super::super::live::LiveSessions;
use super::super::login_basis::{Judge, Judged, Place};
use super::Gateway;
use crate::route::{Authenticator, LoginRequest};

/// The configuration in force, as sessions are judged by it.
struct ConfigurationJudge {
    gateway: Arc<Gateway>,
    listeners: Vec<String>,
}

impl Gateway {
    /// Ends each session after its transfers if its listener is not one of `listeners`, or its login would be
    /// refused now or would lead elsewhere; else puts the rules of now in force for it. Later logins at
    /// listeners of earlier configurations are judged, too.
    pub fn judge_sessions(self: &Arc<Self>, sessions: &LiveSessions, listeners: Vec<String>) {
        let judge = ConfigurationJudge { gateway: self.clone(), listeners };
        sessions.judge_by(Some(Arc::new(judge)));
    }
}

impl Judge for ConfigurationJudge {
    fn judge(&self, listener: &str, judged: Option<&Judged>) -> Result<(), String> {
        if !self.listeners.iter().any(|name| name == listener) {
            return Err("its listener is no more".to_owned());
        }
        judged.map_or(Ok(()), |judged| self.gateway.judge_login(judged))
    }
}

impl Gateway {
    fn judge_login(&self, Judged { basis, rules }: &Judged) -> Result<(), String> {
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
        let user = users.get(&choice.user);
        let mut facts = basis.facts.clone();
        if basis.place.by == Some(Authenticator::Users) {
            let (now, before) = (user.ok_or("the user is no more")?, basis.user.as_ref());
            if !before.is_some_and(|before| before.has_same_credentials(now)) {
                return Err("the user's password or keys are others".to_owned());
            }
            facts.groups.clone_from(&now.groups);
        }
        // Without the session, which has ended, nothing is to be done.
        if let Some(rules) = rules.upgrade() {
            rules.replace(self.session_policy(facts));
        }
        Ok(())
    }
}
