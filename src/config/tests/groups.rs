//! Servers that stand in for each other: `protocol: group`, lists of `address`, `health`.

use std::time::Duration;

use super::*;
use crate::backend::group::Choice;
use crate::config::BackendSettings;

/// The base with these backends before its own, of which the first has line 11.
fn with(backends: &str) -> String {
    let backends = backends.replace('\n', "\n  ");
    base().replacen("backends:\n", &format!("backends:\n  {backends}\n"), 1)
}

const TWO: &str =
    "a: { protocol: ftp, address: 10.0.1.7 }\nb: { protocol: ftp, address: 10.0.1.8 }";

#[track_caller]
fn one(backends: &str, at: &str, message: &str) {
    let output = report(&with(backends));
    assert!(output.contains(&format!("lockgate.yaml:{at}")), "{at}\n{output}");
    assert!(output.contains(message), "{message}\n{output}");
    assert!(output.ends_with("\n1 problem"), "{output}");
}

#[test]
fn a_group_has_the_servers_of_its_backends_in_order() {
    let config = compiled(&with(&format!(
        "{TWO}\nc: {{ protocol: sftp, address: [10.0.1.9, \"10.0.2.9:2222\"], danger_accept_any_host_key: \
         true, choose: source, sessions: 7, source_address: 10.0.0.1 }}\n\
         all: {{ protocol: group, servers: [c, a], choose: least-sessions }}"
    )));
    let names: Vec<_> = config.backends.iter().map(|(name, _)| name.as_str()).collect();
    let of_list = ["c/10.0.1.9:22", "c/10.0.2.9:2222"];
    assert_eq!(names, ["a", "b", of_list[0], of_list[1], "server", "folder"]);
    let group = |name: &str| config.groups.iter().find(|group| group.name == name).unwrap();
    assert_eq!(group("a").servers, ["a"]);
    assert_eq!(
        (&group("c").servers[..], group("c").choice),
        (&of_list.map(String::from)[..], Choice::Source)
    );
    let all: Vec<_> = group("all").servers.iter().map(String::as_str).collect();
    assert_eq!(
        (&all[..], group("all").choice),
        (&[of_list[0], of_list[1], "a"][..], Choice::LeastSessions)
    );
    // Only servers with a substitute are checked.
    let server = |name: &str| config.servers.iter().find(|server| server.name == name).unwrap();
    for (name, is_checked) in [("a", true), ("b", false), (of_list[1], true), ("folder", false)] {
        assert_eq!(server(name).checks.is_some(), is_checked, "{name}");
    }
    assert_eq!((server(of_list[0]).sessions_max, server("a").sessions_max), (Some(7), None));
    let BackendSettings::Sftp(sftp) = &config.backends[3].1 else { panic!() };
    assert_eq!(sftp.addresses, ["10.0.2.9:2222"]);
    assert_eq!(sftp.source_address, Some("10.0.0.1".parse().unwrap()));
    let greeting_timeouts = [0, 1].map(|n| {
        let BackendSettings::Ftp(ftp) = &config.backends[n].1 else { panic!() };
        ftp.greeting_timeout
    });
    assert_eq!(greeting_timeouts, [Some(Duration::from_secs(10)), None]);
}

#[test]
fn health_is_read() {
    let config = compiled(&with(
        "a:\n  protocol: ftp\n  address: 10.0.1.7\n  health: { every: 2s, timeout: 1s, login: { user: m, \
         password_file: exchange.password } }",
    ));
    let checks = config.servers[0].checks.as_ref().unwrap();
    assert_eq!((checks.every, checks.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    let account = checks.login.as_ref().unwrap();
    assert_eq!((&account.user[..], &account.password[..]), (&b"m"[..], &b"open sesame"[..]));
}

#[test]
fn each_mistake_is_told_where_it_is() {
    let group = |keys: &str| format!("{TWO}\ng: {{ protocol: group, {keys} }}");
    one("g: { protocol: group }", "11:", "servers: is missing");
    one(&group("servers: []"), "13:", "is an empty list");
    one(&group("servers: [a, c]"), "13:", "there is no backend \"c\"");
    one(&group("servers: [a, a]"), "13:", "lists \"a\" twice");
    one(
        &group("servers: [a, folder]"),
        "13:",
        "has `protocol: local`; a group consists of servers",
    );
    one(&group("servers: [a, g]"), "13:", "has `protocol: group`; a group consists of servers");
    one(
        &group("servers: [a, b], address: 10.0.0.1"),
        "13:",
        "belongs to `protocol: ftp` or `protocol: sftp`",
    );
    one(&group("servers: [a, b], choose: best"), "13:", "\"best\"");
    one("a: { protocol: ftp, address: [x, y, x] }", "11:", "is in the list twice");
    one(
        "a: { protocol: ftp, address: 10.0.1.7, choose: failover }",
        "11:",
        "the backend has one server",
    );
    one(
        "a: { protocol: ftp, address: 10.0.1.7, servers: [b] }",
        "11:",
        "belongs to `protocol: group`",
    );
    one("a: { protocol: ftp, address: 10.0.1.7, health: { every: 1ms } }", "11:", "less than 1s");
    let windows = "a: { protocol: ftp, address: x, names: windows }\nb: { protocol: ftp, address: y }\n\
                   g: { protocol: group, servers: [a, b] }";
    one(windows, "13:", "\"a\" and \"b\" read names in different ways");
    let account = "a: { protocol: ftp, address: x, login: { user: m, password_file: exchange.password } }\n\
                   b: { protocol: ftp, address: y }\ng: { protocol: group, servers: [b, a] }";
    one(account, "13:", "write `login` here, for all its servers");
}

/// The account is the group's, and only where the gateway authenticates.
#[test]
fn an_account_of_a_group_needs_a_route_that_authenticates() {
    let text = with(&format!(
        "{TWO}\ng: {{ protocol: group, servers: [a, b], login: {{ user: m, password_file: \
         exchange.password }} }}"
    ));
    let gateway = text.replacen("backend: folder", "backend: g", 1);
    compiled(&gateway);
    let unchecked = text.replacen("backend: server", "backend: g", 1);
    assert!(report(&unchecked).contains("must never be reachable with an unchecked password"));
}
