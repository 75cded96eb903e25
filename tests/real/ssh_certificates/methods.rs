//! Which authentication methods are offered and required (RFC 4252 section 5).

use serde_json::{Value, json};

use super::{Site, TIMEOUT, sftp_as};
use crate::support::audit::{Schema, await_record};
use crate::support::process::Output;
use crate::support::ssh::{keys, public};
use crate::support::{USER, argon2_hash};

/// The lists of methods that the listener has sent, one after another.
fn offered(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let prefix = "Authentications that can continue: ";
    text.lines().filter_map(|line| Some(line.split_once(prefix)?.1.trim().to_owned())).collect()
}

fn key_of_user() -> String {
    format!("IdentityFile={}", keys().user.display())
}

const KEY_FILE_ONLY: &str = "IdentitiesOnly=yes";
const VERBOSE: &str = "LogLevel=DEBUG1";

fn user(keys_of_user: &str) -> String {
    format!("  {USER}: {{ {keys_of_user} }}")
}

fn authorized_key() -> String {
    format!("authorized_keys: {:?}", public(&keys().user))
}

fn password() -> String {
    format!("password_hash: \"{}\"", argon2_hash())
}

#[test]
fn only_methods_that_can_succeed_are_offered() {
    let (key, password) = (authorized_key(), password());
    let both = format!("{key}, {password}");
    let plain = "  - { authenticate: gateway, backend: files }";
    let all = "publickey,password,keyboard-interactive";
    let passwords = "password,keyboard-interactive";
    for (listener, users, routes, expected) in [
        ("", user(&key), plain, "publickey"),
        ("", user(&password), plain, passwords),
        ("", user(&both), plain, all),
        ("", format!("{}\n  bob: {{ {password} }}", user(&key)), plain, all),
        (", methods: publickey", user(&both), plain, "publickey"),
        (", methods: [password]", user(&both), plain, passwords),
        (
            "",
            user(&both),
            "  - { authenticate: gateway, backend: files, methods: [publickey] }",
            "publickey",
        ),
        (
            "",
            user(&both),
            "  - { authenticate: gateway, backend: files, require: [publickey, password] }",
            all,
        ),
    ] {
        let site = Site::start(listener, &users, routes);
        // The same for one who does not exist.
        for name in [USER, "nobody-here"] {
            let none = ["PreferredAuthentications=none", VERBOSE];
            let output = sftp_as(name, site.port(), &none);
            assert_eq!(offered(&output), [expected], "{listener} {routes}: {}", output.describe());
        }
    }
}

#[test]
fn a_method_that_is_not_offered_is_refused() {
    let both = format!("{}, {}", authorized_key(), password());
    let routes = "  - { authenticate: gateway, backend: files }";
    let site = Site::start(", methods: [publickey]", &user(&both), routes);
    // A client that sends the password whatever is offered.
    let steps = super::clients::run(&site, "unoffered-password", json!({}));
    assert!(steps.is_empty(), "{steps:#?}");
    let key = [key_of_user(), KEY_FILE_ONLY.to_owned()];
    sftp_as(USER, site.port(), &key.each_ref().map(String::as_str)).expect_ok("the key");
    let site = Site::start(
        "",
        &user(&both),
        &format!("{} }}", routes.replace(" }", ", methods: password")),
    );
    let only_key =
        [key_of_user(), "PreferredAuthentications=publickey".to_owned(), KEY_FILE_ONLY.to_owned()];
    assert!(!sftp_as(USER, site.port(), &only_key.each_ref().map(String::as_str)).ok());
    sftp_as(USER, site.port(), &["PubkeyAuthentication=no"]).expect_ok("the password");
}

#[test]
fn a_key_and_a_password_are_required_in_any_order() {
    let both = format!("{}, {}", authorized_key(), password());
    let plain = "  - { authenticate: gateway, backend: files }";
    let required = "  - { authenticate: gateway, backend: files, require: [publickey, password] }";
    for (users, routes) in
        [(user(&both), required), (user(&format!("{both}, require: [password, publickey]")), plain)]
    {
        let site = Site::start("", &users, routes);
        let identity = key_of_user();
        let login = |order: &str| {
            let order = format!("PreferredAuthentications={order}");
            sftp_as(USER, site.port(), &[&identity, KEY_FILE_ONLY, &order, VERBOSE])
        };
        let all = "publickey,password,keyboard-interactive";
        for (order, second) in [
            ("publickey,password", "password,keyboard-interactive"),
            ("publickey,keyboard-interactive", "password,keyboard-interactive"),
            ("password,publickey", "publickey"),
            ("keyboard-interactive,publickey", "publickey"),
        ] {
            let output = login(order);
            assert_eq!(offered(&output), [all, second], "{order}: {}", output.describe());
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains("using \"") || output.ok(), "{text}");
            output.expect_ok(order);
        }
        for order in ["publickey", "password", "keyboard-interactive"] {
            assert!(!login(order).ok(), "{order} alone");
        }
        let stranger = format!("IdentityFile={}", keys().stranger.display());
        let output = sftp_as(USER, site.port(), &[&stranger, KEY_FILE_ONLY]);
        assert!(!output.ok(), "another key: {}", output.describe());
        let partial = |line: &Value| line["event"] == "login" && line["outcome"] == "partial";
        let line = site.gateway.await_log(partial, TIMEOUT);
        assert_eq!(line["fault"], "client", "{line}");
        let record = await_record(&site.audit(), |it| it["outcome"] == "partial");
        Schema::load().validate(&record);
        let record = await_record(&site.audit(), |it| it["outcome"] == "ok");
        Schema::load().validate(&record);
        assert_eq!(record["authentication"]["method"], "publickey,password");
    }
}

/// A password besides the key can be passed on.
#[test]
fn a_key_and_a_password_lead_to_a_server_that_wants_the_password() {
    let server = crate::support::servers::sftp_endpoint("sshd");
    let yaml = format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back: {{ protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{}\" }}\n\
         users:\n{}\nroutes:\n  \
         - {{ authenticate: gateway, backend: back, require: [publickey, password] }}\n",
        crate::support::backend_fixture::host_keys(),
        server.port,
        keys().fingerprints[0],
        user(&format!("{}, {}", authorized_key(), password())),
    );
    let gateway = crate::support::gateway::Gateway::start(&yaml);
    let port = gateway.address("front").port();
    let identity = key_of_user();
    sftp_as(USER, port, &[&identity, KEY_FILE_ONLY]).expect_ok("both");
    let only = "PreferredAuthentications=publickey";
    assert!(!sftp_as(USER, port, &[&identity, KEY_FILE_ONLY, only]).ok());
}
