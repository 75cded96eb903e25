//! `client_certificate` of a listener's `tls`, with the keys that belong to it.

use std::collections::HashMap;
use std::path::Path;

use super::backends::LoginMode;
use super::key_logins::{matches_user_at, needs_password};
use super::{entries, value};
use crate::auth::UserCertificate;
use crate::config::leaf::OneOrMore;
use crate::config::report::{Location, Problems};
use crate::config::schema::{File, Listener, ListenerTls};
use crate::config::values::{ClientCertificateMode, FileName, ListenerTlsMode};
use crate::net::tls::{Authority, AuthorityError, CertificateUser, ClientAuth, Crl};

/// The demands on clients' certificates; the inner `None`: there are none.
pub(super) fn compile(
    tls: &ListenerTls,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Option<ClientAuth>> {
    let mode = match &tls.client_certificate {
        None => ClientCertificateMode::None,
        Some(leaf) => leaf.value?,
    };
    if mode == ClientCertificateMode::None {
        refuse_without_certificates(tls, problems);
        return Some(None);
    }
    refuse_without_tls(tls, mode, problems);
    let Some(ca) = &tls.client_ca else {
        let message =
            "is missing: the file with the authorities that issue the clients' certificates";
        problems.error(&tls.at.absent("client_ca"), message);
        return None;
    };
    let authorities = load(ca, folder, Authority::load, problems);
    let crls = tls.client_crl.as_ref().map(|files| load(files, folder, Crl::load, problems));
    let (authorities, crls) = (authorities?, crls.unwrap_or_else(|| Some(Vec::new()))?);
    if let Some(files) = &tls.client_crl {
        check_issuers(&authorities, &crls, (&ca.at, &files.at), problems);
    }
    let user = value(&tls.certificate_user).copied().unwrap_or_default();
    let authorities: Vec<_> = authorities.into_iter().map(|(_, it)| it).collect();
    let crls: Vec<_> = crls.into_iter().map(|(_, it)| it).collect();
    let refused = |e| problems.error(&tls.at, format!("clients' certificates: {e}"));
    let is_required = mode == ClientCertificateMode::Required;
    let files = tls.client_crl.iter().flat_map(|files| files.values());
    let files = files.map(|(_, name)| folder.join(&name.0)).collect();
    ClientAuth::new(&authorities, (&crls, files), is_required, user).map_err(refused).ok().map(Some)
}

/// The keys that need TLS, and certificates of clients.
pub(super) fn keys(tls: &ListenerTls) -> [Option<&Location>; 3] {
    [
        tls.client_ca.as_ref().map(|list| &list.at),
        tls.client_crl.as_ref().map(|list| &list.at),
        tls.certificate_user.as_ref().map(|leaf| &leaf.at),
    ]
}

fn refuse_without_certificates(tls: &ListenerTls, problems: &mut Problems) {
    for at in keys(tls).into_iter().flatten() {
        let message = "has no effect without `client_certificate: optional` or `required`";
        problems.error(at, message);
    }
}

fn refuse_without_tls(tls: &ListenerTls, mode: ClientCertificateMode, problems: &mut Problems) {
    let is_optional = value(&tls.mode) == Some(&ListenerTlsMode::Optional);
    if let (true, ClientCertificateMode::Required, Some(leaf)) =
        (is_optional, mode, &tls.client_certificate)
    {
        let message = "with `mode: optional`, clients without TLS could log in without a certificate: \
                       write `mode: required`, or `client_certificate: optional`";
        problems.error(&leaf.at, message);
    }
}

/// The entries of all files, each with the place that names its file; `None` if one is unusable.
fn load<'a, T>(
    files: &'a OneOrMore<FileName>,
    folder: &Path,
    load: fn(&Path) -> Result<Vec<T>, AuthorityError>,
    problems: &mut Problems,
) -> Option<Vec<(&'a Location, T)>> {
    let mut all = Some(Vec::new());
    for (at, name) in files.values() {
        match load(&folder.join(&name.0)) {
            Ok(entries) => {
                if let Some(all) = &mut all {
                    all.extend(entries.into_iter().map(|entry| (at, entry)));
                }
            }
            Err(error) => {
                problems.error(at, error.to_string());
                all = None;
            }
        }
    }
    all.filter(|all| !all.is_empty())
}

/// Each list needs its authority, and each authority a list: its certificates are refused otherwise.
fn check_issuers(
    authorities: &[(&Location, Authority)],
    crls: &[(&Location, Crl)],
    (ca_at, crl_at): (&Location, &Location),
    problems: &mut Problems,
) {
    for (at, crl) in crls {
        if !authorities.iter().any(|(_, authority)| authority.has_issued(crl)) {
            let message = format!(
                "is a list of \"{}\", which is none of the authorities of `client_ca` (line {}): add \
                 that authority's certificate there, or remove the list",
                crl.name.escape_debug(),
                ca_at.mark.line
            );
            problems.error(at, message);
        }
    }
    for (_, authority) in authorities {
        if !crls.iter().any(|(_, crl)| authority.has_issued(crl)) {
            let message = format!(
                "has no list of \"{}\" of `client_ca` (line {}), so that all certificates of this \
                 authority would be refused: add its list",
                authority.name.escape_debug(),
                ca_at.mark.line
            );
            problems.error(crl_at, message);
        }
    }
}

/// Warns of `certificate` of users that has no effect: no listener can tell whose a certificate is, or each route
/// needs the password.
pub(super) fn warn_unused(
    file: &File,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) {
    let listeners: Vec<&str> = entries(&file.listeners)
        .iter()
        .filter(|(_, listener)| names_users(listener))
        .map(|(name, _)| name.as_str())
        .collect();
    let routes = file.routes.as_ref().map_or(&[][..], |routes| &routes.items);
    for (name, user) in entries(&file.users) {
        let Some(leaf) = &user.certificate else { continue };
        let Some(purpose) = leaf.value else { continue };
        if listeners.is_empty() {
            let effect = match purpose {
                UserCertificate::Sufficient => "has no effect",
                UserCertificate::Required => "keeps this user from logging in with a password",
            };
            let message = format!(
                "{effect}: no listener has `client_certificate` with a `certificate_user` other than any"
            );
            problems.warning(&leaf.at, message);
        }
        let mut own =
            routes.iter().filter(|route| matches_user_at(route, name, user, &listeners)).peekable();
        if purpose == UserCertificate::Sufficient
            && own.peek().is_some()
            && own.all(|route| needs_password(route, login_modes))
        {
            let message = "every route for this user leads to a backend with `login: pass-through`, which \
                           needs the user's password, so the certificate is never enough: give the backend \
                           an account (`login: { user: … }`)";
            problems.warning(&leaf.at, message);
        }
    }
}

/// Whether it asks for certificates that tell users apart.
fn names_users(listener: &Listener) -> bool {
    listener.tls.as_ref().is_some_and(|tls| {
        let mode = value(&tls.client_certificate);
        mode.is_some_and(|mode| *mode != ClientCertificateMode::None)
            && value(&tls.certificate_user) != Some(&CertificateUser::Any)
    })
}
