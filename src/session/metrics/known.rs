//! Series that exist before what they count happens: an increase is seen only between two values. Those of
//! each listener and backend together do not: there may be very many, and few of them in use.

use super::{ListenerScope, Metrics, MetricsScope};
use crate::session::client_refusal::ClientRefusal;
use crate::session::outcome_class::OutcomeClass;

/// How every login may end.
const ENDS: [&str; 4] = ["ok", "refused", "failed", "aborted"];

impl Metrics {
    /// Creates them, at 0.
    pub(super) fn know(&self, scope: &MetricsScope) {
        for (listener, of) in &scope.listeners {
            self.without_login.with_label_values(&[listener]);
            let is_possible = |kind: &&ClientRefusal| kind.is_possible(of.protocols);
            for kind in ClientRefusal::ALL.iter().filter(is_possible) {
                self.clients_refused.with_label_values(&[listener, kind.as_str()]);
            }
            for &protocol in of.protocols {
                for (method, outcome) in logins(protocol, of) {
                    self.logins.with_label_values(&[listener, protocol, method, outcome]);
                }
                for outcome in [OutcomeClass::Ok, OutcomeClass::Failed] {
                    self.login_seconds.with_label_values(&[protocol, outcome.as_str()]);
                }
            }
        }
        scope.backends.iter().for_each(|backend| self.outages.know(backend));
    }
}

/// The methods of clients of this protocol, with the outcomes of each.
fn logins(protocol: &str, of: &ListenerScope) -> Vec<(&'static str, &'static str)> {
    let methods: &[_] = match protocol {
        "sftp" => &["password", "publickey", "publickey,password"],
        "ftps" => &["password", "certificate"],
        _ => &["password"],
    };
    let methods = methods.iter().copied().chain(of.has_anonymous.then_some("anonymous"));
    let mut all: Vec<_> =
        methods.flat_map(|method| ENDS.map(|outcome| (method, outcome))).collect();
    if protocol == "sftp" {
        all.extend([("password", "partial"), ("publickey", "partial")]);
        all.extend([("publickey", "key-refused"), ("publickey,password", "key-refused")]);
    }
    all
}
