//! The report: tables for people, and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::finding::{Finding, Findings, Level};
use super::firewall::{Opening, table};
use crate::op::escape::printable;

/// A line of text is not longer than this, where it has blanks.
const WIDTH: usize = 100;
/// Before the text of a finding.
const INDENT: usize = 11;

/// All findings of a run.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    /// What a firewall must let through.
    pub openings: Vec<Opening>,
}

impl Report {
    /// What is about one topic stays together.
    pub(super) fn add(&mut self, findings: Findings) {
        for finding in findings.into_list() {
            let last = self.findings.iter().rposition(|known| known.topic == finding.topic);
            let end = last.map_or(self.findings.len(), |last| last + 1);
            self.findings.insert(end, finding);
        }
    }

    /// In the order of the report.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether something does not work.
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Problem)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|it| {
            json!({
                "level": it.level.as_str(),
                "topic": it.topic,
                "message": it.message,
                "remedy": it.remedy,
            })
        });
        json!({
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
            "findings": findings.collect::<Vec<_>>(),
            "firewall": self.openings.iter().map(Opening::json).collect::<Vec<_>>(),
        })
    }

    /// For people. `with_firewall`: with the table for a firewall's team.
    pub fn text(&self, with_firewall: bool) -> String {
        let mut text = String::new();
        let mut topic = "";
        for finding in &self.findings {
            if finding.topic != topic {
                topic = &finding.topic;
                let _ = writeln!(text, "{}", shown(topic));
            }
            let _ = write!(text, "  {:<9}", finding.level.as_str());
            wrap(&shown(&finding.message), &mut text);
            if let Some(remedy) = &finding.remedy {
                let _ = write!(text, "{:INDENT$}", "");
                wrap(&format!("-> {}", shown(remedy)), &mut text);
            }
        }
        if with_firewall && !self.openings.is_empty() {
            let _ = write!(text, "\nfirewall\n{}", table(&self.openings));
        }
        let counts = [Level::Problem, Level::Warning, Level::Skipped, Level::Ok].map(|level| {
            let count = self.count(level);
            match (level, count) {
                (Level::Problem | Level::Warning, 1) => format!("1 {}", level.as_str()),
                (Level::Problem | Level::Warning, _) => format!("{count} {}s", level.as_str()),
                _ => format!("{count} {}", level.as_str()),
            }
        });
        let _ = writeln!(text, "\n{}", counts.join(", "));
        text
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// What peers and files contain cannot change the report.
fn shown(text: &str) -> String {
    printable(text.as_bytes()).to_string()
}

/// Breaks a line at blanks, and ends it.
fn wrap(line: &str, text: &mut String) {
    let mut width = INDENT;
    for (index, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && width + 1 + length > WIDTH {
            let _ = write!(text, "\n{:INDENT$}", "");
            width = INDENT;
        } else if index > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_topics_levels_and_remedies_and_printable_characters_only() {
        let mut report = Report::default();
        let mut findings = Findings::new("backend \"a\"");
        findings.ok("fine");
        findings.problem("bad \u{1b}[2J", "mend it");
        report.add(findings);
        let mut findings = Findings::new("clock");
        findings.warning("word ".repeat(40).trim_end().to_owned());
        report.add(findings);
        let mut findings = Findings::new("backend \"a\"");
        findings.warning("more");
        report.add(findings);
        let text = report.text(false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "backend \"a\"",
                "  ok       fine",
                "  problem  bad \\u{1b}[2J",
                "           -> mend it",
                "  warning  more",
                "clock",
            ]
        );
        assert!(
            lines[6].starts_with("  warning  word word") && lines[7].starts_with("           w")
        );
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(lines.last(), Some(&"1 problem, 2 warnings, 0 skipped, 1 ok"));
        assert!(report.has_problems());
        let json = report.json();
        assert_eq!((&json["problems"], &json["warnings"]), (&json!(1), &json!(2)));
        assert_eq!(json["findings"][1]["remedy"], "mend it");
    }
}
