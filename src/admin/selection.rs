//! Which sessions an operator means, as a request's query has it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::text::cut;
use crate::session::{LiveAccount, LiveSession};

/// The sessions that an operator means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The one with this number in the log.
    Session(u64),
    /// Those that are logged in, or being logged in, as this user.
    User(String),
    /// Those of clients at this address.
    Address(IpAddr),
    /// Those whose user's route leads to this backend, once a login has begun.
    Backend(String),
}

impl Selection {
    /// For the query of a request.
    pub(super) fn pair(&self) -> (&'static str, String) {
        match self {
            Self::Session(number) => ("id", number.to_string()),
            Self::User(user) => ("user", user.clone()),
            Self::Address(address) => ("address", address.to_string()),
            Self::Backend(backend) => ("backend", backend.clone()),
        }
    }

    pub(super) fn includes(&self, session: &LiveSession) -> bool {
        match self {
            Self::Session(number) => session.number() == *number,
            Self::Address(address) => session.client().ip() == *address,
            Self::User(user) => of_account(session, |it| it.user == user.as_bytes()),
            Self::Backend(backend) => of_account(session, |it| it.backend == *backend),
        }
    }
}

fn of_account(session: &LiveSession, is_meant: impl FnOnce(&LiveAccount) -> bool) -> bool {
    session.account().is_some_and(|account| is_meant(&account))
}

/// A request's query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) selection: Option<Selection>,
    pub(super) after_transfers: bool,
}

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let selection = match &*key {
                "id" => Selection::Session(value.parse().map_err(|_| "`id` is not a number")?),
                "user" => Selection::User(value.into_owned()),
                "backend" => Selection::Backend(value.into_owned()),
                "address" => {
                    let address: IpAddr =
                        value.parse().map_err(|_| "`address` is not an IP address")?;
                    Selection::Address(address.to_canonical())
                }
                "after_transfers" => {
                    parsed.after_transfers =
                        value.parse().map_err(|_| "`after_transfers` is neither true nor false")?;
                    continue;
                }
                other => return Err(format!("unknown parameter `{}`", cut(other.as_bytes()))),
            };
            if parsed.selection.replace(selection).is_some() {
                return Err("give only one of `id`, `user`, `address` and `backend`".to_owned());
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects_exactly_what_it_names() {
        let parsed = |query: &str| Query::parse(query).map(|it| it.selection);
        assert_eq!(parsed(""), Ok(None));
        assert_eq!(parsed("id=7"), Ok(Some(Selection::Session(7))));
        assert_eq!(parsed("user=a%26b+c"), Ok(Some(Selection::User("a&b c".into()))));
        let mapped = Selection::Address("192.0.2.1".parse().unwrap());
        assert_eq!(parsed("address=%3A%3Affff%3A192.0.2.1"), Ok(Some(mapped)));
        for wrong in [
            "id=x",
            "id=-1",
            "id=1&id=2",
            "id=1&user=a",
            "address=a",
            "address=192.0.2.0/24",
            "users=a",
            "after_transfers=yes",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for selection in [
            Selection::Session(1),
            Selection::User("ä&=\u{1b}".into()),
            Selection::Address("::1".parse().unwrap()),
            Selection::Backend("b".into()),
        ] {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs([selection.pair()]);
            assert_eq!(parsed(&query.finish()), Ok(Some(selection)));
        }
    }
}
