//! `lockgate explain`: from the configuration and from the running gateway.

use serde_json::Value;

use crate::support::argon2_hash;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::process::Output;

const RULES: &str = r#"
backends:
  files: { protocol: local, folder: . }
routes:
  - { match: { users: "b*" }, authenticate: gateway, backend: files }
  - { match: { groups: partners }, authenticate: gateway, backend: files, root: "/{user}" }
policy:
  rules:
    - { name: no-site, deny: SITE }
    - name: office
      match: { paths: "/in/**", times: { days: mon-fri, hours: "08:00-18:00", zone: Europe/Berlin } }
      allow: create
    - { name: trial, match: { extensions: exe }, deny: create, dry_run: true }
    - { name: closed, match: { paths: "/in/**" }, deny: create, message: Come back later }
  limits:
    - { name: partners, match: { groups: partners }, bandwidth: 20MiB/s }
"#;

fn start() -> Gateway {
    let hash = argon2_hash();
    Gateway::start(&format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         users:\n  alice: {{ password_hash: \"{hash}\", groups: partners }}\n  bob: {{ password_hash: \"{hash}\" }}\n\
         admin: {{ socket: admin.sock }}\n{RULES}"
    ))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_configuration_and_the_running_gateway_explain_alike() {
    let gateway = start();
    let path = |name: &str| gateway.folder().join(name).display().to_string();
    let (config, socket) = (path("lockgate.yaml"), path("admin.sock"));
    for (asked, expected) in [
        (
            "--user alice --operation create --path /in/a --time 2026-11-30T12:00:00Z",
            "rule \"office\"",
        ),
        (
            "--user alice --operation create --path /in/a.exe --time 2026-11-29T12:00:00Z",
            "policy rule \"closed\" denies create",
        ),
        ("--user alice --operation create --path /out", "no policy rule allows create"),
        ("--user bob --operation list --path /", "routes[0] leads to"),
        ("--user carol", "no route matches: the login fails"),
    ] {
        let asked: Vec<_> = asked.split(' ').collect();
        let common = [&["explain", "--source", "192.0.2.1", "--json"][..], &asked].concat();
        let answer = |where_from: &[&str]| -> Value {
            let output = lockgate(&[&common, where_from].concat(), "");
            let mut answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            answer.as_object_mut().expect("an object").remove("time");
            answer
        };
        let from_file = answer(&["--config", &config]);
        assert_eq!(from_file, answer(&["--socket", &socket]), "{asked:?}");
        let shown: Vec<_> = common.iter().copied().filter(|word| *word != "--json").collect();
        let shown = text(&lockgate(&[&shown, &["--config", &config][..]].concat(), ""));
        assert!(shown.contains(expected), "{asked:?}: {shown}");
    }
}

#[test]
fn every_rule_before_the_one_that_decides_is_told_with_its_reason() {
    let gateway = start();
    let config = gateway.folder().join("lockgate.yaml").display().to_string();
    let explain = |asked: &[&str]| {
        let common = ["explain", "--config", &config, "--source", "192.0.2.1", "--user", "alice"];
        lockgate(&[&common[..], asked].concat(), "")
    };
    let asked = ["--operation", "create", "--path", "/in/a.exe", "--time", "2026-11-29T12:00:00Z"];
    let shown = text(&explain(&asked));
    for line in [
        "routes[0] is passed over: the user name matches none of `users`",
        "user      alice (partners): the gateway checks the user",
        "rule \"no-site\" is passed over: it does not name this operation",
        "rule \"office\" is passed over: match.times does not hold",
        "rule \"trial\" is passed over: it would decide, but is in dry run",
        "limit     partners: bandwidth 20MiB/s, per user",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(text(&explain(&["--operation", "SITE CHMOD"])).contains("rule \"no-site\" denies"));
    for (asked, told) in [
        (&["--operation", "put", "--path", "/a"][..], "is neither an operation"),
        (&["--operation", "read"], "needs a path"),
        (&["--path", "/a"], "needs an operation"),
        (&["--listener", "x"], "there is no listener \"x\""),
        (&["--time", "noon"], "is not a time"),
        (&["--operation", "read", "--path", "/a", "--to", "/b"], "has no second path"),
    ] {
        let output = explain(asked);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.ok() && error.contains(told), "{asked:?}: {error}");
    }
}
