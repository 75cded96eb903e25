//! What the gateway would decide for a login and an operation, without either: `lockgate explain`.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;

use super::Gateway;
use crate::op::{Effect, RemotePath};
use crate::policy::{
    CommandDenial, End, Explanation, Names, Protocol, SessionFacts, SessionPolicy,
};
use crate::route::{Access, Account, Authenticator, Choice, LoginRequest, MapError, PathMap, Root};
use crate::wire::ftp::relayed::RelayedCommand;

/// A login, and perhaps an operation.
pub struct Query {
    /// The listener's name in the configuration.
    pub listener: String,
    /// What the client speaks.
    pub protocol: Protocol,
    /// Whether its connection is encrypted.
    pub encrypted: bool,
    /// Its address.
    pub source: IpAddr,
    /// That it sends under TLS (SNI).
    pub server_name: Option<String>,
    /// The user name, as the client sends it.
    pub user: Vec<u8>,
    /// Effects of an operation, each on a path as the client sees it, and at which end of a rename or link.
    pub effects: Vec<(Effect, RemotePath, End)>,
    /// An FTP command: "STOU", "SITE CHMOD".
    pub command: Option<String>,
    /// When it happens.
    pub now: Timestamp,
}

/// The decisions for a [`Query`].
pub struct Explained {
    /// The index of each route that does not match, and why.
    pub passed_over: Vec<(usize, String)>,
    /// `None`: the login is refused, since no route matches.
    pub login: Option<ExplainedLogin>,
}

/// A login for which a route was found.
pub struct ExplainedLogin {
    /// The user, without the backend's name on a route with `user_at_backend`.
    pub user: Vec<u8>,
    /// Of a user whom the gateway knows.
    pub groups: Vec<String>,
    /// The route's index in the configuration.
    pub route: usize,
    /// Its backend's name.
    pub backend: String,
    /// Who checks the password, and with which account the backend is used.
    pub identity: Cow<'static, str>,
    /// The folder that the client sees as `/`; or why the login is refused.
    pub root: Result<Root, String>,
    /// The paths of the operation that the route's `rewrite` changes, and the backend's below that folder.
    pub rewritten: Vec<(RemotePath, Result<RemotePath, MapError>)>,
    /// `None` without `policy`.
    pub policy: Option<ExplainedPolicy>,
    /// The `policy.limits` that apply, with what they count at present.
    pub limits: Vec<String>,
}

/// What the rules decide.
pub struct ExplainedPolicy {
    /// Whether they only log (`policy.dry_run`).
    pub dry_run: bool,
    /// For each effect of the operation.
    pub effects: Vec<(Effect, RemotePath, Explanation)>,
    /// For the FTP command.
    pub command: Option<Result<(), CommandDenial>>,
}

impl Gateway {
    /// Decides a query as it decides a client's requests. No backend is asked.
    pub fn explain(&self, query: &Query) -> Explained {
        let request = LoginRequest {
            listener: &query.listener,
            source: query.source,
            server_name: query.server_name.as_deref(),
            name: &query.user,
        };
        let chosen = self.choose(request);
        let passed_over = chosen.passed_over.iter().map(ToString::to_string).enumerate().collect();
        let login = chosen.choice.as_ref().map(|choice| self.explain_login(query, choice));
        Explained { passed_over, login }
    }

    fn explain_login(&self, query: &Query, choice: &Choice<'_>) -> ExplainedLogin {
        let backend = choice.backend.name.clone();
        let users = self.passwords.users();
        let known = users.get(&choice.user);
        let (identity, groups) = match (&choice.backend.access, known) {
            (Access::Backend, _) => ("the backend checks the password".into(), Vec::new()),
            (Access::Gateway { by: Authenticator::Anonymous, .. }, _) => {
                ("anonymous FTP: nobody checks the password".into(), Vec::new())
            }
            (Access::Gateway { by: Authenticator::Hook(hook), .. }, _) => {
                let identity = format!(
                    "the login hook \"{hook}\" decides, which is not asked here; its answer may have groups, and \
                     another user, backend and root"
                );
                (identity.into(), Vec::new())
            }
            (Access::Gateway { .. }, None) => {
                ("the gateway does not know the user".into(), Vec::new())
            }
            (Access::Gateway { account, .. }, Some(user)) => {
                let identity = match account {
                    Account::PassThrough => {
                        "the gateway checks the password, then the backend does"
                    }
                    Account::Mapped(_) => {
                        "the gateway checks the user, and has an account of its own at the backend"
                    }
                    Account::Minted(_) => {
                        "the gateway checks the user, and signs a certificate for the backend"
                    }
                    Account::None => "the gateway checks the user",
                };
                (Cow::Borrowed(identity), user.groups.clone())
            }
        };
        let facts = SessionFacts {
            user: choice.user.clone(),
            groups: groups.clone(),
            listener: query.listener.clone(),
            backend: backend.clone(),
            protocol: query.protocol,
            encrypted: query.encrypted,
            source: query.source,
        };
        let limits = self.policy_limits.explain(&facts);
        let is_opaque = self.backends.get(&backend).is_some_and(|it| it.is_opaque());
        let policy = self.session_policy(facts).map(|policy| {
            let explain = |(effect, path, end): &(Effect, RemotePath, End)| {
                (*effect, path.clone(), policy.explain(*effect, path, *end, query.now))
            };
            ExplainedPolicy {
                dry_run: policy.is_dry_run(),
                effects: query.effects.iter().map(explain).collect(),
                command: query
                    .command
                    .as_deref()
                    .map(|command| explain_command(&policy, command, is_opaque, query.now)),
            }
        });
        let refusal = match (&choice.backend.access, known) {
            (
                Access::Backend
                | Access::Gateway { by: Authenticator::Hook(_) | Authenticator::Anonymous, .. },
                _,
            )
            | (_, Some(_)) => None,
            (_, None) => Some("the user is not in `users`".to_owned()),
        };
        let paths =
            Self::paths(choice).map_err(|failure| failure.detail.unwrap_or(failure.message));
        let (root, rewrites) =
            paths.map_or_else(|why| (Err(why), Vec::new()), |(root, rest)| (Ok(root), rest));
        let root = refusal.map_or(root, Err);
        let names = self.backends.get(&backend).map_or(Names::Exact, |it| it.names());
        let map = PathMap::new(RemotePath::root(), rewrites, names);
        let mut rewritten = Vec::new();
        for (_, path, _) in &query.effects {
            let there = map.to_backend(path);
            if there.as_ref() != Ok(path) && !rewritten.contains(&(path.clone(), there.clone())) {
                rewritten.push((path.clone(), there));
            }
        }
        let user = choice.user.clone();
        ExplainedLogin {
            user,
            groups,
            route: choice.number,
            backend,
            identity,
            root,
            rewritten,
            policy,
            limits,
        }
    }
}

/// At an opaque server, a command that the gateway does not know must be named by a rule.
fn explain_command(
    policy: &SessionPolicy,
    command: &str,
    is_opaque: bool,
    now: Timestamp,
) -> Result<(), CommandDenial> {
    match RelayedCommand::parse(command.as_bytes()) {
        Ok(Some(relayed)) if is_opaque && relayed.needs_named_rule() => {
            policy.explain_named_command(command, now).map(drop)
        }
        _ => policy.explain_command(command, now),
    }
}
