//! Compiles SFTP listeners.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};

use super::key_files::{self, Passphrase};
use super::{algorithms, entries, trusted, user_keys, value};
use crate::auth::Methods;
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::ListenerProtocol;
use crate::front::sftp::{DEFAULT_RETAINED_CHANNELS_MAX, ListenerSettings};
use crate::net::ssh::{Algorithms, Side};

const DEFAULT_REKEY_BYTES: u64 = 1 << 30;
const DEFAULT_REKEY_INTERVAL: Duration = Duration::from_secs(3600);
const DEFAULT_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_CHANNELS_MAX: usize = 10;

/// Keys that all listeners have in common are checked in `listeners`.
pub(super) fn compile(
    file: &File,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<ListenerSettings> {
    let mut listeners = Vec::new();
    for (name, listener) in entries(&file.listeners) {
        if value(&listener.protocol) != Some(&ListenerProtocol::Sftp) {
            continue;
        }
        let addresses = listener.address.iter().flat_map(|list| list.values());
        let rekey = listener.rekey.as_ref();
        let algorithms = algorithms::compile(&listener.algorithms, Side::Listener, problems);
        let host_keys = host_keys(listener, &algorithms, folder, problems);
        listeners.push(ListenerSettings {
            name: name.clone(),
            addresses: addresses.map(|(_, address)| *address).collect(),
            greeting: value(&listener.greeting).cloned(),
            proxy_protocol: trusted(&listener.proxy_protocol, problems),
            host_certificates: user_keys::host_certificates(listener, &host_keys, folder, problems),
            host_keys,
            key_trust: user_keys::trust(listener, folder, problems),
            // `methods` are known when the routes are.
            methods: Methods::ALL,
            algorithms,
            rekey_bytes: rekey
                .and_then(|rekey| value(&rekey.bytes))
                .map_or(DEFAULT_REKEY_BYTES, |bytes| bytes.0),
            rekey_time: rekey
                .and_then(|rekey| value(&rekey.time))
                .map_or(DEFAULT_REKEY_INTERVAL, |time| time.0),
            keepalive: value(&listener.keepalive).map_or(DEFAULT_KEEPALIVE_INTERVAL, |time| time.0),
            channels: value(&listener.channels)
                .map_or(DEFAULT_CHANNELS_MAX, |count| count.0 as usize),
            retained_channels: DEFAULT_RETAINED_CHANNELS_MAX,
        });
    }
    listeners
}

/// One key of each kind: a client requests a kind, and with two of them the choice would be ambiguous. Keys
/// that `algorithms` does not offer are left out.
fn host_keys(
    listener: &schema::Listener,
    algorithms: &Algorithms,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Arc<PrivateKey>> {
    let Some(files) = &listener.host_keys else {
        let message = "is missing: an SFTP listener needs a host key; `ssh-keygen -t ed25519 -N \"\" -f \
                       ssh_host_ed25519_key` creates one";
        problems.error(&listener.at.absent("host_keys"), message);
        return Vec::new();
    };
    let mut keys: Vec<Arc<PrivateKey>> = Vec::new();
    let mut ats = Vec::new();
    for (at, name) in files.values() {
        let path = folder.join(&name.0);
        let key = key_files::private_key(&path, Passphrase::Unsupported, at, problems);
        let Some(key) = key else { continue };
        if keys.iter().any(|earlier| earlier.algorithm() == key.algorithm()) {
            let kind = key.algorithm();
            problems.error(at, format!("is the second {kind} key; one of each kind is enough"));
            continue;
        }
        keys.push(Arc::new(key));
        ats.push(at);
    }
    let offered = offered(&keys, &ats, listener, algorithms, problems);
    warn_of_ssh_rsa_without_key(&offered, listener, algorithms, problems);
    offered
}

fn offered(
    keys: &[Arc<PrivateKey>],
    ats: &[&Location],
    listener: &schema::Listener,
    algorithms: &Algorithms,
    problems: &mut Problems,
) -> Vec<Arc<PrivateKey>> {
    let checked: Vec<_> = keys.iter().map(|key| algorithms.check_host_key(key)).collect();
    if let Some(given) = &listener.algorithms
        && !checked.is_empty()
        && checked.iter().all(Result::is_err)
    {
        let reasons: Vec<_> =
            checked.iter().filter_map(|check| check.as_ref().err().cloned()).collect();
        let message = format!(
            "leaves no host key, so no client could connect: {}; `ssh-keygen -t ed25519 -N \"\" -f \
             ssh_host_ed25519_key` creates one that is always offered",
            reasons.join("; ")
        );
        problems.error(&given.at, message);
        return Vec::new();
    }
    let mut offered = Vec::new();
    for ((key, at), check) in keys.iter().zip(ats).zip(checked) {
        match check {
            Ok(()) => offered.push(key.clone()),
            Err(reason) => {
                problems.warning(at, format!("has no effect with these `algorithms`: {reason}"));
            }
        }
    }
    offered
}

/// Clients that support `ssh-rsa` only need an RSA host key.
fn warn_of_ssh_rsa_without_key(
    offered: &[Arc<PrivateKey>],
    listener: &schema::Listener,
    algorithms: &Algorithms,
    problems: &mut Problems,
) {
    let Some(at) = listener.host_keys.as_ref().map(|files| &files.at) else { return };
    let has_rsa = offered.iter().any(|key| matches!(key.algorithm(), Algorithm::Rsa { .. }));
    if !offered.is_empty()
        && !has_rsa
        && algorithms.accepts_signature(&Algorithm::Rsa { hash: None })
    {
        let message = "has no RSA key, which old clients need: they support `ssh-rsa` host keys only; \
                       `ssh-keygen -t rsa -b 3072 -N \"\" -f ssh_host_rsa_key` creates one";
        problems.warning(at, message);
    }
}
