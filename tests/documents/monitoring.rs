//! deploy/prometheus: each alert has its section of the runbook, and rules and dashboard have all metrics.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{pages, read};

const RUNBOOK: &str = "https://github.com/lockgate/lockgate/blob/main/docs/runbook.md#";

/// Metrics that neither rules nor dashboard show, each with a reason.
const NOT_SHOWN: [(&str, &str); 0] = [];

#[test]
fn each_alert_has_a_section_of_the_runbook() {
    let rules = read("deploy/prometheus/rules.yaml");
    let runbook = read("docs/runbook.md");
    let (_, alerts) = runbook.split_once("\n## Alerts\n").expect("a section for alerts");
    let alerts = alerts.split("\n## ").next().expect("the first part");
    let sections: BTreeSet<_> =
        alerts.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(names, sections, "alerts of rules.yaml (left) and sections of the runbook");
}

#[test]
fn each_alert_has_a_severity_texts_and_its_link() {
    let rules = read("deploy/prometheus/rules.yaml");
    let mut wrong = String::new();
    for rule in rules.split("- alert: ").skip(1) {
        let rule = rule.split("\n  - name: ").next().expect("the first part");
        let (name, rest) = rule.split_once('\n').expect("more than a name");
        let severities = ["critical", "warning", "info"].map(|it| format!("{{ severity: {it} }}"));
        let link = format!("runbook_url: {RUNBOOK}{}\n", name.to_lowercase());
        let summary = rest.split_once("summary: ").and_then(|(_, text)| text.lines().next());
        let is_complete = name.starts_with("Lockgate")
            && severities.iter().any(|it| rest.contains(it))
            && summary.is_some_and(|text| text.ends_with('.'))
            && rest.contains("description: ")
            && format!("{rest}\n").contains(&link);
        if !is_complete {
            let _ = writeln!(wrong, "{name}: prefix, severity, summary, description, or {link}");
        }
    }
    assert!(wrong.is_empty(), "deploy/prometheus/rules.yaml: {wrong}");
}

#[test]
fn rules_and_dashboard_have_all_metrics_and_no_others() {
    let table = read("docs/metrics.md");
    let metrics: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("lockgate_"))
        .collect();
    let shown = read("deploy/prometheus/rules.yaml") + &read("deploy/prometheus/dashboard.json");
    // What rules record is no metric of the gateway.
    let recorded = |word: &str| shown.contains(&format!(":{word}:"));
    let base = |word: &str| {
        let parts = ["_bucket", "_count", "_sum"];
        let found = parts.iter().find_map(|part| word.strip_suffix(part));
        found.filter(|base| metrics.contains(base)).unwrap_or(word).to_owned()
    };
    let used: BTreeSet<String> =
        pages::words(&shown, "lockgate_").filter(|word| !recorded(word)).map(base).collect();
    let mut wrong = String::new();
    for name in used.iter().filter(|name| !metrics.contains(name.as_str())) {
        let _ = writeln!(wrong, "deploy/prometheus has {name}, docs/metrics.md has not");
    }
    for name in metrics.iter().filter(|name| !used.contains(**name)) {
        if !NOT_SHOWN.iter().any(|(hidden, _)| hidden == name) {
            let _ = writeln!(wrong, "neither rules nor dashboard of deploy/prometheus have {name}");
        }
    }
    for (name, _) in NOT_SHOWN.iter().filter(|(name, _)| used.contains(*name)) {
        let _ = writeln!(wrong, "{name} is shown, and listed as not shown");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
