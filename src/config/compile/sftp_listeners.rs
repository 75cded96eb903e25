use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};

use super::key_files::{self, Passphrase};
use super::{algorithms, entries, trusted, value};
use crate::config::report::{At, Problems};
use crate::config::schema::{self, File};
use crate::config::values::ListenerProtocol;
use crate::front::sftp::{ListenerSettings, RETAINED_CHANNELS_MAX};
use crate::net::ssh::{Algorithms, Side};

const REKEY_BYTES: u64 = 1 << 30;
const REKEY_TIME: Duration = Duration::from_secs(3600);
const KEEPALIVE: Duration = Duration::from_secs(60);
const CHANNELS: usize = 10;

/// What all listeners have in common is judged in `listeners`.
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
        listeners.push(ListenerSettings {
            name: name.clone(),
            addresses: addresses.map(|(_, address)| *address).collect(),
            proxy_protocol: trusted(&listener.proxy_protocol, problems),
            host_keys: host_keys(listener, &algorithms, folder, problems),
            algorithms,
            rekey_bytes: rekey
                .and_then(|rekey| value(&rekey.bytes))
                .map_or(REKEY_BYTES, |bytes| bytes.0),
            rekey_time: rekey
                .and_then(|rekey| value(&rekey.time))
                .map_or(REKEY_TIME, |time| time.0),
            keepalive: value(&listener.keepalive).map_or(KEEPALIVE, |time| time.0),
            channels: value(&listener.channels).map_or(CHANNELS, |count| count.0 as usize),
            retained_channels: RETAINED_CHANNELS_MAX,
        });
    }
    listeners
}

/// One of each kind: a client says which kind it takes, and two would leave it open which one it gets.
/// Those that `algorithms` does not offer are left out.
fn host_keys(
    listener: &schema::Listener,
    algorithms: &Algorithms,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Arc<PrivateKey>> {
    let Some(files) = &listener.host_keys else {
        let message = "is missing: an SFTP server needs a key that clients know it by; \
                       `ssh-keygen -t ed25519 -N \"\" -f ssh_host_ed25519_key` makes one";
        problems.error(&listener.at.absent("host_keys"), message);
        return Vec::new();
    };
    let mut keys: Vec<Arc<PrivateKey>> = Vec::new();
    let mut ats = Vec::new();
    for (at, name) in files.values() {
        let path = folder.join(&name.0);
        let key = key_files::private_key(&path, Passphrase::Unknown, at, problems);
        let Some(key) = key else { continue };
        if keys.iter().any(|earlier| earlier.algorithm() == key.algorithm()) {
            let kind = key.algorithm();
            problems
                .error(at, format!("is the second key of the kind {kind}; one of each is enough"));
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
    ats: &[&At],
    listener: &schema::Listener,
    algorithms: &Algorithms,
    problems: &mut Problems,
) -> Vec<Arc<PrivateKey>> {
    let judged: Vec<_> = keys.iter().map(|key| algorithms.show(key)).collect();
    if let Some(given) = &listener.algorithms
        && !judged.is_empty()
        && judged.iter().all(Result::is_err)
    {
        let why: Vec<_> = judged.iter().filter_map(|shown| shown.as_ref().err().cloned()).collect();
        let message = format!(
            "leaves no host key, so that no client could connect: {}; \
             `ssh-keygen -t ed25519 -N \"\" -f ssh_host_ed25519_key` makes one that is always offered",
            why.join("; ")
        );
        problems.error(&given.at, message);
        return Vec::new();
    }
    let mut offered = Vec::new();
    for ((key, at), shown) in keys.iter().zip(ats).zip(judged) {
        match shown {
            Ok(()) => offered.push(key.clone()),
            Err(why) => {
                problems.warning(at, format!("does nothing with these `algorithms`: {why}"))
            }
        }
    }
    offered
}

/// Clients that know `ssh-rsa` only need an RSA key to verify.
fn warn_of_ssh_rsa_without_key(
    offered: &[Arc<PrivateKey>],
    listener: &schema::Listener,
    algorithms: &Algorithms,
    problems: &mut Problems,
) {
    let Some(at) = listener.host_keys.as_ref().map(|files| &files.at) else { return };
    let has_rsa = offered.iter().any(|key| matches!(key.algorithm(), Algorithm::Rsa { .. }));
    if !offered.is_empty() && !has_rsa && algorithms.take_signature(&Algorithm::Rsa { hash: None })
    {
        let message = "has no RSA key, which old clients need: they know no other kind of host key than \
                       `ssh-rsa`; `ssh-keygen -t rsa -b 3072 -N \"\" -f ssh_host_rsa_key` makes one";
        problems.warning(at, message);
    }
}
