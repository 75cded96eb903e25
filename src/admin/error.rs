//! Requests that the admin interface refuses: a status of HTTP, and the reason in JSON.

use hyper::StatusCode;
use serde_json::{Value, json};

/// What a request gets.
pub(super) type Answer = Result<Value, ApiError>;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// A sentence for people, printable.
    pub(super) message: String,
    /// Of a configuration: what `lockgate check` prints.
    pub(super) problems: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), problems: None }
    }

    /// The request is not understood.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What it names does not exist.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The state of the gateway does not allow it.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The configuration cannot be put in force; `problems`: as `lockgate check` prints them.
    pub(super) fn invalid_configuration(problems: String) -> Self {
        let message = "the configuration is not valid: the one before stays in force";
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, message);
        Self { problems: Some(problems), ..error }
    }

    pub(super) fn json(&self) -> Value {
        match &self.problems {
            None => json!({ "error": self.message }),
            Some(problems) => json!({ "error": self.message, "problems": problems }),
        }
    }
}
