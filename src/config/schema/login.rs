//! `login` of a backend: `pass-through`, or an account.

use serde_json::{Value as Json, json};

use super::Account;
use crate::config::leaf::{Invalid, Leaf, Value};
use crate::config::nearest::nearest;
use crate::config::read::Read;
use crate::config::report::{Location, Problems};
use crate::config::tree::{Kind, Node};

/// How the gateway logs in at a backend.
pub(in crate::config) struct Login {
    pub at: Location,
    /// `None` for `pass-through`.
    pub account: Option<Account>,
}

struct PassThrough;

impl Value for PassThrough {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "pass-through" {
            return Ok(Self);
        }
        let message = format!("\"{text}\" is neither pass-through nor an account ({{ user: … }})");
        Err(Invalid { message, suggestion: nearest(text, ["pass-through"]) })
    }

    fn schema() -> Json {
        json!({ "const": "pass-through" })
    }
}

impl Read for Login {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let account = match &node.kind {
            Kind::Map(_) => Some(Account::read(node, at.clone(), problems)),
            _ => {
                Leaf::<PassThrough>::read(node, at.clone(), problems);
                None
            }
        };
        Self { at, account }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [PassThrough::schema(), Account::schema()] })
    }

    fn keys() -> Vec<&'static str> {
        Account::keys()
    }
}
