//! Certificates that are good no longer, not yet, or not for long.

use std::path::Path;

use super::{entries, value};
use crate::config::leaf::Leaf;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::config::surroundings::Surroundings;
use crate::config::values::{BackendTlsMode, FileName, ListenerTlsMode};
use crate::net::tls::{CertificateSummary, calendar_date, certificate_summaries};

const DAY: i64 = 24 * 60 * 60;
/// Time enough to get a new one.
const SOON: i64 = 30 * DAY;

/// Whose certificate it is, and so who refuses it.
#[derive(Clone, Copy)]
enum Role {
    Own,
    ServersAuthority,
}

pub(super) fn warn(
    file: &File,
    folder: &Path,
    surroundings: &Surroundings,
    problems: &mut Problems,
) {
    let now = surroundings.now;
    for (_, listener) in entries(&file.listeners) {
        if let Some(tls) = &listener.tls
            && value(&tls.mode).is_some_and(|mode| *mode != ListenerTlsMode::None)
            && let Some(leaf) = &tls.certificate
        {
            warn_of_file(leaf, Role::Own, folder, now, problems);
        }
    }
    for (_, backend) in entries(&file.backends) {
        if let Some(tls) = &backend.tls
            && value(&tls.mode).is_some_and(|mode| *mode != BackendTlsMode::None)
            && let Some(leaf) = &tls.ca
        {
            warn_of_file(leaf, Role::ServersAuthority, folder, now, problems);
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
    // What cannot be read has been told.
    let Ok(certificates) = certificate_summaries(&path) else { return };
    for certificate in &certificates {
        if let Some(message) = judge(certificate, role, now) {
            problems.warning(&leaf.at, format!("{}: {message}", path.display()));
        }
    }
}

/// What is to be said about it, if anything.
fn judge(certificate: &CertificateSummary, role: Role, now: i64) -> Option<String> {
    let subject = certificate.display_name().escape_debug();
    let (refusal, remedy) = match role {
        Role::Own => ("clients refuse it", "put a new one there and restart the gateway"),
        Role::ServersAuthority => (
            "what it has signed may be refused",
            "ask the server's operator for the authority's new one",
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
            "the certificate of \"{subject}\" is not valid before {date} (UTC), and {refusal} until then: is \
             this machine's clock right?"
        ))
    } else if certificate.until - now <= SOON {
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
