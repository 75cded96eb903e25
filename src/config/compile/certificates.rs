//! When certificates end: for the metrics, and warnings about those that have expired, expire soon, or are not
//! valid yet.

use std::path::Path;

use russh::keys::Certificate;

use super::{KEYS_MAX, entries, listener_tls, text, value};
use crate::config::leaf::Leaf;
use crate::config::machine::Machine;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::config::values::{BackendTlsMode, FileName, ListenerTlsMode};
use crate::net::tls::{CertificateSummary, Crl, calendar_date, certificate_summaries};
use crate::net::{CertificateEnd, CertificateKind};
use crate::op::escape::printable;

const DAY: i64 = 24 * 60 * 60;
/// Warns this long before a certificate expires.
const EXPIRY_WARNING_PERIOD: i64 = 30 * DAY;

/// The certificate's owner.
#[derive(Clone, Copy)]
enum Role {
    Own,
    /// The gateway's, as a client.
    OwnForServer,
    ServersAuthority,
    ClientsAuthority,
    ClientsCrl,
    HooksAuthority,
    /// Of a syslog receiver.
    ReceiversAuthority,
    /// The certificate of an SSH host key.
    OwnHost,
}

impl Role {
    fn kind(self) -> CertificateKind {
        match self {
            Self::Own => CertificateKind::Certificate,
            Self::OwnForServer => CertificateKind::ClientCertificate,
            Self::ServersAuthority
            | Self::ClientsAuthority
            | Self::HooksAuthority
            | Self::ReceiversAuthority => CertificateKind::Authority,
            Self::ClientsCrl => CertificateKind::Crl,
            Self::OwnHost => CertificateKind::HostCertificate,
        }
    }
}

/// A file that the configuration names, with its owner.
struct Named<'a> {
    leaf: &'a Leaf<FileName>,
    role: Role,
    used_by: String,
}

pub(super) fn warn(file: &File, folder: &Path, machine: &Machine, problems: &mut Problems) {
    let now = machine.now;
    for Named { leaf, role, .. } in named(file) {
        match role {
            Role::ClientsCrl => warn_of_crl(leaf, folder, now, problems),
            // The host certificates of listeners are checked where they are read.
            Role::OwnHost => {}
            _ => warn_of_file(leaf, role, folder, now, problems),
        }
    }
}

/// When each of them ends. A file without an end is left out.
pub(super) fn ends(file: &File, folder: &Path) -> Vec<CertificateEnd> {
    let ends = named(file).into_iter().filter_map(|Named { leaf, role, used_by }| {
        let name = &leaf.value.as_ref()?.0;
        let file = printable(name.as_os_str().as_encoded_bytes()).to_string();
        let (until, from) = validity(&folder.join(name), role)?;
        Some(CertificateEnd { kind: role.kind(), used_by, file, from, until })
    });
    ends.collect()
}

/// The first end in a file, and the beginning of what ends then.
fn validity(path: &Path, role: Role) -> Option<(i64, i64)> {
    match role {
        Role::ClientsCrl => {
            let crls = Crl::load(path).ok()?;
            crls.iter().filter_map(|crl| Some((crl.due?, crl.issued))).min()
        }
        Role::OwnHost => {
            let text = text(path, KEYS_MAX).ok()?;
            let certificate = Certificate::from_openssh(text.trim()).ok()?;
            // The largest number of seconds: for ever.
            let until = i64::try_from(certificate.valid_before()).ok()?;
            Some((until, i64::try_from(certificate.valid_after()).ok()?))
        }
        _ => certificate_summaries(path).ok()?.iter().map(|it| (it.until, it.from)).min(),
    }
}

/// All files with certificates of X.509 and of SSH host keys, and with lists of revoked ones.
fn named(file: &File) -> Vec<Named<'_>> {
    let mut all = Vec::new();
    for (name, listener) in entries(&file.listeners) {
        let used_by = format!("listeners.{name}");
        let mut add = |leaf, role| all.push(Named { leaf, role, used_by: used_by.clone() });
        if let Some(tls) = &listener.tls
            && value(&tls.mode).is_some_and(|mode| *mode != ListenerTlsMode::None)
        {
            let own = listener_tls::files(tls).filter_map(|(certificate, _)| certificate);
            own.for_each(|leaf| add(leaf, Role::Own));
            let authorities = tls.client_ca.iter().flat_map(|files| &files.items);
            authorities.for_each(|leaf| add(leaf, Role::ClientsAuthority));
            let crls = tls.client_crl.iter().flat_map(|files| &files.items);
            crls.for_each(|leaf| add(leaf, Role::ClientsCrl));
        }
        let of_host = listener.host_certificates.iter().flat_map(|files| &files.items);
        of_host.for_each(|leaf| add(leaf, Role::OwnHost));
    }
    if let Some(leaf) = file.admin.as_ref().and_then(|admin| admin.certificate.as_ref()) {
        all.push(Named { leaf, role: Role::Own, used_by: "admin".to_owned() });
    }
    for (name, backend) in entries(&file.backends) {
        let used_by = format!("backends.{name}");
        let mut add = |leaf, role| all.push(Named { leaf, role, used_by: used_by.clone() });
        if let Some(tls) = &backend.tls
            && value(&tls.mode).is_some_and(|mode| *mode != BackendTlsMode::None)
        {
            tls.ca.iter().for_each(|leaf| add(leaf, Role::ServersAuthority));
            tls.certificate.iter().for_each(|leaf| add(leaf, Role::OwnForServer));
        }
    }
    for (name, hook) in entries(&file.login_hooks) {
        let used_by = format!("login_hooks.{name}");
        all.extend(hook.ca.iter().map(|leaf| Named {
            leaf,
            role: Role::HooksAuthority,
            used_by: used_by.clone(),
        }));
    }
    let outputs = file.audit.iter().flat_map(|outputs| &outputs.items);
    let authorities = outputs.filter_map(|output| output.syslog.as_ref()?.ca.as_ref());
    all.extend(authorities.map(|leaf| Named {
        leaf,
        role: Role::ReceiversAuthority,
        used_by: "audit".to_owned(),
    }));
    all
}

fn warn_of_file(
    leaf: &Leaf<FileName>,
    role: Role,
    folder: &Path,
    now: i64,
    problems: &mut Problems,
) {
    let Some(name) = &leaf.value else { return };
    let path = folder.join(&name.0);
    // An unreadable file has been reported.
    let Ok(certificates) = certificate_summaries(&path) else { return };
    for certificate in &certificates {
        if let Some(message) = expiry_warning(certificate, role, now) {
            problems.warning(&leaf.at, format!("{}: {message}", path.display()));
        }
    }
}

/// Warns of lists after whose date no certificate of their authority is accepted.
fn warn_of_crl(leaf: &Leaf<FileName>, folder: &Path, now: i64, problems: &mut Problems) {
    let Some(name) = &leaf.value else { return };
    let path = folder.join(&name.0);
    // An unreadable file has been reported.
    for crl in Crl::load(&path).unwrap_or_default() {
        let Some(due) = crl.due.filter(|due| *due < now) else { continue };
        let message = format!(
            "{}: the list of \"{}\" expired on {} (UTC), and none of that authority's certificates is \
             accepted: get its new list",
            path.display(),
            crl.name.escape_debug(),
            calendar_date(due)
        );
        problems.warning(&leaf.at, message);
    }
}

/// The warning about a certificate, if any.
fn expiry_warning(certificate: &CertificateSummary, role: Role, now: i64) -> Option<String> {
    let subject = certificate.display_name().escape_debug();
    let (refusal, remedy) = match role {
        Role::Own | Role::OwnHost => {
            ("clients refuse it", "replace it; a running gateway reads it again")
        }
        Role::OwnForServer => {
            ("the server may refuse it", "replace it; a running gateway reads it again")
        }
        Role::ClientsAuthority | Role::ClientsCrl => (
            "the certificates that it issued should be renewed",
            "get the authority's new certificate",
        ),
        Role::ServersAuthority => (
            "certificates signed by it may be refused",
            "get the authority's new certificate from the server's operator",
        ),
        Role::HooksAuthority => {
            ("the login hook's certificate may be refused", "get the authority's new certificate")
        }
        Role::ReceiversAuthority => (
            "the syslog receiver's certificate may be refused",
            "get the authority's new certificate",
        ),
    };
    let days = (certificate.until - now) / DAY;
    if certificate.until < now {
        let date = calendar_date(certificate.until);
        Some(format!(
            "the certificate of \"{subject}\" expired on {date} (UTC), and {refusal}: {remedy}"
        ))
    } else if certificate.from > now {
        let date = calendar_date(certificate.from);
        Some(format!(
            "the certificate of \"{subject}\" is not valid before {date} (UTC), and {refusal} until \
             then: check this machine's clock"
        ))
    } else if certificate.until - now <= EXPIRY_WARNING_PERIOD {
        let date = calendar_date(certificate.until);
        let plural = if days == 1 { "" } else { "s" };
        Some(format!(
            "the certificate of \"{subject}\" expires on {date} (UTC), in {days} day{plural}: {remedy} \
             before then"
        ))
    } else {
        None
    }
}
