//! Warnings about certificates that have expired, expire soon, or are not valid yet.

use std::path::Path;

use super::{entries, listener_tls, value};
use crate::config::leaf::Leaf;
use crate::config::machine::Machine;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::config::values::{BackendTlsMode, FileName, ListenerTlsMode};
use crate::net::tls::{CertificateSummary, Crl, calendar_date, certificate_summaries};

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
}

pub(super) fn warn(file: &File, folder: &Path, machine: &Machine, problems: &mut Problems) {
    let now = machine.now;
    for (_, listener) in entries(&file.listeners) {
        if let Some(tls) = &listener.tls
            && value(&tls.mode).is_some_and(|mode| *mode != ListenerTlsMode::None)
        {
            for (certificate, _) in listener_tls::files(tls) {
                if let Some(leaf) = certificate {
                    warn_of_file(leaf, Role::Own, folder, now, problems);
                }
            }
            for leaf in tls.client_ca.iter().flat_map(|files| &files.items) {
                warn_of_file(leaf, Role::ClientsAuthority, folder, now, problems);
            }
            for leaf in tls.client_crl.iter().flat_map(|files| &files.items) {
                warn_of_crl(leaf, folder, now, problems);
            }
        }
    }
    if let Some(leaf) = file.admin.as_ref().and_then(|admin| admin.certificate.as_ref()) {
        warn_of_file(leaf, Role::Own, folder, now, problems);
    }
    for (_, backend) in entries(&file.backends) {
        if let Some(tls) = &backend.tls
            && value(&tls.mode).is_some_and(|mode| *mode != BackendTlsMode::None)
        {
            if let Some(leaf) = &tls.ca {
                warn_of_file(leaf, Role::ServersAuthority, folder, now, problems);
            }
            if let Some(leaf) = &tls.certificate {
                warn_of_file(leaf, Role::OwnForServer, folder, now, problems);
            }
        }
    }
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
        Role::Own => ("clients refuse it", "replace it and restart the gateway"),
        Role::OwnForServer => ("the server may refuse it", "replace it and restart the gateway"),
        Role::ClientsAuthority => (
            "the certificates that it issued should be renewed",
            "get the authority's new certificate",
        ),
        Role::ServersAuthority => (
            "certificates signed by it may be refused",
            "get the authority's new certificate from the server's operator",
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
