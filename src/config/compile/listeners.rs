//! `listeners`: FTP, and what FTP and SFTP have in common.

use std::ops::RangeInclusive;
use std::path::Path;

use super::{
    check_name, entries, listener_tls, pools, protocol_keys, refuse_empty, trusted, value,
};
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::ListenerProtocol;
use crate::front::ftp::{ListenerSettings, TlsPolicy};

pub(super) fn compile(
    file: &File,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<ListenerSettings> {
    refuse_empty(&file.listeners, problems);
    let mut listeners = Vec::new();
    for (name, listener) in entries(&file.listeners) {
        check_name(name, &listener.at, problems);
        if let Some(protocol) = value(&listener.protocol) {
            refuse_other_protocols(listener, *protocol, problems);
        }
        if value(&listener.protocol) != Some(&ListenerProtocol::Sftp) {
            check_data(file, listener, problems);
        }
        // The other keys depend on the protocol.
        let Some(ListenerProtocol::Ftp) = value(&listener.protocol) else { continue };
        let tls = match &listener.tls {
            Some(tls) => listener_tls::policy(tls, folder, problems),
            None => Some(TlsPolicy::None),
        };
        let addresses = listener.address.iter().flat_map(|list| list.values());
        let Some(tls) = tls else { continue };
        listeners.push(ListenerSettings {
            name: name.clone(),
            addresses: addresses.map(|(_, address)| *address).collect(),
            greeting: value(&listener.greeting).cloned(),
            tls,
            data_ports: value(&listener.data_ports).map(|pool| pool.0.clone()),
            proxy_protocol: trusted(&listener.proxy_protocol, problems),
            active_allowed: active_allowed(listener),
            active_source_ports: source_ports(listener, problems),
        });
    }
    listeners
}

fn refuse_other_protocols(
    listener: &schema::Listener,
    protocol: ListenerProtocol,
    problems: &mut Problems,
) {
    use ListenerProtocol::{Ftp, Sftp};
    use protocol_keys::Key;
    let one_connection = "SFTP has no data connections: it uses the port of `address` only";
    let keys = [
        Key::new("address", &listener.address, &[Ftp, Sftp]),
        Key::new("tls", &listener.tls, &[Ftp])
            .instead("SFTP is encrypted by SSH, without certificates: set `host_keys`"),
        Key::new("data_ports", &listener.data_ports, &[Ftp]).instead(one_connection),
        Key::new("active", &listener.active, &[Ftp]).instead(one_connection),
        Key::new("host_keys", &listener.host_keys, &[Sftp])
            .instead("FTP is encrypted by TLS: set `tls.certificate` and `tls.key`"),
        Key::new("host_certificates", &listener.host_certificates, &[Sftp])
            .instead("FTP is encrypted by TLS: set `tls.certificate` and `tls.key`"),
        Key::new("trusted_user_ca_keys", &listener.trusted_user_ca_keys, &[Sftp]),
        Key::new("revoked_keys", &listener.revoked_keys, &[Sftp]),
        Key::new("methods", &listener.methods, &[Sftp]).instead("FTP clients have passwords only"),
        Key::new("rekey", &listener.rekey, &[Sftp]),
        Key::new("keepalive", &listener.keepalive, &[Sftp]),
        Key::new("channels", &listener.channels, &[Sftp]),
        Key::new("algorithms", &listener.algorithms, &[Sftp])
            .instead("TLS is 1.2 and 1.3 with safe cipher suites only"),
        Key::new("greeting", &listener.greeting, &[Ftp, Sftp]),
        Key::new("proxy_protocol", &listener.proxy_protocol, &[Ftp, Sftp]),
    ];
    protocol_keys::refuse("a listener", protocol, &keys, ListenerProtocol::word, problems);
}

/// Checks that data connections are possible and that the pool exists.
fn check_data(file: &File, listener: &schema::Listener, problems: &mut Problems) {
    if listener.data_ports.is_none() && listener.active.is_none() {
        let message = "cannot transfer data: set `data_ports` to a pool (passive mode), or write \
                       `active: { allowed: true }`";
        problems.error(&listener.at, message);
    } else if listener.data_ports.is_none()
        && let Some(allowed) = listener.active.as_ref().and_then(|active| active.allowed.as_ref())
        && allowed.value == Some(false)
    {
        let message = "without `data_ports` no data can be transferred";
        problems.error(&allowed.at, message);
    }
    pools::check_pool(file, &listener.data_ports, problems);
}

fn active_allowed(listener: &schema::Listener) -> bool {
    listener
        .active
        .as_ref()
        .and_then(|active| value(&active.allowed))
        .is_some_and(|allowed| *allowed)
}

fn source_ports(
    listener: &schema::Listener,
    problems: &mut Problems,
) -> Option<RangeInclusive<u16>> {
    let active = listener.active.as_ref()?;
    let leaf = active.source_ports.as_ref()?;
    if value(&active.allowed) == Some(&false) {
        problems.error(&leaf.at, "has no effect with `allowed: false`; remove one of the two");
    }
    leaf.value.as_ref().map(|range| range.0.clone())
}
