//! By whom open sessions are judged; all of them share it.

use std::sync::{Arc, PoisonError, RwLock};

use crate::session::login_basis::Judge;

/// The configuration that judges sessions, if one does.
#[derive(Clone, Default)]
pub(super) struct JudgeSlot(Arc<RwLock<Option<Arc<dyn Judge>>>>);

impl JudgeSlot {
    pub(super) fn get(&self) -> Option<Arc<dyn Judge>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, judge: Option<Arc<dyn Judge>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = judge;
    }
}
