//! The conditions of rules and limits on a session.

use globset::GlobSet;
use ipnet::IpNet;

use super::facts::{Protocol, SessionFacts};
use crate::op::as_os_path;

/// The conditions that are decided once for a session; an absent one holds for every session.
#[derive(Debug, Clone, Default)]
pub struct SessionConditions {
    /// Globs over user names.
    pub users: Option<GlobSet>,
    /// Groups, of which the user must have one.
    pub groups: Option<Vec<String>>,
    /// Names of listeners.
    pub listeners: Option<Vec<String>>,
    /// Names of backends.
    pub backends: Option<Vec<String>>,
    /// The protocol of the front.
    pub protocols: Option<Vec<Protocol>>,
    /// Networks of clients.
    pub sources: Option<Vec<IpNet>>,
}

impl SessionConditions {
    /// Whether all conditions hold for a session.
    pub fn covers(&self, facts: &SessionFacts) -> bool {
        self.mismatch(facts).is_none()
    }

    /// The key of the first condition that does not hold.
    pub fn mismatch(&self, facts: &SessionFacts) -> Option<&'static str> {
        let holds = |names: &Option<Vec<String>>, name: &String| {
            names.as_ref().is_none_or(|names| names.contains(name))
        };
        let user = as_os_path(&facts.user);
        let checks = [
            ("listeners", holds(&self.listeners, &facts.listener)),
            ("backends", holds(&self.backends, &facts.backend)),
            ("protocols", self.protocols.as_ref().is_none_or(|all| all.contains(&facts.protocol))),
            (
                "groups",
                self.groups
                    .as_ref()
                    .is_none_or(|listed| facts.groups.iter().any(|group| listed.contains(group))),
            ),
            (
                "sources",
                self.sources
                    .as_ref()
                    .is_none_or(|nets| nets.iter().any(|net| net.contains(&facts.source))),
            ),
            ("users", self.users.as_ref().is_none_or(|users| users.is_match(user))),
        ];
        checks.into_iter().find(|(_, holds)| !holds).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSetBuilder};

    use super::*;

    fn facts() -> SessionFacts {
        SessionFacts {
            user: b"pay-1".to_vec(),
            groups: vec!["partners".into(), "night".into()],
            listener: "public".into(),
            backend: "warehouse".into(),
            protocol: Protocol::Sftp,
            encrypted: true,
            source: "198.51.100.7".parse().unwrap(),
        }
    }

    fn users(pattern: &str) -> Option<GlobSet> {
        Some(GlobSetBuilder::new().add(Glob::new(pattern).unwrap()).build().unwrap())
    }

    #[test]
    fn absent_conditions_hold_and_each_present_one_must() {
        let any = SessionConditions::default;
        let names = |name: &str| Some(vec!["other".to_owned(), name.to_owned()]);
        for (conditions, expected) in [
            (any(), None),
            (SessionConditions { users: users("pay-*"), ..any() }, None),
            (SessionConditions { users: users("pay"), ..any() }, Some("users")),
            (SessionConditions { groups: names("night"), ..any() }, None),
            (SessionConditions { groups: names("day"), ..any() }, Some("groups")),
            (SessionConditions { listeners: names("public"), ..any() }, None),
            (SessionConditions { listeners: names("inside"), ..any() }, Some("listeners")),
            (SessionConditions { backends: names("warehouse"), ..any() }, None),
            (SessionConditions { backends: names("payroll"), ..any() }, Some("backends")),
            (SessionConditions { protocols: Some(vec![Protocol::Sftp]), ..any() }, None),
            (
                SessionConditions { protocols: Some(vec![Protocol::Ftp]), ..any() },
                Some("protocols"),
            ),
            (
                SessionConditions {
                    sources: Some(vec!["198.51.100.0/24".parse().unwrap()]),
                    ..any()
                },
                None,
            ),
            (
                SessionConditions {
                    sources: Some(vec!["198.51.101.0/24".parse().unwrap()]),
                    ..any()
                },
                Some("sources"),
            ),
            (
                SessionConditions { users: users("pay-*"), groups: names("day"), ..any() },
                Some("groups"),
            ),
        ] {
            assert_eq!(conditions.mismatch(&facts()), expected, "{conditions:?}");
            assert_eq!(conditions.covers(&facts()), expected.is_none());
        }
    }
}
