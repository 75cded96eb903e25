//! `policy`: wrong values and their messages, warnings of rules that decide nothing, and valid rules.

use super::mistakes::one;
use super::*;
use crate::policy::Names;

/// The base with these rules; the first is in line 32.
fn with_rules(rules: &[&str]) -> String {
    let rules: Vec<_> = rules.iter().map(|rule| format!("    - {{ {rule} }}\n")).collect();
    format!("{}policy:\n  rules:\n{}", base(), rules.concat())
}

/// What is not as expected in the report of `text`: one problem with `message`, in this line at `at`.
fn mismatch(text: &str, line: usize, at: &str, message: &str) -> Option<String> {
    let output = report(text);
    let column = text.lines().nth(line - 1).unwrap().find(at).unwrap() + 1;
    let fits = output.starts_with(&format!("lockgate.yaml:{line}:{column}: policy"))
        && output.contains(message)
        && output.ends_with("\n1 problem");
    (!fits).then(|| format!("{line}:{column} {message}\n{output}\n"))
}

/// Expects one problem for each of these rules: where, and the message.
#[track_caller]
fn wrong_rules(cases: &[(&str, &str, &str)]) {
    let failed = cases
        .iter()
        .filter_map(|(rule, at, message)| mismatch(&with_rules(&[rule]), 32, at, message));
    let failed: String = failed.collect();
    assert!(failed.is_empty(), "{failed}");
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
    let rule = "policy:\n  rules: [{ name: a, allow: all }]\n";
    let uploads = |entry: &str| format!("{rule}  uploads: [{{ {entry} }}]\n");
    let failed: String = [
        ("policy: { rules: [] }\n".into(), 30, "rules", "is empty, so every operation would be"),
        ("policy: {}\n".into(), 30, "policy", "has no keys"),
        ("policy: { dry_run: true }\n".into(), 30, "policy", "rules: is missing"),
        (format!("{rule}  rule: []\n"), 32, "rule:", "write rules, with a list"),
        (format!("{rule}  default: deny\n"), 32, "default", "the last rule decides the rest"),
        (uploads("name: a"), 32, "{", "has no effect: write allowed_names, denied_names, max_size"),
        (uploads("name: a, max_size: 0"), 32, "0 }", "must be more than 0; a rule with `deny`"),
        (
            uploads("name: a, write_once: true, max_file_size: 1"),
            32,
            "max_file",
            "unknown key: write max_size",
        ),
        (uploads("write_once: true"), 32, "{", "name: is missing"),
        (uploads("name: a, allowed_names: \"in/*\""), 32, "\"in", "without folders"),
        (uploads("name: a, denied_names: \"[a\""), 32, "\"[a", "is not a valid pattern"),
        (uploads("name: a, denied_names: \"\""), 32, "\"\"", "is empty"),
        (
            rule.to_owned()
                + "  uploads:\n    - { name: a, max_size: 1KiB }\n    - { name: a, max_size: 2KiB }\n",
            34,
            "a, max",
            "\"a\" is already the name of line 33",
        ),
    ]
    .iter()
    .filter_map(|(text, line, at, message): &(String, usize, &str, &str)| {
        mismatch(&format!("{}{text}", base()), *line, at, message)
    })
    .collect();
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn wrong_rules_are_errors() {
    wrong_rules(&[
        ("allow: all", "{", "name: is missing"),
        ("name: a", "{", "decides nothing: write allow, deny or hide"),
        ("name: default, allow: all", "default", "is the name of what no rule allows"),
        ("name: a, allow: list, deny: read", "deny", "one of allow, deny and hide"),
        ("name: a, deny: list, hide: read", "hide", "one of allow, deny and hide"),
        ("name: a, allow: list, message: no", "no }", "has a meaning only with `deny`"),
        ("name: a, hide: list, message: no", "no }", "has a meaning only with `deny`"),
        ("name: a, allow: []", "allow", "is an empty list"),
        ("name: a, allow: write", "write", "did you mean \"create, overwrite, append\""),
        ("name: a, allow: download", "download", "did you mean \"read\""),
        ("name: a, allow: raed", "raed", "did you mean \"read\""),
        ("name: a, allow: List", "List", "did you mean \"list\""),
        ("name: a, deny: site", "site", "did you mean \"SITE\""),
        ("name: a, deny: SITE CHMD", "SITE", "did you mean \"SITE CHMOD\""),
        ("name: a, deny: colour", "colour", "operations are: list, read, create"),
        (
            "name: a, deny: [SITE, delete]",
            "SITE",
            "write a rule for commands and one for operations",
        ),
        ("name: a, hide: STOU", "STOU", "is an FTP command, which cannot be hidden; write deny"),
        ("name: a, deny: SITE, match: { paths: \"/a\" }", "paths", "decided without their path"),
        ("name: a, deny: SITE, match: { extensions: csv }", "extensions", "without their path"),
        ("name: a, allow: all, paths: \"/a\"", "paths", "conditions belong under `match`"),
        ("name: a, allow: all, operations: all", "operations", "write allow, deny or hide"),
        ("name: a, allow: all, dry_run: maybe", "maybe", "true"),
    ]);
    let text = with_rules(&["name: a, allow: list", "name: b, allow: read", "name: a, allow: all"]);
    let output = report(&text);
    assert!(output.contains("lockgate.yaml:34:15: policy.rules[2].name"), "{output}");
    assert!(output.contains("\"a\" is already the name of line 32"), "{output}");
}

#[test]
fn wrong_conditions_are_errors() {
    let mut failed = String::new();
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
        let text = with_rules(&[&format!("name: a, allow: all, match: {{ {condition} }}")]);
        let output = report(&text);
        let at = output.split(": ").nth(1).unwrap_or_default();
        let fits = output.starts_with("lockgate.yaml:32:")
            && at.starts_with(&format!("policy.rules[0].match.{key}"))
            && output.contains(message)
            && output.ends_with("\n1 problem");
        if !fits {
            failed.push_str(&format!("{key} {message}\n{output}\n"));
        }
    }
    assert!(failed.is_empty(), "{failed}");
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
        &[(34, "is never reached: \"b\" (line 33), \"a\" (line 32) decides all")],
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
