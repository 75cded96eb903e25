//! Password hashes of `users`.

use serde_json::{Value as Json, json};

use crate::auth::{HashError, PasswordHash};
use crate::config::leaf::{Invalid, Value};

impl Value for PasswordHash {
    fn parse(text: &str) -> Result<Self, Invalid> {
        PasswordHash::parse(text).or_else(|error| {
            let remedy = match error {
                HashError::TooExpensive { .. } => "create another one",
                _ => "create one",
            };
            Invalid::new(format!("{error}; {remedy} with `lockgate hash-password`"))
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a hash" })
    }
}
