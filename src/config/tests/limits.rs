//! `policy.limits` and `state_dir`.

use std::fs;

use super::*;
use crate::policy::limits::{OperationPeriod, OperationRate, Per};

/// The base with these limits, of which the first has line 32.
fn with(limits: &str) -> String {
    format!("{}policy:\n  limits:\n    {}\n", base(), limits.replace('\n', "\n    "))
}

/// One mistake, at this position and key, and what is said of it.
#[track_caller]
fn one(limits: &str, at: &str, message: &str) {
    let output = report(&with(limits));
    assert!(output.contains(&format!("lockgate.yaml:{at}")), "{at}\n{output}");
    assert!(output.contains(message), "{message}\n{output}");
    assert!(output.ends_with("\n1 problem"), "{output}");
}

#[track_caller]
fn warning(limits: &str, at: &str, message: &str) {
    let output = compiled(&with(limits)).warnings.to_string();
    assert!(output.contains(&format!("{at}: warning")), "{at}\n{output}");
    assert!(output.contains(message) && output.ends_with("\n1 warning"), "{message}\n{output}");
}

#[test]
fn every_value_is_read() {
    let config = compiled(&with(
        "- name: partners\n  match: { groups: [staff], listeners: public, backends: folder, protocols: \
         ftp, sources: 192.0.2.0/24, users: \"a*\" }\n  per: listener\n  bandwidth: 20MiB/s\n  \
         upload_bandwidth: 1MiB/s\n  download_bandwidth: 100Mbit/s\n  sessions: 9\n  transfers: 4\n  \
         operations: 100/s\n  bytes_per_day: 10GiB\n  files_per_day: 1000\n- { name: rest, sessions: 1 }",
    ));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    assert!(config.policy.is_none(), "limits alone forbid nothing");
    let [partners, rest] = &config.policy_limits[..] else { panic!("two limits") };
    assert_eq!((partners.name.as_str(), partners.per), ("partners", Per::Listener));
    assert!(partners.matches.users.is_some() && partners.matches.sources.is_some());
    assert_eq!(partners.bandwidth, Some(20 << 20));
    assert_eq!(partners.upload_bandwidth, Some(1 << 20));
    assert_eq!(partners.download_bandwidth, Some(12_500_000));
    assert_eq!((partners.sessions, partners.transfers), (Some(9), Some(4)));
    let hundred = OperationRate { count: 100, period: OperationPeriod::Second };
    assert_eq!(partners.operations, Some(hundred));
    assert_eq!((partners.bytes_per_day, partners.files_per_day), (Some(10 << 30), Some(1000)));
    assert_eq!((rest.per, rest.sessions, rest.bandwidth), (Per::User, Some(1), None));
    assert!(rest.matches.groups.is_none());
}

#[test]
fn limits_and_rules_go_together() {
    let text = with("- { name: a, sessions: 1 }");
    let text = format!("{text}  rules:\n    - {{ name: all, allow: all }}\n");
    let config = compiled(&text);
    assert!(config.policy.is_some() && config.policy_limits.len() == 1);
    let text = with("- { name: a, sessions: 1 }") + "  dry_run: true\n";
    assert!(report(&text).contains("policy.rules: is missing"), "{}", report(&text));
}

#[test]
fn values_that_limit_nothing_or_everything_are_errors() {
    one("- { name: a, sessions: 0 }", "32:28: policy.limits[0].sessions", "must be at least 1");
    one("- { name: a, transfers: 0 }", "32:29", "must be at least 1");
    one("- { name: a, files_per_day: 0 }", "32:33", "must be at least 1");
    one("- { name: a, operations: 0/s }", "32:30", "must be at least 1");
    one("- { name: a, bandwidth: 0MiB/s }", "32:29", "must be more than zero");
    one("- { name: a, bytes_per_day: 0 }", "32:33", "must be more than zero");
    one("- { name: a, bandwidth: 1kbit/s }", "32:29", r#"did you mean "64kbit/s"?"#);
    one("- { name: a }", "32:7: policy.limits[0]", "limits nothing: add bandwidth, ");
    one("- { name: a, match: { listeners: public } }", "32:7", "limits nothing");
    one("[]", "31:3: policy.limits", "is empty");
}

#[test]
fn unknown_units_and_names_are_errors() {
    one("- { name: a, bandwidth: 20MB/s }", "32:29", r#"did you mean "20MiB/s"?"#);
    one("- { name: a, bandwidth: 1gbps }", "32:29", r#"did you mean "1Gbit/s"?"#);
    one("- { name: a, operations: 100 }", "32:30", r#"did you mean "100/s"?"#);
    one("- { name: a, bytes_per_day: 10GB }", "32:33", r#"did you mean "10GiB"?"#);
    one("- { name: a, per: usr, sessions: 1 }", "32:23", r#"did you mean "user"?"#);
    one("- { name: a, sesions: 1, transfers: 1 }", "32:18", r#"did you mean "sessions"?"#);
    one("- { name: a, rate: 1/s, sessions: 1 }", "32:18", "write bandwidth or operations");
    for (condition, at, message) in [
        ("listeners: publik", "32:38", r#"there is no listener "publik" (did you mean "public"?)"#),
        ("backends: server2", "32:37", r#"there is no backend "server2" (did you mean "server"?)"#),
        ("groups: stuff", "32:35", r#"there is no user with the group "stuff""#),
        ("protocols: ftps", "32:38", "ftps"),
        ("sources: 10.0.0.0/33", "32:36", "10.0.0.0/33"),
        ("paths: [/a]", "32:27", "limits apply to whole sessions; rules have paths"),
    ] {
        one(&format!("- {{ name: a, match: {{ {condition} }}, sessions: 1 }}"), at, message);
    }
    one("- { sessions: 1 }", "32:7: policy.limits[0].name", "is missing");
    one("- { name: \"a b\", sessions: 1 }", "32:15", "a name may contain only letters");
    one(
        "- { name: a, sessions: 1 }\n- { name: b, sessions: 1 }\n- { name: a, sessions: 2 }",
        "34:15: policy.limits[2].name",
        "\"a\" is already the name of line 32",
    );
}

#[test]
fn what_a_session_cannot_have_of_its_own_is_an_error() {
    for value in ["sessions: 2", "bytes_per_day: 1GiB", "files_per_day: 1"] {
        let key = value.split(':').next().unwrap();
        let message = format!("`{key}` cannot be limited per session");
        one(&format!("- {{ name: a, per: session, {value} }}"), "32:23", &message);
    }
}

#[test]
fn values_without_effect_are_warned_of() {
    let slower = "- { name: a, bandwidth: 1MiB/s, upload_bandwidth: 10Mbit/s }";
    warning(slower, "32:55", "has no effect: `bandwidth` of this limit");
    warning("- { name: a, sessions: 10 }", "32:28", "`limits: { sessions: 10 }` refuses more");
}

#[test]
fn the_state_folder_must_exist_and_have_a_use() {
    let quota = with("- { name: a, files_per_day: 1 }");
    let folder = folder();
    fs::create_dir(folder.path().join("state")).unwrap();
    let config = load_beside(folder.path(), &format!("{quota}state_dir: state\n")).unwrap();
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    assert_eq!(config.state_dir, Some(folder.path().join("state")));
    let output = report(&format!("{quota}state_dir: /nonexistent/state\n"));
    assert!(output.contains("33:12: state_dir: the folder /nonexistent/state does not exist"));
    assert!(output.contains("StateDirectory="), "{output}");
    let output = report(&format!("{quota}state_dir: tls.crt\n"));
    assert!(output.contains("33:12: state_dir: tls.crt is not a folder"), "{output}");
    let output = compiled(&format!("{}state_dir: files\n", base())).warnings.to_string();
    assert!(output.contains("state_dir: has no effect: no limit"), "{output}");
}
