//! asyncssh and paramiko, with certificates and with two methods.

use serde_json::{Value, json};

use super::{Site, TIMEOUT};
use crate::support::actions::failures_of;
use crate::support::cells::Failure;
use crate::support::clients::paramiko::script;
use crate::support::clients::session::steps;
use crate::support::ssh::{keys, public};
use crate::support::ssh_ca::Authority;
use crate::support::{PASSWORD, USER, argon2_hash};

/// The failed steps of a scenario of `clients/ssh_logins.py`.
pub(super) fn run(site: &Site, scenario: &str, more: Value) -> Vec<Failure> {
    let mut job = json!({
        "scenario": scenario,
        "port": site.port(),
        "user": USER,
        "password": PASSWORD,
        "key": keys().user,
    });
    let object = job.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    failures_of(scenario, steps(&script("ssh_logins.py", &job)), |_| None)
}

#[test]
fn asyncssh_and_paramiko_log_in_with_certificates_and_with_two_methods() {
    let authority = Authority::new();
    let users = format!(
        "  {USER}: {{ authorized_keys: {:?}, password_hash: \"{}\" }}",
        public(&keys().stranger),
        argon2_hash()
    );
    let listener = format!(", trusted_user_ca_keys: {:?}", authority.public());
    let certificate = authority.sign("x", &keys().user, &["-n", USER]);
    let other = authority.sign("y", &keys().user, &["-n", "bob"]);
    let attacks = [
        // OpenSSH does not present these.
        authority.sign("host", &keys().user, &["-h", "-n", USER]),
        authority.sign("late", &keys().user, &["-n", USER, "-V", "-2d:-1d"]),
        authority.sign("early", &keys().user, &["-n", USER, "-V", "+1d:+2d"]),
        // Somebody else's certificate, without the private key.
        authority.sign("stolen", &keys().host[0], &["-n", USER]),
    ];
    let more = json!({ "certificate": certificate, "other": other, "attacks": attacks });
    for (require, scenario) in [("", "certificates"), (", require: [publickey, password]", "both")]
    {
        let route = format!("  - {{ authenticate: gateway, backend: files{require} }}");
        let site = Site::start(&listener, &users, &route);
        let failures = run(&site, scenario, more.clone());
        assert!(failures.is_empty(), "{scenario}: {failures:#?}");
        let says = |line: &Value| {
            line["detail"].as_str().is_some_and(|it| it.contains("it is a host certificate"))
        };
        site.gateway.await_log(says, TIMEOUT);
    }
}
