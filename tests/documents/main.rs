//! The documents say what is true: the reference of the configuration is the one that the program prints, the
//! runbook has every message, and names of keys and metrics exist.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod messages;
mod monitoring;
mod pages;

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

/// Where settings can be compared: with a default of the reference written out, they are what they are
/// without it.
#[test]
fn defaults_in_the_reference_are_those_of_the_program() {
    let settings = |limits: &str, guard: &str, pool: &str| {
        let yaml = format!(
            "listeners: {{ l: {{ protocol: ftp, address: \"127.0.0.1:2121\", data_ports: p }} }}\n\
             data_ports: {{ p: {{ range: 20000-20009, {pool} }} }}\n\
             backends: {{ b: {{ protocol: local, folder: / }} }}\n\
             routes: [{{ authenticate: anonymous, backend: b }}]\n\
             limits: {{ idle_timeout: 5m, {limits} }}\n\
             login_guard: {{ find_time: 10m, {guard} }}\n"
        );
        let compiled = lockgate::config::load_str(&yaml, "defaults")
            .unwrap_or_else(|report| panic!("{report}\n{yaml}"));
        format!("{:?} {:?} {:?}", compiled.limits, compiled.login_guard, compiled.pools)
    };
    let usual = settings("", "", "");
    let reference = lockgate::config::reference();
    let mut compared = 0;
    for line in reference.lines() {
        let Some((path, rest)) = line.strip_prefix("- **`").and_then(|rest| rest.split_once('`'))
        else {
            continue;
        };
        let default = rest.split_once("; default: `").and_then(|(_, rest)| rest.split('`').next());
        let (Some(default), Some((section, key))) = (default, path.rsplit_once('.')) else {
            continue;
        };
        // These are in the configuration already.
        if matches!(path, "limits.idle_timeout" | "login_guard.find_time") {
            assert_eq!(default, if key == "idle_timeout" { "5m" } else { "10m" });
            continue;
        }
        let entry = format!("{key}: {default}");
        let written_out = match section {
            "limits" => settings(&entry, "", ""),
            "login_guard" => settings("", &entry, ""),
            "data_ports.NAME" => settings("", "", &entry),
            _ => continue,
        };
        assert_eq!(written_out, usual, "{path}: {default}");
        compared += 1;
    }
    assert!(compared > 10, "{compared} only");
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
        "TakeOverError",
        "AskError",
        "NotTaken",
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

/// Messages in tables are quoted in part: what has a blank stands in the source as it is.
#[test]
fn messages_in_tables_of_the_runbook_exist() {
    let mut source = String::new();
    for (_, text) in messages::source_texts("src") {
        // A literal may go on in the next line.
        let mut parts = text.split("\\\n");
        source.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| source.push_str(part.trim_start()));
    }
    let runbook = read("docs/runbook.md");
    let mut compared = 0;
    for row in runbook.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap_or_default();
        let messages = cell.split('`').skip(1).step_by(2).flat_map(|code| code.split(['…', '"']));
        for message in messages.map(str::trim).filter(|message| message.contains(' ')) {
            assert!(source.contains(message), "docs/runbook.md: src/ has no `{message}`");
            compared += 1;
        }
    }
    assert!(compared > 15, "{compared} only");
}

#[test]
fn links_lead_somewhere() {
    let pages = pages::all();
    let mut wrong = String::new();
    for page in &pages {
        let folder = page.file.parent().expect("a folder");
        for (file, anchor) in page.links() {
            let path = if file.is_empty() { page.file.clone() } else { folder.join(&file) };
            let Ok(path) = fs::canonicalize(root().join(path)) else {
                let _ = writeln!(wrong, "{}: there is no {file}", page.file.display());
                continue;
            };
            let there = pages
                .iter()
                .find(|page| fs::canonicalize(root().join(&page.file)).is_ok_and(|it| it == path));
            if let (Some(there), false) = (there, anchor.is_empty())
                && !there.anchors().contains(&anchor)
            {
                let _ = writeln!(wrong, "{}: {file} has no heading #{anchor}", page.file.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// In the table, which tests/real/metrics compares with a running gateway; of histograms also their series.
#[test]
fn metrics_in_pages_exist() {
    let pages = pages::all();
    let table = pages.iter().find(|page| page.file.ends_with("docs/metrics.md"));
    let rows = table.expect("docs/metrics.md").text.lines();
    let known: BTreeSet<String> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` | "))
        .flat_map(|(name, rest)| {
            let is_histogram = rest.starts_with("histogram");
            let suffixes: &[&str] =
                if is_histogram { &["", "_bucket", "_sum", "_count"] } else { &[""] };
            suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
        })
        .collect();
    let rules = read("deploy/prometheus/rules.yaml");
    let is_recorded = |metric: &str| rules.contains(&format!("record: instance:{metric}:"));
    let mut wrong = String::new();
    for page in &pages {
        for metric in pages::words(&page.text, "lockgate_") {
            if !known.contains(metric) && !is_recorded(metric) {
                let _ = writeln!(wrong, "{}: there is no metric {metric}", page.file.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Also in messages of the runbook, which quotes those of the program.
#[test]
fn settings_in_pages_exist() {
    let reference = lockgate::config::reference();
    let paths: BTreeSet<String> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("- **`")?.split('`').next())
        .map(|path| path.replace(".NAME", "").replace("[]", ""))
        .collect();
    let first: BTreeSet<&str> = paths.iter().flat_map(|path| path.split('.')).collect();
    let exists =
        |word: &str| paths.iter().any(|path| format!(".{path}.").contains(&format!(".{word}.")));
    let mut wrong = String::new();
    for page in pages::all() {
        // Keys of the chart; what earlier versions had.
        if page.file.ends_with("kubernetes.md") || page.file.ends_with("CHANGELOG.md") {
            continue;
        }
        let code = page.code();
        let whole = code
            .iter()
            .map(String::as_str)
            .filter(|code| pages::words(code, "").next().is_some_and(|word| word == *code));
        let quoted = page.text.lines().filter_map(|line| line.strip_prefix("> "));
        let in_quoted = quoted.flat_map(|line| pages::words(line, ""));
        for word in whole.chain(in_quoted).filter(|word| word.contains('.')) {
            let (start, end) = (word.split('.').next(), word.rsplit('.').next());
            let is_file = matches!(
                end,
                Some("yaml" | "json" | "sock" | "crt" | "key" | "keys" | "rs" | "py" | "md")
            );
            if start.is_some_and(|start| first.contains(start))
                && !is_file
                && !exists(word)
                // A field of audit records.
                && word != "backend.certificate"
            {
                let _ = writeln!(wrong, "{}: there is no setting {word}", page.file.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn commands_in_pages_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_lockgate")).arg("--help").output().expect("help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, commands) = help.split_once("Commands:\n").expect("the list of commands");
    let commands: BTreeSet<_> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    assert!(commands.contains("run"), "{help}");
    let mut wrong = String::new();
    for page in pages::all() {
        let code = page.code();
        let in_blocks = page.block_lines();
        let lines = in_blocks.iter().map(|line| line.trim_start_matches("$ "));
        for line in lines.chain(code.iter().map(String::as_str)) {
            let Some(rest) = line.strip_prefix("lockgate ") else { continue };
            let word = rest
                .split(|c: char| !c.is_ascii_lowercase() && c != '-')
                .next()
                .unwrap_or_default();
            // The key id of certificates that the gateway signs begins so.
            let is_key_id = rest.starts_with("session N client");
            let is_command = !word.is_empty() && !word.starts_with('-') && !is_key_id;
            if is_command && !commands.contains(word) {
                let _ = writeln!(
                    wrong,
                    "{}: there is no command `lockgate {word}`",
                    page.file.display()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
