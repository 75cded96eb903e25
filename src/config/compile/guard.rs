//! Compiles `login_guard`.

use std::time::Duration;

use super::{entries, value};
use crate::auth::GuardSettings;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::session::Limits;

/// Beyond it, additions to a clock could overflow.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) fn compile(file: &File, limits: &Limits, problems: &mut Problems) -> GuardSettings {
    let mut settings = GuardSettings::default();
    // A login that waits must still be possible.
    settings.delay_max = settings.delay_max.min(limits.login_timeout / 4);
    if let Some(given) = &file.login_guard {
        let count = value(&given.max_failures).map(|count| count.0);
        settings.max_failures = count.unwrap_or(settings.max_failures);
        let time =
            |given: Option<Duration>, default: Duration| given.unwrap_or(default).min(TIME_MAX);
        settings.find_time = time(value(&given.find_time).map(|time| time.0), settings.find_time);
        settings.ban_time = time(value(&given.ban_time).copied(), settings.ban_time);
        if let Some(networks) = &given.never_ban {
            settings.exempt = networks.values().map(|(_, network)| *network).collect();
            for (at, _) in networks.values().filter(|(_, network)| network.prefix_len() == 0) {
                let message = "is every address: nobody is banned or delayed; `ban_time: 0s` bans nobody \
                               either, but delays guesses";
                problems.warning(at, message);
            }
        }
    }
    // The address of a proxy is that of many clients.
    let proxies =
        entries(&file.listeners).iter().flat_map(|(_, listener)| &listener.proxy_protocol);
    let networks = proxies.flat_map(|networks| networks.values()).map(|(_, network)| *network);
    settings.exempt.extend(networks.filter(|network| network.prefix_len() > 0));
    settings
}
