//! The login hook (`authenticate: http`): a program of the operator decides about logins, asked over HTTP.
//! docs/login-hook.md has the protocol.

mod answer;
mod cache;
mod error;
mod login_hook;
mod metrics;
mod question;
mod request;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

pub use answer::{Answer, AnsweredLimits, BackendAccount};
pub use error::{HookError, HookFault};
pub use login_hook::{LoginHook, NoVerdict, Settings, Verdict};
pub use metrics::HookMetrics;
pub use question::{BadQuestion, Question, Shown};
pub use request::{BadToken, Endpoint, Server, Token};
