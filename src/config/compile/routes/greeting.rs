//! Compiles `routes[].greeting`.

use crate::config::compile::{entries, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{File, Listener, Route};
use crate::config::values::{ListenerProtocol, Text};

/// Warns of a greeting that no client reads, as the route is for SFTP listeners only.
pub(super) fn warn_without_ftp(file: &File, route: &Route, problems: &mut Problems) {
    let Some(leaf) = &route.greeting else { return };
    let listed = route.r#match.as_ref().and_then(|given| given.listeners.as_ref());
    let covers = |name: &str| {
        let names = |list: &OneOrMore<Text>| list.values().any(|(_, listed)| listed.0 == name);
        listed.is_none_or(names)
    };
    let is_sftp = |listener: &Listener| value(&listener.protocol) == Some(&ListenerProtocol::Sftp);
    let mut covered = entries(&file.listeners).iter().filter(|(name, _)| covers(name)).peekable();
    if covered.peek().is_some() && covered.all(|(_, listener)| is_sftp(listener)) {
        let message = "no client reads it: all listeners of this route are for SFTP, which has no text after \
                       the login; write `greeting` on the listener, for a text before it";
        problems.warning(&leaf.at, message);
    }
}
