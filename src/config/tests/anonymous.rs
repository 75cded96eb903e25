//! What is compiled from `authenticate: anonymous`, and its mistakes.

use super::routes::warned;
use super::*;
use crate::route::{Access, Account, Authenticator};

/// The base with this route first, and these lines at its end.
fn with(route: &str, more: &str) -> String {
    base().replacen("routes:\n", &format!("routes:\n  - {{ {route} }}\n"), 1) + more
}

const ROUTE: &str = "authenticate: anonymous, backend: folder";
const READ_ONLY: &str = "policy:\n  rules:\n    - { name: guests, match: { users: anonymous }, allow: \
                         [list, read] }\n    - { name: rest, match: { users: anonymous }, deny: all }\n    \
                         - { name: users, allow: all }\n";
/// A listener that anonymous users cannot use.
const SFTP: &str =
    "  sftp:\n    protocol: sftp\n    address: \"0.0.0.0:22\"\n    host_keys: ecdsa\n";

fn reports(text: &str, message: &str) {
    let report = report(text);
    assert!(report.contains(message) && report.ends_with("\n1 problem"), "{report}");
}

#[test]
fn a_route_is_for_anonymous_users_of_ftp_listeners() {
    let text = with(ROUTE, READ_ONLY).replacen("data_ports:\n", &format!("{SFTP}data_ports:\n"), 1);
    let config = compiled(&text);
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let access = |index: usize| &config.routes.0[index].backends()[0].access;
    let Access::Gateway { by, account } = access(0) else { panic!() };
    assert!(matches!((by, account), (Authenticator::Anonymous, Account::None)));
    let covers = |listener: &str| {
        let source = "192.0.2.1".parse().unwrap();
        config.routes.0[0].matches.covers(listener, source, None, b"ftp", None)
    };
    assert!(covers("public") && !covers("sftp"));
    // It may come after a route for everyone, and before.
    let last =
        base().replacen("limits:\n", &format!("  - {{ {ROUTE} }}\nlimits:\n"), 1) + READ_ONLY;
    assert!(compiled(&last).warnings.is_empty());
    let server = with("authenticate: anonymous, backend: server", READ_ONLY);
    let config = compiled(&server);
    let Access::Gateway { account, .. } = &config.routes.0[0].backends()[0].access else {
        panic!()
    };
    assert!(matches!(account, Account::PassThrough));
}

#[test]
fn conditions_that_no_anonymous_user_meets_are_errors() {
    let route = |given: &str| with(&format!("match: {{ {given} }}, {ROUTE}"), READ_ONLY);
    reports(&route("groups: [staff]"), "never matches: anonymous users have no groups");
    reports(&route("users: [guest]"), "is for the names anonymous and ftp");
    let sftp = route("listeners: [public, sftp]");
    let sftp = sftp.replacen("data_ports:\n", &format!("{SFTP}data_ports:\n"), 1);
    reports(&sftp, "is an SFTP listener, and SFTP has no anonymous users");
    let only = base().replacen("authenticate: backend", "authenticate: anonymous", 1);
    let only = only.replacen("backend: server\n", "backend: folder\n", 1);
    let only = only.replacen("data_ports:\n", &format!("{SFTP}data_ports:\n"), 1);
    let report = load_beside(folder().path(), &only).unwrap().warnings.to_string();
    assert!(!report.contains("listeners.public: no route"), "{report}");
}

#[test]
fn anonymous_users_who_may_write_are_warned_of() {
    let route = "routes[0].authenticate: ";
    let warned =
        |more: &str, message: &str| warned(&with(ROUTE, more), &[&format!("{route}{message}")]);
    warned("", "no rule of `policy` refuses anything: anonymous users may write and delete");
    let rules = |rules: &str| format!("policy:\n  rules:\n{rules}");
    let allow = |line: &str| rules(&format!("    - {{ name: a, {line} }}\n"));
    warned(&allow("allow: all"), "the rule in line 33 lets anonymous users create");
    warned(
        &allow("match: { users: \"*\" }, allow: [read, rename]"),
        "the rule in line 33 lets anonymous users rename",
    );
    warned(&format!("{}  dry_run: true\n", allow("allow: read")), "no rule of `policy` refuses");
    // A refusal for some paths leaves the rest.
    let some = "    - { name: a, match: { paths: [/pub/**] }, deny: [create, read, rename, link] }\n    \
                - { name: b, allow: all }\n";
    warned(&rules(some), "the rule in line 34 lets anonymous users create");
}

#[test]
fn rules_that_keep_anonymous_users_from_writing_are_no_warnings() {
    for rule in [
        "allow: [list, read]",
        "match: { groups: staff }, allow: all",
        "match: { backends: server }, allow: all",
        // Meant so.
        "match: { users: anonymous, paths: [/incoming/**] }, allow: [create]",
    ] {
        warned(&with(ROUTE, &format!("policy:\n  rules:\n    - {{ name: a, {rule} }}\n")), &[]);
    }
}

#[test]
fn a_user_with_the_name_is_a_warning() {
    let text = with(ROUTE, READ_ONLY).replacen(
        "  alice:",
        &format!("  ftp:\n    password_hash: \"{HASH}\"\n    groups: [staff]\n  alice:"),
        1,
    );
    warned(&text, &["users.ftp: clients that log in with this name need its password"]);
}
