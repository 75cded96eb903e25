//! What the admin socket shows and changes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Explainer;
use crate::backend::group::Servers;
use crate::data::Pool;
use crate::net::Drain;

/// What the configuration in force consists of.
pub struct InForce {
    /// The data ports.
    pub pools: Vec<Arc<Pool>>,
    /// The servers of all backends.
    pub servers: Servers,
    /// Its gateway and listeners.
    pub explainer: Explainer,
}

/// A running gateway.
pub trait Control: Send + Sync {
    /// The configuration in force.
    fn in_force(&self) -> Arc<InForce>;

    /// Its end, and how far that is.
    fn drain(&self) -> &Drain;

    /// Reads the configuration again. Blocks.
    fn reload(&self) -> ReloadOutcome;
}

/// How a reload went.
pub enum ReloadOutcome {
    /// The new configuration is in force, with these warnings.
    InForce(Vec<String>),
    /// The configuration is not valid, for these reasons: the one before stays.
    Invalid(String),
    /// Another reason why the one before stays.
    Failed(String),
}

impl ReloadOutcome {
    pub(super) fn json(self) -> Value {
        match self {
            Self::InForce(warnings) => json!({ "in_force": true, "warnings": warnings }),
            Self::Invalid(problems) => json!({ "in_force": false, "problems": problems }),
            Self::Failed(error) => json!({ "error": error }),
        }
    }
}
