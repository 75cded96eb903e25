//! Refuses keys that belong to another `protocol`.

use crate::config::read::Read;
use crate::config::report::{Location, Problems};

/// A key of a section whose keys depend on its `protocol`.
pub(super) struct Key<'a, P: 'static> {
    name: &'static str,
    at: Option<&'a Location>,
    protocols: &'static [P],
    /// What to write instead; empty: the message lists the protocol's own keys.
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

/// Reports keys that belong to other protocols than `protocol`. `what` is a listener or a backend, `word`
/// gives the name of a protocol in the file.
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
        let others: Vec<_> =
            key.protocols.iter().map(|other| format!("`protocol: {}`", word(*other))).collect();
        let advice = match key.instead {
            "" => format!("{what} of `protocol: {}` has {}", word(protocol), own.join(", ")),
            instead => instead.to_owned(),
        };
        problems.error(at, format!("belongs to {}; {advice}", others.join(" or ")));
    }
}
