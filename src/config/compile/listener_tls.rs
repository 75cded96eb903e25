//! Compiles `listeners.NAME.tls`.

use std::path::Path;

use super::certificate_files::load;
use super::{client_auth, value};
use crate::config::leaf::Leaf;
use crate::config::read::Many;
use crate::config::report::{Location, Problems};
use crate::config::schema::{ListenerCertificate, ListenerTls};
use crate::config::values::{DataSessions, FileName, ListenerTlsMode};
use crate::front::ftp::{TlsPolicy, TlsSettings};
use crate::net::tls::{CertificateAndKey, ServerCertificates, ServerTls};

pub(super) fn policy(
    tls: &ListenerTls,
    folder: &Path,
    problems: &mut Problems,
) -> Option<TlsPolicy> {
    let mode = *value(&tls.mode)?;
    if mode == ListenerTlsMode::None {
        refuse_without_tls(tls, problems);
        return Some(TlsPolicy::None);
    }
    let tls = TlsSettings {
        tls: server(tls, folder, problems)?,
        require_resumed_data: value(&tls.data_sessions) == Some(&DataSessions::Resumed),
        require_close_notify: value(&tls.require_close_notify).copied().unwrap_or(true),
    };
    Some(match mode {
        ListenerTlsMode::None => TlsPolicy::None,
        ListenerTlsMode::Optional => TlsPolicy::Optional(tls),
        ListenerTlsMode::Required => TlsPolicy::Required(tls),
        ListenerTlsMode::Implicit => TlsPolicy::Implicit(tls),
    })
}

/// The files of certificates and keys, in both forms.
pub(super) fn files(
    tls: &ListenerTls,
) -> impl Iterator<Item = (Option<&Leaf<FileName>>, Option<&Leaf<FileName>>)> {
    let listed = tls.certificates.iter().flat_map(|list| &list.items);
    let listed = listed.map(|entry| (entry.certificate.as_ref(), entry.key.as_ref()));
    listed.chain([(tls.certificate.as_ref(), tls.key.as_ref())])
}

fn refuse_without_tls(tls: &ListenerTls, problems: &mut Problems) {
    let locations = [
        tls.certificate.as_ref().map(|leaf| &leaf.at),
        tls.key.as_ref().map(|leaf| &leaf.at),
        tls.certificates.as_ref().map(|list| &list.at),
        tls.data_sessions.as_ref().map(|leaf| &leaf.at),
        tls.require_close_notify.as_ref().map(|leaf| &leaf.at),
        tls.client_certificate.as_ref().map(|leaf| &leaf.at),
    ];
    for at in locations.into_iter().chain(client_auth::keys(tls)).flatten() {
        problems.error(at, "has no effect with `mode: none`; change the mode or remove this");
    }
}

fn server(tls: &ListenerTls, folder: &Path, problems: &mut Problems) -> Option<ServerTls> {
    let client_auth = client_auth::compile(tls, folder, problems);
    let certificates: ServerCertificates = match &tls.certificates {
        Some(list) => {
            if tls.certificate.is_some() || tls.key.is_some() {
                let message = "replaces `certificate` and `key`: move them into this list, as its \
                               first entry";
                problems.error(&list.at, message);
            }
            listed(list, folder, problems)?
        }
        None => {
            for (leaf, name) in [(&tls.certificate, "certificate"), (&tls.key, "key")] {
                if leaf.is_none() {
                    let message = "is missing: TLS needs `certificate` and `key` (several: a list, \
                                   `certificates`)";
                    problems.error(&tls.at.absent(name), message);
                }
            }
            load(tls.certificate.as_ref()?, tls.key.as_ref()?, folder, problems)?.into()
        }
    };
    let refused = |e| problems.error(&tls.at, format!("cannot be used: {e}"));
    ServerTls::new(certificates, client_auth?).map_err(refused).ok()
}

fn listed(
    list: &Many<ListenerCertificate>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<ServerCertificates> {
    if list.items.is_empty() {
        let message = "is empty; write at least one entry: - { certificate: FILE, key: FILE }";
        problems.error(&list.at, message);
    }
    let mut certificates: Option<ServerCertificates> = None;
    for entry in &list.items {
        let (Some(certificate), Some(key)) = (&entry.certificate, &entry.key) else { continue };
        let Some(loaded) = load(certificate, key, folder, problems) else { continue };
        match &mut certificates {
            None => certificates = Some(loaded.into()),
            Some(earlier) => {
                if !earlier.add(&loaded) {
                    warn_never_chosen(&loaded, &entry.at, problems);
                }
            }
        }
    }
    certificates
}

fn warn_never_chosen(certificate: &CertificateAndKey, at: &Location, problems: &mut Problems) {
    let message = match certificate.names() {
        [] => "is never used: the certificate has no DNS name (subject alternative name) that a \
               client could send; put it first, remove it, or get one with names"
            .to_owned(),
        names => format!(
            "is never used: earlier certificates of the list have all its names ({}); remove one of \
             them",
            names.join(", ")
        ),
    };
    problems.warning(at, message);
}
