//! Judges open sessions anew when another configuration is in force (`on_reload: judge`): those whose login
//! would be refused now, or would lead elsewhere, end; the others go on under the rules of now.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use super::super::core::SessionCore;
use super::super::end::SessionEnd;
use super::super::live::LiveSession;
use super::Gateway;
use crate::auth::{User, UserTable};
use crate::op::Fault;
use crate::policy::SessionFacts;
use crate::route::{Access, Authenticator, Choice, LoginRequest, RewriteSetting, RootSetting};

/// What a login was decided by.
pub(in crate::session) struct LoginBasis {
    name: Vec<u8>,
    source: IpAddr,
    server_name: Option<String>,
    /// As the rules know the session.
    facts: SessionFacts,
    /// The route's, and who authenticated the user.
    place: Place,
    /// The entry of `users`.
    user: Option<Arc<User>>,
}

/// Where a route leads.
#[derive(PartialEq, Eq)]
struct Place {
    backend: String,
    root: RootSetting,
    rewrites: Vec<RewriteSetting>,
    /// `None`: the backend.
    by: Option<Authenticator>,
}

/// A logged-in session with what its login was decided by.
pub(in crate::session) struct Judged {
    pub(in crate::session) basis: LoginBasis,
    pub(in crate::session) core: Weak<SessionCore>,
}

impl LoginBasis {
    pub(in crate::session) fn new(
        request: LoginRequest<'_>,
        choice: &Choice<'_>,
        users: &UserTable,
        facts: SessionFacts,
    ) -> Self {
        Self {
            name: request.name.to_owned(),
            source: request.source,
            server_name: request.server_name.map(str::to_owned),
            user: users.get(&choice.user).cloned(),
            place: Place::of(choice),
            facts,
        }
    }
}

impl Place {
    fn of(choice: &Choice<'_>) -> Self {
        Self {
            backend: choice.backend.name.clone(),
            root: choice.route.root.clone(),
            rewrites: choice.route.rewrites.clone(),
            by: match &choice.backend.access {
                Access::Backend => None,
                Access::Gateway { by, .. } => Some(by.clone()),
            },
        }
    }
}

impl Gateway {
    /// Ends a session after its transfers if its listener is not one of `listeners`, or its login would be
    /// refused now or would lead elsewhere; else puts the rules of now in force for it. A session that has not
    /// logged in is judged when it has.
    pub fn judge(self: &Arc<Self>, session: &LiveSession, listeners: &[&str]) {
        let verdict = if listeners.contains(&session.listener()) {
            match session.judged_or_later(self) {
                None => return,
                Some(judged) => self.judge_login(&judged),
            }
        } else {
            Err("its listener is no more".to_owned())
        };
        end_unless(verdict, session);
    }

    /// As [`Gateway::judge`], at the end of a login by the gateway before.
    pub(in crate::session) fn judge_late(&self, session: &LiveSession, judged: &Judged) {
        end_unless(self.judge_login(judged), session);
    }

    fn judge_login(&self, Judged { basis, core }: &Judged) -> Result<(), String> {
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
        if let Some(core) = core.upgrade() {
            core.rules.replace(self.session_policy(facts));
        }
        Ok(())
    }
}

fn end_unless(verdict: Result<(), String>, session: &LiveSession) {
    if let Err(reason) = verdict {
        let reason = format!("the configuration has changed, and {reason}");
        session.end_after_transfers(SessionEnd::by(Fault::Policy, reason));
    }
}
