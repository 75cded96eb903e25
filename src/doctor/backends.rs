//! Each server behind the gateway: its name, its addresses, its greeting and what it proves itself with, and
//! the login of `health` where there is one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use prometheus::Registry;
use tokio::time::timeout;

use super::certificates;
use super::finding::Findings;
use super::reach;
use crate::auth::Credentials;
use crate::backend::ftp::{DataMode, FtpBackend};
use crate::backend::group::list_login_folder;
use crate::backend::local::LocalBackend;
use crate::backend::sftp::{HostKey, SftpBackend};
use crate::backend::{Backend, IgnoredAttributes, Login, Origin, Presented};
use crate::config::{BackendSettings, Compiled};
use crate::net::Connectors;
use crate::op::{Failure, Outage, Timestamp};

/// For the greeting and, again, for the login and the listing, whatever the backend's own timeouts are.
const SERVER_TIMEOUT: Duration = Duration::from_secs(20);

/// Looks at all servers at once; the findings are in the order of the configuration.
pub(super) async fn examine(config: &Compiled, connectors: &Connectors) -> Findings {
    let mut all = Findings::new("");
    let ignored = IgnoredAttributes::register(&Registry::new());
    let Ok(ignored) = ignored else { return all };
    let servers = config.backends.iter().zip(&config.servers).map(|((_, settings), server)| {
        let account = server.checks.as_ref().and_then(|checks| checks.login.clone());
        examine_server(&server.name, settings.clone(), account, connectors, &ignored)
    });
    for findings in join_all(servers).await {
        all.append(findings);
    }
    all
}

async fn examine_server(
    name: &str,
    settings: BackendSettings,
    account: Option<Credentials>,
    connectors: &Connectors,
    ignored: &IgnoredAttributes,
) -> Findings {
    let mut findings = Findings::new(format!("backend \"{name}\""));
    let (backend, way): (Arc<dyn Backend>, Way) = match settings {
        BackendSettings::Local(settings) => {
            match LocalBackend::open(&settings) {
                Ok(_) => findings.ok(format!("{} can be entered", settings.folder.display())),
                Err(error) => findings.problem(
                    error.to_string(),
                    "create the folder, or let this user enter it; doctor must run as the gateway's user",
                ),
            }
            return findings;
        }
        BackendSettings::Ftp(settings) => {
            let mut way =
                Way::new(&settings.addresses, settings.source_address, settings.connect_timeout);
            // No port of the pool is opened, to which the server would send a listing.
            way.lists = settings.data_mode == DataMode::Passive;
            (Arc::new(FtpBackend::new(settings, None, connectors, ignored)), way)
        }
        BackendSettings::Sftp(settings) => {
            let mut way =
                Way::new(&settings.addresses, settings.source_address, settings.connect_timeout);
            way.accepts_any_key = matches!(settings.host_key, HostKey::AcceptAny);
            (Arc::new(SftpBackend::new(settings, connectors, ignored)), way)
        }
    };
    let mut is_reached = false;
    for address in &way.addresses {
        is_reached |= reach::examine(address, way.source, way.timeout, &mut findings).await;
    }
    if !is_reached {
        return findings;
    }
    let greeted = timeout(SERVER_TIMEOUT, backend.greet()).await;
    let is_greeted = matches!(greeted, Ok(Ok(_)));
    judge_greeting(greeted.ok(), way.accepts_any_key, Timestamp::now(), &mut findings);
    if let (Some(account), true) = (account, is_greeted) {
        let user = String::from_utf8_lossy(&account.user).into_owned();
        let login = timeout(SERVER_TIMEOUT, log_in(&*backend, account, way.lists)).await;
        judge_login(&user, login.ok(), way.lists, &mut findings);
    }
    findings
}

/// How a server is reached.
struct Way {
    addresses: Vec<String>,
    source: Option<IpAddr>,
    timeout: Duration,
    /// `danger_accept_any_host_key`.
    accepts_any_key: bool,
    /// A listing can be tried: not with `data_mode: active`.
    lists: bool,
}

impl Way {
    fn new(addresses: &[String], source: Option<IpAddr>, timeout: Duration) -> Self {
        let timeout = timeout.min(SERVER_TIMEOUT);
        Self { addresses: addresses.to_vec(), source, timeout, accepts_any_key: false, lists: true }
    }
}

async fn log_in(backend: &dyn Backend, account: Credentials, lists: bool) -> Result<(), Failure> {
    let login = Login::Authenticated(Some(account));
    let session = backend.login(&login, Origin::CHECK).await?;
    let listed = if lists { list_login_folder(&*session).await } else { Ok(()) };
    session.close().await;
    listed
}

/// `None`: it took too long.
fn judge_greeting(
    greeted: Option<Result<Presented, Failure>>,
    accepts_any_key: bool,
    now: i64,
    findings: &mut Findings,
) {
    let limit = humantime::format_duration(SERVER_TIMEOUT);
    let presented = match greeted {
        Some(Ok(presented)) => presented,
        Some(Err(failure)) => return refused(&failure, findings),
        None => {
            let message = format!("it accepts connections, but says nothing usable within {limit}");
            return findings
                .problem(message, "is it overloaded, or does it speak another protocol?");
        }
    };
    if let Some(greeting) = &presented.greeting {
        findings.ok(format!("it greets: {greeting}"));
    }
    let protection = presented.peer.and_then(|peer| peer.protection);
    if let Some(protection) = protection {
        findings.ok(format!("{protection}"));
    }
    if let Some(certificate) = &presented.certificate {
        certificates::judge_server(certificate, now, findings);
    }
    match &presented.host_key {
        Some(key) if accepts_any_key => findings.warning_with(
            format!("any host key is accepted (`danger_accept_any_host_key`); it presented {key}"),
            format!("{OUT_OF_BAND}; then pin it: `host_key: \"SHA256:…\"`"),
        ),
        Some(key) => findings.ok(format!("its host key is the expected one: {key}")),
        None => {}
    }
}

const OUT_OF_BAND: &str = "ask the server's operator what the fingerprint should be, by telephone or from the server's \
                           own console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), not over this network";

fn refused(failure: &Failure, findings: &mut Findings) {
    let detail = failure.detail.as_ref().unwrap_or(&failure.message);
    let message = match failure.outage {
        Some(Outage::Tls) => format!("the TLS handshake fails: {detail}"),
        _ => detail.clone(),
    };
    findings.problem(message, remedy(failure.outage));
}

/// Beside what the failure itself says.
fn remedy(outage: Option<Outage>) -> String {
    let text = match outage {
        Some(Outage::HostKeyUnknown | Outage::HostKeyChanged) => OUT_OF_BAND,
        Some(Outage::HostKeyRevoked) => "the server needs a new host key",
        Some(Outage::CertificateAuthority | Outage::CertificateName) => {
            "ask the server's operator which certificate it should be before you trust it: who answers here \
             may be somebody else"
        }
        Some(Outage::CertificateExpired) => "tell the server's operator",
        Some(Outage::CertificateNotYetValid) => "compare this machine's clock with the server's",
        Some(Outage::Unreachable | Outage::Timeout) => {
            "is `protocol` right, and `tls.mode`: does the server expect TLS from the first byte?"
        }
        Some(Outage::AccountRefused) => "correct `health.login`",
        Some(Outage::Tls) => "is `tls.mode` right, and which versions of TLS does the server have?",
        Some(Outage::UnexpectedAnswer | Outage::CertificateInvalid) | None => "",
    };
    text.to_owned()
}

/// `None`: it took too long. `lists`: a listing belongs to it.
fn judge_login(
    user: &str,
    login: Option<Result<(), Failure>>,
    lists: bool,
    findings: &mut Findings,
) {
    match login {
        Some(Ok(())) if lists => {
            findings.ok(format!("the login of {user} (`health.login`) and a listing work"));
        }
        Some(Ok(())) => findings.ok(format!(
            "the login of {user} (`health.login`) works; a listing was not tried, as the server would need a \
             data port of the running gateway (`data_mode: active`)"
        )),
        Some(Err(failure)) => {
            let its_listing = if lists { " or its listing" } else { "" };
            let message =
                format!("the login of {user} (`health.login`){its_listing} fails: {failure}");
            let detail = failure.detail.map(|detail| format!("{message} ({detail})"));
            findings.problem(detail.unwrap_or(message), remedy(failure.outage));
        }
        None => {
            let limit = humantime::format_duration(SERVER_TIMEOUT);
            let message = format!("the login of {user} (`health.login`) takes longer than {limit}");
            findings.problem(message, "the server is reached: its log may tell what it waits for");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::CertificateSummary;
    use crate::op::FailureKind;

    const DAY: i64 = 86400;

    fn judged(greeted: Option<Result<Presented, Failure>>, any: bool) -> String {
        let mut findings = Findings::new("t");
        judge_greeting(greeted, any, 1000 * DAY, &mut findings);
        findings.text()
    }

    #[test]
    fn a_changed_host_key_is_a_problem_with_a_way_to_verify_it() {
        let failure = Failure::backend(FailureKind::Unavailable, "not for operators")
            .with_detail("s:22 presented ssh-ed25519 SHA256:new")
            .with_outage(Outage::HostKeyChanged);
        let text = judged(Some(Err(failure)), false);
        assert!(text.starts_with("problem s:22 presented ssh-ed25519 SHA256:new | ask"), "{text}");
        assert!(text.contains("not over this network"), "{text}");
    }

    #[test]
    fn a_silent_server_is_a_problem_and_an_unpinned_key_a_warning() {
        assert!(judged(None, false).starts_with("problem it accepts connections, but"));
        let presented =
            || Presented { host_key: Some("ssh-ed25519 SHA256:a".into()), ..Presented::default() };
        assert!(judged(Some(Ok(presented())), true).starts_with("warning any host key"));
        assert!(judged(Some(Ok(presented())), false).starts_with("ok its host key is"));
    }

    #[test]
    fn a_certificate_that_expires_soon_is_a_warning() {
        let with = |until| {
            let certificate = CertificateSummary {
                subject: "CN=s".into(),
                issuer: "CN=ca".into(),
                names: vec!["s.example".into()],
                from: 0,
                until,
            };
            Presented { certificate: Some(certificate), ..Presented::default() }
        };
        assert!(judged(Some(Ok(with(1005 * DAY))), false).contains("warning its certificate"));
        assert!(judged(Some(Ok(with(1200 * DAY))), false).contains("ok its certificate"));
    }
}
