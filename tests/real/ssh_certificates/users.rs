//! Certificates of users at the SFTP front (`trusted_user_ca_keys`).

use std::fs;

use serde_json::Value;

use super::{Site, TIMEOUT, sftp_command, with_certificate};
use crate::support::audit::{Schema, await_record};
use crate::support::clients::deadline;
use crate::support::gateway::lockgate;
use crate::support::process::run;
use crate::support::ssh::{fingerprint, keys, public, public_line};
use crate::support::ssh_ca::Authority;
use crate::support::{USER, argon2_hash};

const ROUTES: &str = "  - { authenticate: gateway, backend: files }";

/// A user without a password and keys.
const BY_NAME: &str = "groups: staff";

fn start(listener: &str, user: &str) -> Site {
    Site::start(listener, &format!("  {USER}: {{ {user} }}\n  bob: {{ principals: ops }}"), ROUTES)
}

#[test]
fn a_certificate_of_a_trusted_authority_logs_in() {
    let authority = Authority::new();
    let site = start(&format!(", trusted_user_ca_keys: {:?}", authority.public()), BY_NAME);
    let arguments = [
        "-n",
        &format!("ops,{USER}"),
        "-z",
        "18446744073709551615",
        "-O",
        "force-command=internal-sftp",
    ];
    let certificate = authority.sign("alice@laptop", &keys().user, &arguments);
    let output = with_certificate(site.port(), &keys().user, &certificate);
    output.expect_ok("a certificate");
    let login = site.gateway.await_log(|it| it["event"] == "login", TIMEOUT);
    let expected =
        format!("ID alice@laptop (serial 18446744073709551615) CA {}", fingerprint(&authority.key));
    assert_eq!(login["key_certificate"], expected, "{login}");
    let record = await_record(&site.audit(), |record| record["event"] == "login");
    Schema::load().validate(&record);
    let authentication = &record["authentication"];
    assert_eq!(authentication["method"], "publickey");
    assert_eq!(authentication["fingerprint"], fingerprint(&keys().user));
    assert_eq!(authentication["certificate"]["serial"], "18446744073709551615");
    assert_eq!(authentication["certificate"]["key_id"], "alice@laptop");
    assert_eq!(authentication["certificate"]["authority"], fingerprint(&authority.key));
    // The key alone is not listed.
    let output = super::sftp_as(
        USER,
        site.port(),
        &[
            &format!("IdentityFile={}", keys().user.display()),
            "IdentitiesOnly=yes",
            "PreferredAuthentications=publickey",
        ],
    );
    assert!(!output.ok(), "the key without its certificate: {}", output.describe());
    let refused =
        |line: &Value| line["detail"] == "the key is in none of the user's authorized_keys";
    site.gateway.await_log(refused, TIMEOUT);
}

/// Each is refused, and the log says why.
#[test]
fn other_certificates_are_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let listed = authority.sign("listed", &keys().stranger, &["-n", USER]);
    let list = authority.revocation_list("serial: 7\nserial: 100-199\nid: lost laptop\n");
    let revoked = tempfile::tempdir().expect("a folder");
    let text = revoked.path().join("revoked");
    fs::write(&text, public_line(&keys().stranger)).expect("writing a list");
    let site = start(
        &format!(
            ", trusted_user_ca_keys: {:?}, revoked_keys: [{text:?}, {list:?}]",
            authority.public()
        ),
        BY_NAME,
    );
    let sign = |name: &str, arguments: &[&str]| authority.sign(name, &keys().user, arguments);
    let principal = ["-n", USER];
    let with = |more: &[&'static str]| [&principal[..], more].concat();
    for (name, certificate, reason) in [
        ("not yet valid", sign("early", &with(&["-V", "+1d:+2d"])), None),
        ("expired", sign("late", &with(&["-V", "-2d:-1d"])), None),
        ("another user's", sign("other", &["-n", "bob,alic"]), Some("none of its principals")),
        ("of nobody", sign("nobody", &[]), Some("it has no principals")),
        (
            "another authority's",
            stranger.sign("stranger", &keys().user, &principal),
            Some("which is not in the listener's `trusted_user_ca_keys`"),
        ),
        (
            "for other addresses",
            sign("source", &with(&["-O", "source-address=192.0.2.0/24"])),
            Some("its source-address does not include"),
        ),
        (
            "for a command",
            sign("command", &with(&["-O", "force-command=/bin/true"])),
            Some("it has a force-command other than internal-sftp"),
        ),
        (
            "with an unknown option",
            sign("option", &with(&["-O", "critical:x@example.com=1"])),
            Some("it has the critical option \"x@example.com\""),
        ),
        ("revoked by serial", sign("serial", &with(&["-z", "150"])), Some("it is revoked")),
        ("revoked by key id", sign("lost laptop", &with(&["-z", "1"])), Some("it is revoked")),
    ] {
        let output = with_certificate(site.port(), &keys().user, &certificate);
        assert!(!output.ok(), "{name}: {}", output.describe());
        let Some(reason) = reason else { continue };
        let says = |line: &Value| {
            line["event"] == "key-offer"
                && line["key_certificate"].is_string()
                && line["detail"].as_str().is_some_and(|detail| detail.contains(reason))
        };
        site.gateway.await_log(says, TIMEOUT);
    }
    let output = with_certificate(site.port(), &keys().stranger, &listed);
    assert!(!output.ok(), "a revoked key: {}", output.describe());
    let record = await_record(&site.audit(), |it| it["outcome"] == "key-refused");
    Schema::load().validate(&record);
    // The counterpart: this one is in order.
    let good = sign("good", &with(&["-z", "200", "-O", "source-address=127.0.0.0/8"]));
    with_certificate(site.port(), &keys().user, &good).expect_ok("a good one");
    // The list is read again when it changes.
    authority.revocation_list("serial: 200\n");
    let output = with_certificate(site.port(), &keys().user, &good);
    assert!(!output.ok(), "revoked while the gateway runs: {}", output.describe());
    fs::remove_file(&text).expect("removing a list");
    let output = with_certificate(site.port(), &keys().user, &sign("x", &principal));
    assert!(!output.ok(), "without its list: {}", output.describe());
    let says = |line: &Value| {
        line["detail"].as_str().is_some_and(|it| it.contains("`revoked_keys` cannot be used"))
    };
    site.gateway.await_log(says, TIMEOUT);
}

/// A user may have principals, a key and a password as well.
#[test]
fn principals_of_a_user_replace_the_name() {
    let authority = Authority::new();
    let user = format!(
        "principals: [ops, deploy], authorized_keys: {:?}, password_hash: \"{}\"",
        public(&keys().stranger),
        argon2_hash()
    );
    let site = start(&format!(", trusted_user_ca_keys: {:?}", authority.public()), &user);
    let certificate = authority.sign("ops", &keys().user, &["-n", "deploy"]);
    with_certificate(site.port(), &keys().user, &certificate).expect_ok("a principal");
    let own = authority.sign("own", &keys().user, &["-n", USER]);
    let output = with_certificate(site.port(), &keys().user, &own);
    assert!(!output.ok(), "the name is no principal: {}", output.describe());
    // A listed key works as before, although offers are accepted before the signature.
    let identity = format!("IdentityFile={}", keys().stranger.display());
    let options = [&identity, "IdentitiesOnly=yes", "PreferredAuthentications=publickey"];
    super::sftp_as(USER, site.port(), &options).expect_ok("a listed key");
    super::sftp_as(USER, site.port(), &["PubkeyAuthentication=no"]).expect_ok("a password");
}

/// An agent's keys are all signed with, since each may be that of a certificate: they are no failed logins.
#[test]
fn an_agent_with_many_keys_gets_in() {
    let authority = Authority::new();
    let listener = format!(", trusted_user_ca_keys: {:?}", authority.public());
    let site = start(&listener, BY_NAME);
    let home = tempfile::tempdir().expect("a home");
    let socket = home.path().join("agent");
    let script = home.path().join("session");
    let mut lines = String::from("set -e\n");
    for number in 0..6 {
        let key = home.path().join(format!("other{number}"));
        lines += &format!("ssh-keygen -q -t ed25519 -N '' -f {key:?}\nssh-add -q {key:?}\n");
    }
    // ssh-add takes the certificate beside the key.
    let own = home.path().join("own");
    fs::copy(&keys().user, &own).expect("copying a key");
    fs::copy(public(&keys().user), public(&own)).expect("copying a key");
    let certificate = authority.sign("agent", &keys().user, &["-n", USER]);
    fs::copy(certificate, home.path().join("own-cert.pub")).expect("copying a certificate");
    lines += &format!("chmod 600 {own:?}\nssh-add -q {own:?}\nexec \"$@\"\n");
    fs::write(&script, lines).expect("writing a script");
    let options = ["PreferredAuthentications=publickey"];
    let sftp = sftp_command(USER, site.port(), home.path(), &options);
    let mut command = crate::support::clients::client("ssh-agent", home.path());
    for (name, value) in sftp.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.args(["-a"]).arg(&socket).args(["sh"]).arg(&script);
    command.arg(sftp.get_program()).args(sftp.get_args());
    run(&mut command, b"pwd\n", deadline()).expect_ok("sftp with an agent");
    let series = "lockgate_logins_total{listener=\"front\",outcome=\"refused\"}";
    assert_eq!(site.gateway.metric(series).unwrap_or(0), 0);
}

#[test]
fn check_explains_wrong_files() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty");
    fs::write(&empty, "# none yet\n").expect("writing a file");
    let host = &keys().host[0];
    let user = authority.sign("user", host, &["-n", "x"]);
    let expired = authority.sign("expired", host, &["-h", "-n", "x", "-V", "-2d:-1d"]);
    for (keys_of_listener, says) in [
        (format!("trusted_user_ca_keys: {:?}", authority.key), "contains a private key"),
        (format!("trusted_user_ca_keys: {empty:?}"), "contains no key"),
        (format!("trusted_user_ca_keys: {user:?}"), "line 1 contains a certificate"),
        (format!("revoked_keys: {:?}", authority.key), "contains a private key"),
        (format!("revoked_keys: {:?}", folder.path().join("none")), "cannot read"),
        (format!("host_certificates: {:?}", public(host)), "contains a plain public key"),
        (format!("host_certificates: {user:?}"), "contains a user certificate"),
        (format!("host_certificates: {expired:?}"), "contains an expired certificate"),
    ] {
        let text = format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {host:?}, \
             {keys_of_listener} }}\nbackends:\n  files: {{ protocol: local, folder: {:?} }}\n\
             users:\n  u: {{ password_hash: \"{}\" }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n",
            folder.path(),
            argon2_hash()
        );
        let config = folder.path().join("lockgate.yaml");
        fs::write(&config, text).expect("writing a configuration");
        let output = lockgate(&["check", "--config", config.to_str().expect("a path")], "");
        let shown = output.describe();
        assert_eq!(output.status.and_then(|it| it.code()), Some(64), "{keys_of_listener}: {shown}");
        assert!(shown.contains(says) && shown.contains(":2:"), "{keys_of_listener}: {shown}");
    }
}
