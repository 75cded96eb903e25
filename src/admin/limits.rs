//! The limits of users (`policy.limits`), each beside its use by who is nearest to it.

use serde_json::{Value, json};

use crate::policy::limits::LimitUse;

pub(super) fn json(uses: &[LimitUse]) -> Value {
    let limits = uses
        .iter()
        .map(|it| json!({ "limit": it.limit, "kind": it.kind, "used": it.used, "max": it.max }));
    json!({ "limits": limits.collect::<Vec<_>>() })
}
