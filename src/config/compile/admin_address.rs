//! `admin.address`, and who may use it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use zeroize::Zeroizing;

use super::certificate_files::load;
use super::key_files::warn_if_exposed;
use super::{SECRET_MAX, text, value};
use crate::admin::{Access, Token};
use crate::config::report::Problems;
use crate::config::schema::{Admin, File};
use crate::net::tls::{ServerNames, ServerTls};

/// The address, and how it is protected.
pub(super) fn compile(
    file: &File,
    folder: &Path,
    problems: &mut Problems,
) -> Option<(SocketAddr, Access)> {
    let admin = file.admin.as_ref()?;
    let Some(leaf) = &admin.address else {
        refuse_without_address(admin, problems);
        return None;
    };
    let address = leaf.value?;
    let mut hosts = hosts(admin, problems);
    let tls = tls(admin, address, folder, &mut hosts, problems);
    let token = token(admin, folder, problems);
    Some((address, Access { tls: tls?, hosts, token: token? }))
}

fn refuse_without_address(admin: &Admin, problems: &mut Problems) {
    if admin.socket.is_none() {
        problems.error(&admin.at, "needs `socket`, `address`, or both");
    }
    let files = [&admin.certificate, &admin.key, &admin.token_file];
    let files = files.into_iter().flatten().map(|leaf| &leaf.at);
    for at in files.chain(admin.hosts.iter().map(|list| &list.at)) {
        problems.error(
            at,
            "has no effect without `address`: only the gateway's user can use the socket",
        );
    }
}

/// `Some(None)`: in clear.
fn tls(
    admin: &Admin,
    address: SocketAddr,
    folder: &Path,
    hosts: &mut ServerNames<()>,
    problems: &mut Problems,
) -> Option<Option<ServerTls>> {
    let (certificate, key) = match (&admin.certificate, &admin.key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if address.ip().to_canonical().is_loopback() => return Some(None),
        (None, None) => {
            let message = format!(
                "{} can be reached from other machines, which could read the token and change everything: \
                 set `certificate` and `key`, or use a loopback address such as 127.0.0.1:{}",
                address.ip(),
                address.port()
            );
            problems.error(&admin.address.as_ref()?.at, message);
            return None;
        }
        (certificate, _) => {
            let absent = if certificate.is_some() { "key" } else { "certificate" };
            problems
                .error(&admin.at.absent(absent), "is missing: TLS needs `certificate` and `key`");
            return None;
        }
    };
    let loaded = load(certificate, key, folder, problems)?;
    for name in loaded.names() {
        hosts.insert(name, ());
    }
    let tls = ServerTls::new(loaded, None);
    let tls = tls.map_err(|e| problems.error(&certificate.at, format!("cannot be used: {e}")));
    tls.ok().map(Some)
}

fn hosts(admin: &Admin, problems: &mut Problems) -> ServerNames<()> {
    let mut hosts = ServerNames::default();
    for (at, host) in admin.hosts.iter().flat_map(|list| list.values()) {
        let host = host.0.as_str();
        let is_address = host.parse::<IpAddr>().is_ok();
        if !is_address && host.contains(['/', ':', '@', '*', ' ', '[']) {
            let message =
                "is not a host name or IP address: write it without scheme, port and brackets";
            problems.error(at, message);
        }
        hosts.insert(host, ());
    }
    hosts
}

fn token(admin: &Admin, folder: &Path, problems: &mut Problems) -> Option<Token> {
    let Some(leaf) = &admin.token_file else {
        let message =
            "is missing: `address` needs the file of a token; `openssl rand -hex 32` makes one";
        problems.error(&admin.at.absent("token_file"), message);
        return None;
    };
    let path = folder.join(&leaf.value.as_ref()?.0);
    let token = text(&path, SECRET_MAX).and_then(|text| {
        let text = Zeroizing::new(text);
        Token::new(text.trim_end()).map_err(|bad| format!("{}: {bad}", path.display()))
    });
    warn_if_exposed(&path, &leaf.at, problems);
    token.map_err(|reason| problems.error(&leaf.at, reason)).ok()
}

/// The address, for checks of all addresses.
pub(super) fn address(file: &File) -> Option<SocketAddr> {
    value(&file.admin.as_ref()?.address).copied()
}
