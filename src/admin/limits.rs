//! The limits of users (`policy.limits`), each beside its use by who is nearest to it.

use serde_json::{Value, json};

use super::text::cut;
use crate::policy::limits::LimitUse;

pub(super) fn json(uses: &[LimitUse]) -> Value {
    let limits = uses.iter().map(|it| {
        let of = it.of.as_ref().map(|of| cut(of));
        json!({ "limit": it.limit, "kind": it.kind, "used": it.used, "max": it.max, "of": of })
    });
    json!({ "limits": limits.collect::<Vec<_>>() })
}
