//! A session of SFTP through firewalls, with the backends' client.

use std::time::Duration;

use prometheus::Registry;
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, Way};
use crate::auth::{Credentials, PasswordSent};
use crate::backend::group::list_login_folder;
use crate::backend::sftp::{HostKey, Settings, SftpBackend};
use crate::backend::{
    Backend, IgnoredAttributes, Login, Origin, PartialUploads, Presented, UnsupportedAttributes,
};
use crate::doctor::finding::Findings;
use crate::net::ssh::{Algorithms, Base, Side};
use crate::net::{Connector, Connectors};
use crate::op::{Failure, RemotePath};
use crate::policy::Names;

/// For the key exchange, and for the login with the listing.
const TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(60);

pub(super) async fn examine(way: &Way) -> Findings {
    let mut findings = Findings::new("SFTP");
    let presented = match timeout(TIMEOUT, present(way)).await {
        Ok(Ok(presented)) => presented,
        Ok(Err(failure)) => {
            let remedy = "is this the gateway's SFTP port? A firewall may allow only what it knows";
            findings.problem(failure.detail.unwrap_or(failure.message), remedy);
            return findings;
        }
        Err(_) => {
            findings.problem("the key exchange takes too long", "a firewall may inspect SSH");
            return findings;
        }
    };
    if let Some(protection) = presented.peer.as_ref().and_then(|peer| peer.protection.as_ref()) {
        findings.ok(protection.to_string());
    }
    let key = presented.host_key.unwrap_or_default();
    let Some(expected) = &way.host_key else {
        findings.problem(
            format!("it presents the host key {key}; no password was sent"),
            "compare it with what `lockgate doctor` prints on the gateway, then repeat with --host-key SHA256:…",
        );
        return findings;
    };
    match timeout(TIMEOUT, log_in_and_list(way, expected)).await {
        Ok(Ok(())) => {
            findings.ok(format!("it has the expected host key {expected}"));
            findings.ok(format!("{} is logged in, and a listing works", way.user));
        }
        Ok(Err(failure)) => {
            let detail = failure.detail.unwrap_or(failure.message);
            findings.problem(
                detail,
                "are user, password and --host-key right? With another host key, somebody else may answer here",
            );
        }
        Err(_) => findings.problem(
            "the login and the listing take too long",
            "the gateway's log tells what it waits for",
        ),
    }
    findings
}

/// Only the key exchange: no user name is sent.
async fn present(way: &Way) -> Result<Presented, Failure> {
    backend(way, HostKey::AcceptAny)?.greet().await
}

async fn log_in_and_list(way: &Way, expected: &str) -> Result<(), Failure> {
    let backend = backend(way, HostKey::Fingerprints(vec![expected.to_owned()]))?;
    let credentials = Credentials {
        user: way.user.clone().into_bytes(),
        password: way.password.clone(),
        account: None,
        sent: PasswordSent::default(),
        key: None,
    };
    let login = Login::Authenticated(Some(credentials));
    let session = backend.login(&login, Origin::CHECK).await?;
    let listed = list_login_folder(&*session).await;
    session.close().await;
    listed
}

fn backend(way: &Way, host_key: HostKey) -> Result<SftpBackend, Failure> {
    let settings = Settings {
        name: "gateway".to_owned(),
        addresses: vec![way.address()],
        host_key,
        algorithms: Algorithms::new(Side::Backend, Base::Modern),
        login_folder: None::<RemotePath>,
        names: Names::Exact,
        partial_uploads: PartialUploads::Keep,
        unsupported_attributes: UnsupportedAttributes::default(),
        send_proxy_protocol: false,
        connects_at_once: Connector::DEFAULT_CONNECTS_AT_ONCE_MAX,
        source_address: None,
        connect_timeout: CONNECT_TIMEOUT,
        reply_timeout: TIMEOUT,
        realpath_timeout: Settings::DEFAULT_REALPATH_TIMEOUT,
        keepalive: KEEPALIVE,
    };
    let registry = Registry::new();
    let internal = |error: prometheus::Error| {
        Failure::gateway(crate::op::FailureKind::Internal, format!("metrics: {error}"))
    };
    let connectors = Connectors::register(&registry).map_err(internal)?;
    let ignored = IgnoredAttributes::register(&registry).map_err(internal)?;
    Ok(SftpBackend::new(settings, &connectors, &ignored))
}
