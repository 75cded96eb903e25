//! Conditions on a session.

use super::{entries, unknown_name};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::Text;
use crate::policy::SessionConditions;

pub(super) fn compile(
    file: &File,
    given: Option<&schema::SessionMatch>,
    problems: &mut Problems,
) -> SessionConditions {
    let Some(given) = given else { return SessionConditions::default() };
    let texts = |list: &OneOrMore<Text>| list.values().map(|(_, text)| text.0.clone()).collect();
    if let Some(listeners) = &given.listeners {
        let names = entries(&file.listeners).iter().map(|(name, _)| name.as_str());
        for (at, name) in listeners.values() {
            if !names.clone().any(|known| known == name.0) {
                unknown_name("listener", &name.0, names.clone(), at, problems);
            }
        }
    }
    SessionConditions {
        users: None,
        groups: given.groups.as_ref().map(texts),
        listeners: given.listeners.as_ref().map(texts),
        ..SessionConditions::default()
    }
}
