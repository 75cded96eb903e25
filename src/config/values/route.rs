//! The values of routes: a path of `rewrite`, a greeting.

use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Value};
use crate::op::{Greeting, MAX_GREETING};
use crate::route::{FolderSetting, Root, RootSetting};

impl Value for FolderSetting {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match RootSetting::parse(text)? {
            RootSetting::Same(Root::Path(path)) => Ok(Self::Same(path)),
            RootSetting::EachUser(folder) => Ok(Self::EachUser(folder)),
            RootSetting::Same(Root::Home) => {
                Invalid::new("must be a path below the route's `root`, which may be `home` itself")
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "an absolute path", "pattern": r"^/([^{}]|\{user\})*$" })
    }
}

impl Value for Greeting {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::new(text).or_else(|why| Invalid::new(why.to_string()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": MAX_GREETING })
    }
}
