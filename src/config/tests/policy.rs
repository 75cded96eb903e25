//! `policy`: wrong values and their messages, warnings of rules that decide nothing, and valid rules.

use super::mistakes::one;
use super::*;
use crate::policy::Names;

/// The base with these rules; the first is in line 32.
fn with_rules(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("    - {{ {rule} }}\n")).collect();
    format!("{}policy:\n  rules:\n{rules}", base())
}

/// Expects one problem of the only rule, at this column of it.
#[track_caller]
fn wrong_rule(rule: &str, column: usize, message: &str) {
    let text = with_rules(&[rule]);
    let output = report(&text);
    assert!(output.ends_with("\n1 problem"), "{output}");
    assert!(output.starts_with(&format!("lockgate.yaml:32:{column}: policy")), "{column} {output}");
    assert!(output.contains(message), "{message}\n{output}");
}

/// Expects one problem of a condition.
#[track_caller]
fn wrong_condition(condition: &str, key: &str, message: &str) {
    let text = with_rules(&[&format!("name: a, allow: all, match: {{ {condition} }}")]);
    let output = report(&text);
    assert!(output.ends_with("\n1 problem"), "{output}");
    let at = output.split(": ").nth(1).unwrap();
    assert!(at.starts_with(&format!("policy.rules[0].match.{key}")), "{key} {output}");
    assert!(output.contains("lockgate.yaml:32:"), "{output}");
    assert!(output.contains(message), "{message}\n{output}");
}

/// Expects these warnings: the line and the message.
#[track_caller]
fn expect_warnings(rules: &[&str], expected: &[(usize, &str)]) {
    let warnings = compiled(&with_rules(rules)).warnings;
    let found: Vec<_> =
        warnings.problems().iter().map(|it| (it.line, it.message.clone())).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, message), (at, part)) in found.iter().zip(expected) {
        assert!(line == at && message.contains(part), "{at} {part}\n{found:#?}");
    }
}

const ALL: &str = "name: all, allow: all";

#[test]
fn rules_are_accepted() {
    let rules = [
        "name: drop, match: { groups: staff, paths: [\"/in/**\", \"/*/x?.csv\"], encrypted: true }, \
         allow: [create, list]",
        "name: office, match: { times: { days: [mon-fri, sun], hours: \"22:00-06:00\", zone: \
         Europe/Berlin } }, deny: [create, overwrite], message: \"Open in the daytime.\"",
        "name: hidden, match: { extensions: [exe, dll], sources: [10.0.0.0/8, \"2001:db8::1\"] }, \
         hide: [list, read, rename, link]",
        "name: no-site, deny: [SITE, STOU]",
        "name: trial, match: { users: [\"pay-*\", alice], listeners: public, backends: [server, \
         folder], protocols: ftp }, deny: delete, dry_run: true",
        ALL,
    ];
    let text = format!(
        "{}  uploads:\n    - {{ name: tables, allowed_names: [\"*.csv\"], denied_names: \".*\", \
         max_size: 1GiB, write_once: true }}\n",
        with_rules(&rules)
    );
    let compiled = compiled(&text);
    assert!(compiled.warnings.is_empty(), "{}", compiled.warnings);
    let policy = compiled.policy.unwrap();
    assert_eq!(policy.rules().len(), 6);
    assert!(!policy.is_dry_run() && policy.has_paths());
    let upload = &policy.uploads()[0];
    assert_eq!((upload.max_size, upload.write_once), (Some(1 << 30), true));
}

#[test]
fn a_policy_is_optional_and_its_dry_run_too() {
    assert!(compiled(&base()).policy.is_none());
    let text = with_rules(&[ALL]).replace("policy:\n", "policy:\n  dry_run: true\n");
    assert!(compiled(&text).policy.unwrap().is_dry_run());
}

#[test]
fn wrong_policies_are_errors() {
    let at_end = |more: &str| format!("  sessions: 10\n{more}");
    let policy = |text: &str, position: &str, message: &str| {
        one("  sessions: 10\n", &at_end(text), position, message);
    };
    policy("policy: { rules: [] }\n", "30:", "is empty, so every operation would be denied");
    policy("policy: {}\n", "30:1: policy", "has no keys");
    policy("policy: { dry_run: true }\n", "30:1: policy.rules", "is missing");
    policy("policy:\n  rule: []\n  rules: [{ name: a, allow: all }]\n", "31:3", "with a list");
    policy(
        "policy:\n  default: deny\n  rules: [{ name: a, allow: all }]\n",
        "31:3: policy.default",
        "the last rule decides the rest",
    );
    policy(
        "policy:\n  rules: [{ name: a, allow: all }]\n  uploads: [{ name: a }]\n",
        "32:13: policy.uploads[0]",
        "has no effect: write allowed_names, denied_names, max_size or write_once",
    );
    policy(
        "policy:\n  rules: [{ name: a, allow: all }]\n  uploads: [{ name: a, max_size: 0 }]\n",
        "32:34: policy.uploads[0].max_size",
        "must be more than 0; a rule with `deny` refuses every upload",
    );
    policy(
        "policy:\n  rules: [{ name: a, allow: all }]\n  uploads: [{ name: a, max_file_size: 1 }]\n",
        "32:24: policy.uploads[0].max_file_size",
        "write max_size",
    );
    for (names, message) in [
        ("allowed_names: \"in/*.csv\"", "compared with the file's name, without folders"),
        ("denied_names: \"[a\"", "is not a valid pattern"),
        ("denied_names: \"\"", "is empty"),
    ] {
        let uploads = format!("  uploads: [{{ name: a, {names} }}]\n");
        let text = format!("policy:\n  rules: [{{ name: a, allow: all }}]\n{uploads}");
        policy(&text, "32:", message);
    }
}

#[test]
fn wrong_rules_are_errors() {
    wrong_rule("allow: all", 7, "policy.rules[0].name: is missing");
    wrong_rule("name: a", 7, "decides nothing: write allow, deny or hide");
    wrong_rule("name: a, allow: list, deny: read", 29, "one of allow, deny and hide");
    wrong_rule("name: a, deny: list, hide: read", 28, "one of allow, deny and hide");
    wrong_rule("name: a, allow: list, message: no", 29, "has a meaning only with `deny`");
    wrong_rule("name: a, hide: list, message: no", 28, "has a meaning only with `deny`");
    wrong_rule("name: a, allow: []", 16, "is an empty list");
    wrong_rule("name: a, allow: write", 23, "did you mean \"create, overwrite, append\"");
    wrong_rule("name: a, allow: download", 23, "did you mean \"read\"");
    wrong_rule("name: a, allow: raed", 23, "did you mean \"read\"");
    wrong_rule("name: a, allow: List", 23, "did you mean \"list\"");
    wrong_rule("name: a, deny: site", 22, "did you mean \"SITE\"");
    wrong_rule("name: a, deny: SITE CHMD", 22, "did you mean \"SITE CHMOD\"");
    wrong_rule("name: a, deny: colour", 22, "operations are: list, read, create");
    wrong_rule(
        "name: a, deny: [SITE, delete]",
        23,
        "write a rule for commands and one for operations",
    );
    wrong_rule("name: a, hide: STOU", 22, "is an FTP command, which cannot be hidden; write deny");
    wrong_rule("name: a, deny: SITE, match: { paths: \"/a\" }", 37, "decided without their path");
    wrong_rule("name: a, deny: SITE, match: { extensions: csv }", 37, "decided without their path");
    wrong_rule("name: a, allow: all, paths: \"/a\"", 28, "conditions belong under `match`");
    wrong_rule("name: a, operations: all, allow: all", 16, "write allow, deny or hide");
    wrong_rule("name: a, allow: all, dry_run: maybe", 37, "is neither true nor false");
    let text = with_rules(&["name: a, allow: list", "name: b, allow: read", "name: a, allow: all"]);
    let output = report(&text);
    assert!(output.contains("lockgate.yaml:34:15: policy.rules[2].name"), "{output}");
    assert!(output.contains("\"a\" is already the name of line 32"), "{output}");
}

#[test]
fn wrong_conditions_are_errors() {
    for (condition, key, message) in [
        (
            "paths: \"in/**\"",
            "paths",
            "can never match: paths start with a slash (did you mean \"/**/in/**\"?)",
        ),
        ("paths: \"**/x\"", "paths", "did you mean \"/**/x\"?"),
        ("paths: \"/in/\"", "paths", "do not end with a slash (did you mean \"/in/**\"?)"),
        ("paths: \"/in//x\"", "paths", "can never match: paths are absolute"),
        ("paths: \"/in/../x\"", "paths", "without \"/../\""),
        ("paths: \"/in/[a\"", "paths", "is not a valid pattern"),
        ("paths: \"/in/{a\"", "paths", "is not a valid pattern"),
        ("paths: \"\"", "paths", "is empty"),
        ("paths: [\"/a\", \"b\"]", "paths[1]", "can never match"),
        ("sources: 10.0.0.0/33", "sources", "is not a network"),
        ("sources: example.com", "sources", "is not a network"),
        ("sources: 10.0.0.1/8", "sources", "did you mean \"10.0.0.0/8\"?"),
        ("extensions: \".csv\"", "extensions", "without the dot (did you mean \"csv\"?)"),
        ("extensions: \"*.csv\"", "extensions", "did you mean \"csv\"?"),
        ("extensions: tar.gz", "extensions", "is not an extension such as csv"),
        ("times: { days: monday, zone: UTC }", "times.days", "did you mean \"mon\"?"),
        ("times: { days: mon-fry, zone: UTC }", "times.days", "or a range such as mon-fri"),
        ("times: { hours: 8-18, zone: UTC }", "times.hours", "such as \"08:00-18:00\""),
        ("times: { hours: \"08:00-25:00\", zone: UTC }", "times.hours", "such as \"08:00-18:00\""),
        ("times: { hours: \"08:00-08:00\", zone: UTC }", "times.hours", "it ends when it starts"),
        ("times: { hours: \"00:00-24:00\", zone: UTC }", "times.hours", "is the whole day"),
        (
            "times: { hours: \"08:00-18:00\", zone: Berlin }",
            "times.zone",
            "such as Europe/Berlin or UTC",
        ),
        (
            "times: { hours: \"08:00-18:00\", zone: Europe/Berln }",
            "times.zone",
            "did you mean \"Europe/Berlin\"?",
        ),
        ("times: { hours: \"08:00-18:00\" }", "times.zone", "is missing"),
        ("times: { zone: UTC }", "times", "has no effect: write days, hours or both"),
        ("groups: stuff", "groups", "no user with the group \"stuff\" (did you mean \"staff\"?)"),
        ("listeners: publik", "listeners", "no listener \"publik\" (did you mean \"public\"?)"),
        ("backends: sever", "backends", "no backend \"sever\" (did you mean \"server\"?)"),
        ("protocols: ftps", "protocols", "is not one of ftp, sftp"),
        ("encrypted: tls", "encrypted", "is neither true nor false"),
        ("users: \"[\"", "users", "pattern"),
        ("path: \"/a\"", "path", "did you mean \"paths\"?"),
    ] {
        wrong_condition(condition, key, message);
    }
}

#[test]
fn unreachable_rules_are_warnings() {
    expect_warnings(
        &[ALL, "name: late, deny: delete"],
        &[(33, "is never reached: \"all\" (line 32)")],
    );
    expect_warnings(
        &[
            "name: a, match: { paths: \"/in/**\" }, deny: delete",
            "name: b, match: { paths: \"/in/x/*\" }, allow: [delete, mkdir]",
        ],
        &[(33, "never decides delete: \"a\" (line 32) does before")],
    );
    expect_warnings(
        &[
            "name: a, match: { sources: [10.0.0.0/8] }, allow: read",
            "name: b, match: { sources: [10.1.0.0/16] }, allow: list",
            "name: c, match: { sources: [10.1.2.3] }, deny: [read, list]",
        ],
        &[(34, "is never reached: \"a\" (line 32), \"b\" (line 33) decides all")],
    );
    expect_warnings(
        &["name: a, deny: SITE", "name: b, allow: SITE CHMOD", ALL],
        &[(33, "is never reached")],
    );
    // None of these covers the other.
    expect_warnings(
        &[
            "name: a, match: { users: \"pay-*\" }, deny: delete",
            "name: b, match: { users: [\"pay-1\", alice] }, allow: delete",
            "name: c, match: { sources: 10.0.0.0/8 }, allow: delete",
            "name: d, match: { encrypted: true }, allow: delete",
            "name: e, match: { times: { days: mon, zone: UTC } }, allow: delete",
            "name: f, match: { groups: staff }, allow: delete",
            "name: g, match: { paths: \"/in/*\" }, allow: delete",
            "name: h, match: { paths: \"/in/**\" }, deny: delete",
            "name: trial, deny: all, dry_run: true",
            "name: last, allow: all",
        ],
        &[],
    );
}

#[test]
fn rules_that_never_match_are_warnings() {
    expect_warnings(
        &["name: a, match: { protocols: sftp }, deny: delete", ALL],
        &[(32, "never matches: none of the listeners speaks it")],
    );
    let text =
        with_rules(&["name: a, match: { protocols: sftp, encrypted: false }, deny: all", ALL]);
    let sftp = "listeners:\n  ssh: { protocol: sftp, address: \"0.0.0.0:22\", host_keys: ssh_host_ed25519_key }\n";
    let warnings = compiled(&text.replace("listeners:\n", sftp)).warnings.to_string();
    assert!(warnings.contains("33:"), "{warnings}");
    assert!(
        warnings.contains("match.encrypted: never matches: SFTP is always encrypted"),
        "{warnings}"
    );
}

#[test]
fn ways_around_a_rule_are_warnings() {
    expect_warnings(
        &["name: a, match: { paths: \"/x/**\" }, deny: read", ALL],
        &[(32, "does not name rename and link")],
    );
    expect_warnings(
        &["name: a, match: { paths: \"/x/**\" }, hide: [read, link]", ALL],
        &[(32, "does not name rename: ")],
    );
    expect_warnings(
        &["name: a, match: { paths: \"/x/**\" }, deny: [read, rename, link]", ALL],
        &[],
    );
    expect_warnings(&["name: a, match: { users: alice }, deny: read", ALL], &[]);
}

#[test]
fn backends_read_names_as_they_are_told() {
    let text = base().replace("    login: pass-through\n", "    names: windows\n");
    let compiled = compiled(&text);
    let Some((_, super::super::BackendSettings::Ftp(settings))) =
        compiled.backends.iter().find(|(name, _)| name == "server")
    else {
        panic!("no FTP backend")
    };
    assert_eq!(settings.names, Names::Windows);
    one(
        "    login: pass-through\n",
        "    names: dos\n",
        "14:12",
        "\"dos\" is not one of exact, windows",
    );
}
