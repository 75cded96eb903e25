//! Why a session ends.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::op::{Failure, FailureKind, Fault};

const SHUTTING_DOWN: &str = "the gateway is shutting down";

/// Why a session ends.
#[derive(Debug, Clone)]
pub struct SessionEnd {
    /// `None`: the client ended the session.
    pub(super) fault: Option<Fault>,
    reason: Cow<'static, str>,
}

impl SessionEnd {
    /// The client ended it properly, as with QUIT; there is no fault.
    pub fn done(reason: &'static str) -> Self {
        Self { fault: None, reason: reason.into() }
    }

    /// Ended early; `fault` names the party at fault.
    pub fn by(fault: Fault, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: Some(fault), reason: reason.into() }
    }

    /// The gateway is stopping.
    pub fn shutdown() -> Self {
        Self::by(Fault::Gateway, SHUTTING_DOWN)
    }

    /// An operator has ended it.
    pub fn by_operator() -> Self {
        Self::by(Fault::Gateway, "an operator ended the session")
    }

    /// Whether the gateway is stopping.
    pub fn is_shutdown(&self) -> bool {
        self.reason == SHUTTING_DOWN
    }

    /// Why, in words, for the log and the client. Not escaped.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The failure of operations that the end interrupts.
    pub fn failure(&self) -> Failure {
        let fault = self.fault.unwrap_or(Fault::Client);
        Failure::new(
            FailureKind::Aborted,
            fault,
            format_args!("the session ended: {}", self.reason),
        )
    }
}

/// Holds why a session ends; the first reason counts.
#[derive(Debug, Clone, Default)]
pub struct EndSlot(Arc<OnceLock<SessionEnd>>);

impl EndSlot {
    /// Sets the end; without effect if there is one already.
    pub fn set(&self, end: SessionEnd) {
        let _ = self.0.set(end);
    }

    /// The end that was set first; `None` while the session goes on.
    pub fn get(&self) -> Option<&SessionEnd> {
        self.0.get()
    }
}
