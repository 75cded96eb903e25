//! `drain`, and `limits.drain_timeout`, its older key.

use super::value;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::net::DrainSettings;

pub(super) fn compile(file: &File, problems: &mut Problems) -> DrainSettings {
    let mut settings = DrainSettings::default();
    let older = file.limits.as_ref().and_then(|limits| limits.drain_timeout.as_ref());
    if let Some(timeout) = older.and_then(|leaf| leaf.value) {
        settings.timeout = timeout;
    }
    let Some(given) = &file.drain else { return settings };
    if let (Some(older), Some(_)) = (older, &given.timeout) {
        let message = "`drain.timeout` says the same: remove one of the two";
        problems.error(&older.at, message);
    }
    settings.accept_for = value(&given.accept_for).copied().unwrap_or(settings.accept_for);
    settings.timeout = value(&given.timeout).copied().unwrap_or(settings.timeout);
    settings
}
