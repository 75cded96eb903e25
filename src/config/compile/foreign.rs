//! Keys that only some protocols have.

use crate::config::read::Read;
use crate::config::report::{At, Problems};

/// A key of a section whose `protocol` says which keys it has.
pub(super) struct Key<'a, P: 'static> {
    name: &'static str,
    at: Option<&'a At>,
    protocols: &'static [P],
    /// What to write instead; empty: the protocol's own keys are told.
    instead: &'static str,
}

impl<'a, P> Key<'a, P> {
    pub(super) fn new<T: Read>(
        name: &'static str,
        value: &'a Option<T>,
        protocols: &'static [P],
    ) -> Self {
        Self { name, at: value.as_ref().map(Read::at), protocols, instead: "" }
    }

    pub(super) fn instead(self, instead: &'static str) -> Self {
        Self { instead, ..self }
    }
}

/// Notes keys that are there and belong to other protocols than `protocol`. `what` is a listener or
/// a backend, `words` the protocols' names in the file.
pub(super) fn refuse<P: Copy + PartialEq>(
    what: &str,
    protocol: P,
    keys: &[Key<'_, P>],
    word: fn(P) -> &'static str,
    problems: &mut Problems,
) {
    let own = keys.iter().filter(|key| key.protocols.contains(&protocol));
    let own: Vec<_> = own.map(|key| key.name).collect();
    for key in keys.iter().filter(|key| !key.protocols.contains(&protocol)) {
        let Some(at) = key.at else { continue };
        let theirs: Vec<_> =
            key.protocols.iter().map(|theirs| format!("`protocol: {}`", word(*theirs))).collect();
        let advice = match key.instead {
            "" => format!("{what} of `protocol: {}` has {}", word(protocol), own.join(", ")),
            instead => instead.to_owned(),
        };
        problems.error(at, format!("belongs to {}; {advice}", theirs.join(" or ")));
    }
}
