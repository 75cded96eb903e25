//! The keys of the configuration file and their descriptions: those of the top; the others by the key they belong to.

use super::leaf::{Leaf, OneOrMore};
use super::read::{Many, Named, OneOrMany, section};
use super::values::*;

mod audit;
mod backends;
mod data_ports;
mod expect;
mod guard;
mod limits;
mod listeners;
mod login;
mod login_hook;
mod operators;
mod policy;
mod routes;
mod users;

pub(super) use audit::*;
pub(super) use backends::*;
pub(super) use data_ports::*;
pub(super) use expect::*;
pub(super) use guard::*;
pub(super) use limits::*;
pub(super) use listeners::*;
pub(super) use login::*;
pub(super) use login_hook::*;
pub(super) use operators::*;
pub(super) use policy::*;
pub(super) use routes::*;
pub(super) use users::*;

section! {
    /// The configuration of a lockgate gateway.
    File {
        /// Where clients connect, by name.
        [required] listeners: Named<Listener>,
        /// Pools of passive data ports, by name.
        data_ports: Named<Pool>,
        /// The servers behind the gateway, by name.
        [required] backends: Named<Backend>,
        /// Users whom the gateway authenticates, by name.
        users: Named<User>,
        /// Programs that decide about logins of routes with `authenticate: http`, by name.
        login_hooks: Named<LoginHook>,
        /// A file with more of them under `users`, or a list of files. Read again when they have changed:
        /// the users of a file with an error stay as they were.
        users_file: OneOrMore<PathName>,
        /// The backend for each user, chosen at login. The first match applies; a login without a match
        /// is refused.
        [required] routes: Many<Route>,
        /// What users may do. Absent: whatever the backend allows.
        policy: Policy,
        /// Files that partners are expected to deliver, each by a time of day.
        expect: Many<Expect>,
        /// Limits and timeouts. Absent: the defaults.
        limits: Limits,
        /// What a reload does with open sessions. keep (default): they keep what they had. judge: those whose
        /// login would now be refused or lead elsewhere end after their transfers; the others go on under the
        /// new rules.
        on_reload: Leaf<OnReload>,
        /// How the gateway ends. Absent: the defaults.
        drain: Drain,
        /// Delays and bans after failed logins. Absent: the defaults.
        login_guard: LoginGuard,
        /// The folder for what a restart must not lose: the daily quotas of `policy.limits`, and which files of
        /// `expect` have arrived. It must exist. Absent: they start at zero.
        state_dir: Leaf<PathName>,
        /// The address of /metrics, /live and /ready, and which users have metrics. Absent: none.
        metrics: Metrics,
        /// The socket of the commands that ask the running gateway, such as `lockgate ports`, and the address of
        /// the status page. Absent: none.
        admin: Admin,
        /// What is logged, and how. Absent: the defaults.
        log: Log,
        /// Where records of logins, operations, transfers and sessions go, for an audit: one output, or a
        /// list of them. Absent: none.
        audit: OneOrMany<Audit>,
    }
}
