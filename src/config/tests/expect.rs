//! What is compiled from `expect`, and its mistakes.

use jiff::civil::Weekday;

use super::*;

/// The base with these entries, of which the first has line 31.
fn with(expect: &str) -> String {
    let entries = expect.replace('\n', "\n  ");
    format!("{}state_dir: .\nexpect:\n  {entries}\n", base())
}

#[track_caller]
fn one(expect: &str, at: &str, message: &str) {
    let output = report(&with(expect));
    assert!(output.contains(&format!("lockgate.yaml:{at}")), "{at}\n{output}");
    assert!(output.contains(message), "{message}\n{output}");
    assert!(output.ends_with("\n1 problem"), "{output}");
}

#[test]
fn every_value_is_read() {
    let config = compiled(&with(
        "- name: bank\n  match: { groups: [staff], listeners: public, backends: folder, protocols: ftp, \
         sources: 192.0.2.0/24, users: \"a*\" }\n  path: [\"/in/*.csv\", /x]\n  at_least: 3\n  by: \"06:00\"\n  \
         from: \"22:00\"\n  days: [mon-wed, sat]\n  zone: Europe/Berlin\n- { name: rest, path: \"/**\", by: \"23:00\" }",
    ));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let [bank, rest] = &config.expectations[..] else { panic!("two entries") };
    assert_eq!((bank.name.as_str(), bank.at_least), ("bank", 3));
    assert!(bank.matches.users.is_some() && bank.matches.sources.is_some());
    assert_eq!((bank.schedule.from, bank.schedule.by), (22 * 60, 6 * 60));
    let days = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Saturday];
    assert_eq!(bank.schedule.days, days);
    assert_eq!(bank.schedule.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(
        bank.counts,
        "path [\"/in/*.csv\", \"/x\"] users [\"a*\"] groups [\"staff\"] listeners [\"public\"] backends \
         [\"folder\"] protocols [\"ftp\"] sources [\"192.0.2.0/24\"]"
    );
    assert_eq!((rest.at_least, rest.schedule.from, rest.schedule.by), (1, 0, 23 * 60));
    assert_eq!(rest.schedule.days.len(), 7);
    assert_eq!(rest.schedule.zone, jiff::tz::TimeZone::UTC);
    assert_eq!(rest.counts, "path [\"/**\"]");
}

#[test]
fn mistakes_are_told_with_what_was_meant() {
    one("- { name: a, path: /a, by: \"6:00\" }", "32:30: expect[0].by", r#"did you mean "06:00"?"#);
    one("- { name: a, path: /a, by: 6am }", "32:30", "is not a time of day such as");
    one("- { name: a, path: a.csv, by: \"06:00\" }", "32:22", r#"did you mean "/**/a.csv"?"#);
    one("- { name: a, path: \"/[\", by: \"06:00\" }", "32:22", "is not a valid pattern");
    one("- { name: a, path: /a, by: \"06:00\", at_least: 0 }", "32:49", "must be at least 1");
    one("- { name: a, path: /a, by: \"06:00\", at_least: 10001 }", "32:49", "10000");
    one(
        "- { name: a, path: /a, by: \"06:00\", zone: Europe/Berln }",
        "32:45",
        r#"did you mean "Europe/Berlin"?"#,
    );
    one("- { name: a, path: /a, by: \"06:00\", days: monday }", "32:45", r#"did you mean "mon"?"#);
    one(
        "- { name: a, path: /a, by: \"06:00\", from: \"24:00\" }",
        "32:45",
        "is the end of the day",
    );
    one("- { name: a, path: /a }", "32:5: expect[0].by", "is missing");
    one("- { name: a, by: \"06:00\" }", "32:5: expect[0].path", "is missing");
    one("- { name: a b, path: /a, by: \"06:00\" }", "32:13", "a name may contain only");
    one(
        "- { name: a, path: /a, by: \"06:00\" }\n- { name: a, path: /b, by: \"06:00\" }",
        "33:13",
        "is already the name of line 32",
    );
    one("- { name: a, route: x, path: /a, by: \"06:00\" }", "32:16", "routes have no names");
    one("- { name: a, paths: /a, path: /a, by: \"06:00\" }", "32:16", "write path");
    one("[]", "31:1: expect", "is empty");
    let unknown = "- { name: a, match: { backends: foldr }, path: /a, by: \"06:00\" }";
    one(unknown, "32:35", r#"there is no backend "foldr" (did you mean "folder"?)"#);
    let paths = "- { name: a, match: { paths: /a }, path: /a, by: \"06:00\" }";
    one(paths, "32:25", "write path, beside match");
}

#[test]
fn windows_leave_time_in_which_files_are_overdue() {
    let leaves_none = "leaves no time in which missing files could be seen to be overdue";
    for wrong in [
        "- { name: a, path: /a, by: \"24:00\" }",
        "- { name: a, path: /a, by: \"00:00\" }",
        "- { name: a, path: /a, by: \"23:01\" }",
        "- { name: a, path: /a, by: \"06:00\", from: \"06:00\" }",
        "- { name: a, path: /a, by: \"06:00\", from: \"06:59\", days: [mon, sun] }",
    ] {
        one(wrong, "32:30: expect[0].by", leaves_none);
    }
    for right in [
        "- { name: a, path: /a, by: \"23:00\" }",
        "- { name: a, path: /a, by: \"06:00\", from: \"07:00\" }",
        "- { name: a, path: /a, by: \"24:00\", from: \"01:00\" }",
        "- { name: a, path: /a, by: \"24:00\", days: [mon, wed, fri] }",
    ] {
        let config = compiled(&with(right));
        assert!(config.warnings.is_empty(), "{right}\n{}", config.warnings);
    }
    let late = "- { name: a, path: /a, by: \"00:30\" }";
    let output = compiled(&with(late)).warnings.to_string();
    assert!(output.contains("32:30: warning: expect[0].by: only files that arrive from 00:00 on"));
}

#[test]
fn what_can_never_be_is_told() {
    let named =
        "- { name: a, match: { users: [alice] }, path: [/a, /b], by: \"06:00\", at_least: 3 }";
    one(named, "32:82: expect[0].at_least", "2 of such files can exist");
    let patterns = named.replace("[/a, /b]", "\"/in/*\"");
    assert!(compiled(&with(&patterns)).warnings.is_empty());
    assert!(compiled(&with(&named.replace("[alice]", "[\"a*\"]"))).warnings.is_empty());

    let entry = "- { name: a, path: \"/in/*\", by: \"06:00\" }";
    let policy = |rules: &str| {
        let text = with(entry) + "policy:\n  rules:\n    " + &rules.replace('\n', "\n    ") + "\n";
        compiled(&text).warnings.to_string()
    };
    let reads = "- { name: read, allow: [list, read, mkdir] }";
    for rules in [
        reads.to_owned(),
        format!("{reads}\n- {{ name: b, match: {{ paths: [\"/out/**\"] }}, allow: all }}"),
        format!("{reads}\n- {{ name: b, deny: [create] }}"),
        format!("{reads}\n- {{ name: b, allow: [create], dry_run: true }}"),
    ] {
        let warnings = policy(&rules);
        assert!(
            warnings.contains("32:5: warning: expect[0]: never counts a file: no rule"),
            "{warnings}"
        );
    }
    for rules in [
        "- { name: all, allow: all }".to_owned(),
        format!("{reads}\n- {{ name: b, match: {{ paths: [\"/**\"] }}, allow: [rename] }}"),
        format!("{reads}\n- {{ name: b, match: {{ paths: [\"/in/x/**\"] }}, allow: [create] }}"),
    ] {
        let warnings = policy(&rules);
        assert!(!warnings.contains("never counts a file"), "{warnings}");
    }
    let dry = with(entry) + &format!("policy:\n  dry_run: true\n  rules:\n    {reads}\n");
    assert!(compiled(&dry).warnings.is_empty());
}

#[test]
fn opaque_servers_and_a_missing_state_dir_are_warned_of() {
    let entry = "- { name: a, match: { backends: server }, path: /a, by: \"06:00\" }";
    let opaque = |text: String| {
        text.replacen(
            "    login: pass-through\n",
            "    login: pass-through\n    dialect: opaque\n",
            1,
        )
    };
    let output = compiled(&opaque(with(entry))).warnings.to_string();
    assert!(
        output.contains("33:5: warning: expect[0]: never counts a file: the gateway does not read"),
        "{output}"
    );
    let both = compiled(&opaque(with(&entry.replace("server", "[server, folder]"))));
    assert!(both.warnings.is_empty(), "{}", both.warnings);
    let without = with(entry).replace("state_dir: .\n", "");
    let output = compiled(&without).warnings.to_string();
    assert!(output.contains("30:1: warning: expect: a restart forgets which files"), "{output}");
    // It is of use without quotas.
    assert!(compiled(&with(entry)).warnings.is_empty());
    let output =
        compiled(&with(&entry.replace("backends: server", "protocols: sftp"))).warnings.to_string();
    assert!(
        output.contains("32:25: warning: expect[0].match.protocols: never matches"),
        "{output}"
    );
}
