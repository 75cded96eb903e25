//! The documents say what is true: the reference of the configuration is the one that the program prints, the
//! runbook has every message, and names of keys and metrics exist.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

mod messages;

use messages::Messages;

const RENEW: &str = "LOCKGATE_RENEW_DOCUMENTS=1 cargo test --test documents";

#[test]
fn the_configuration_reference_is_the_one_of_the_schema() {
    let path = root().join("docs/configuration-reference.md");
    let expected = lockgate::config::reference();
    if std::env::var_os("LOCKGATE_RENEW_DOCUMENTS").is_some() {
        fs::write(&path, &expected).expect("writing the reference");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs =
        written.lines().zip(expected.lines()).find(|(written, expected)| written != expected);
    assert!(
        written == expected,
        "docs/configuration-reference.md is not what `lockgate schema --markdown` prints; first difference: \
         {differs:#?}. To renew it: {RENEW}"
    );
}

/// Each section of the runbook quotes the messages that it explains (`> WARN …`), with `…` for what differs.
#[test]
fn the_runbook_quotes_every_message_and_no_other() {
    let mut expected = Messages::new();
    expected.extend(messages::log_lines());
    expected.extend(messages::replies());
    expected.extend(messages::start_errors(&[
        "StartError",
        "BindError",
        "ListenError",
        "OpenError",
    ]));
    let runbook = read("docs/runbook.md");
    let quoted: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("> ")).map(str::to_owned).collect();
    let mut wrong = String::new();
    for (message, place) in expected.iter().filter(|(message, _)| !quoted.contains(*message)) {
        let _ = writeln!(wrong, "missing ({place}):\n> {message}");
    }
    for message in quoted.iter().filter(|message| !expected.contains_key(*message)) {
        let _ = writeln!(wrong, "src/ has no such message:\n> {message}");
    }
    assert!(
        wrong.is_empty(),
        "docs/runbook.md: each message needs a section with this quotation\n{wrong}"
    );
}

/// A section with quotations has a cause and a cure, and so has each word of a table for logs and metrics.
#[test]
fn the_runbook_has_causes_and_cures() {
    let runbook = read("docs/runbook.md");
    for section in runbook.split("\n### ").skip(1) {
        let section = section.split("\n## ").next().expect("the first part");
        let heading = section.lines().next().expect("a heading");
        let has_table = section.contains("| cause | cure |");
        for part in ["**Cause:** ", "**Cure:** "] {
            assert!(has_table || section.contains(part), "\"{heading}\" has no {part}");
        }
    }
    for file in ["src/op/outage.rs", "src/session/client_refusal.rs"] {
        for word in messages::words(file).keys() {
            assert!(
                runbook.contains(&format!("\n| `{word}` | ")),
                "docs/runbook.md: no row for `{word}` of {file}"
            );
        }
    }
    for key in lockgate::config::json_schema()["properties"].as_object().expect("keys").keys() {
        assert!(
            runbook.contains(&format!("\n| `{key}` | ")),
            "docs/runbook.md: no row for the errors of `{key}`"
        );
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
