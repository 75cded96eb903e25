//! The expected files, as JSON and as a table.

use std::path::Path;

use anyhow::Context;
use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{NO_GATEWAY, fetch};
use super::text::{columns, cut, list, number, text_of};
use crate::expected::{ExpectedView, LastFile};
use crate::op::escape::shortened;

/// Characters of a path; `--json` has more.
const PATH_MAX: usize = 80;
const HEAD: [&str; 5] = ["NAME", "DUE", "ARRIVED", "STATE", "LAST FILE"];

pub(super) fn json(views: &[ExpectedView]) -> Value {
    json!({ "expected": views.iter().map(entry).collect::<Vec<_>>() })
}

fn entry(view: &ExpectedView) -> Value {
    let zone = view.zone.iana_name().unwrap_or("UTC");
    let due = view.due.to_zoned_datetime(view.zone.clone()).datetime();
    let last_file = view.last.as_ref().map(|LastFile { at, path }| {
        let local = at.to_zoned_datetime(view.zone.clone()).datetime();
        json!({ "path": cut(path), "at": utc(*at), "at_local": minutes(local) })
    });
    json!({
        "name": view.name,
        "state": view.state.as_str(),
        "at_least": view.at_least,
        "arrived": view.arrived,
        "window_start": utc(view.start),
        "due": utc(view.due),
        "due_local": minutes(due),
        "zone": zone,
        "last_file": last_file,
    })
}

/// RFC 3339, in seconds.
fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn minutes(local: jiff::civil::DateTime) -> String {
    local.strftime("%Y-%m-%d %H:%M").to_string()
}

/// A table for people. `response` is the admin socket's.
pub fn expected_table(response: &Value) -> String {
    let entries = list(response, "expected");
    if entries.is_empty() {
        return "no files are expected (expect)\n".to_owned();
    }
    let row = |entry: &Value| {
        let last = match &entry["last_file"] {
            Value::Null => "-".to_owned(),
            last => {
                format!(
                    "{} {}",
                    text_of(last, "at_local"),
                    shortened(&text_of(last, "path"), PATH_MAX)
                )
            }
        };
        [
            text_of(entry, "name"),
            format!("{} {}", text_of(entry, "due_local"), text_of(entry, "zone")),
            format!("{} of {}", number(entry, "arrived"), number(entry, "at_least")),
            text_of(entry, "state"),
            last,
        ]
    };
    let head = std::iter::once(HEAD.map(str::to_owned));
    columns(&head.chain(entries.iter().map(row)).collect::<Vec<_>>())
}

/// Requests the expected files from a running gateway, for the command line.
pub async fn fetch_expected(socket: &Path) -> anyhow::Result<Value> {
    let fetch = async {
        let expected = fetch(socket, Method::GET, "/expected").await?;
        anyhow::ensure!(expected["expected"].is_array(), NO_GATEWAY);
        Ok(expected)
    };
    fetch.await.with_context(|| format!("fetching the expected files from {}", socket.display()))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::expected::State;

    fn view(name: &str, state: State, arrived: usize, last: Option<&[u8]>) -> ExpectedView {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        ExpectedView {
            name: name.into(),
            state,
            at_least: 3,
            arrived,
            start: at("2026-11-30T23:00:00Z"),
            due: at("2026-12-01T05:00:00Z"),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            last: last.map(|path| LastFile { at: at("2026-12-01T04:59:59Z"), path: path.to_vec() }),
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_entry_whatever_files_are_named() {
        let hostile = b"/in/<b>\x1b[2J\n\xe2\x80\xaex\xff.csv";
        let long = format!("/in/{}", "x".repeat(200));
        let views = [
            view("bank-statements", State::Waiting, 0, None),
            view("orders", State::Overdue, 2, Some(hostile)),
            view("prices", State::Late, 3, Some(long.as_bytes())),
            view("stock", State::Complete, 10_000, Some("/in/Bestände.csv".as_bytes())),
        ];
        insta::assert_snapshot!(expected_table(&json(&views)), @r"
        NAME             DUE                             ARRIVED     STATE     LAST FILE
        bank-statements  2026-12-01 06:00 Europe/Berlin  0 of 3      waiting   -
        orders           2026-12-01 06:00 Europe/Berlin  2 of 3      overdue   2026-12-01 05:59 /in/<b>\u{1b}[2J\n\u{202e}x\xff.csv
        prices           2026-12-01 06:00 Europe/Berlin  3 of 3      late      2026-12-01 05:59 /in/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        stock            2026-12-01 06:00 Europe/Berlin  10000 of 3  complete  2026-12-01 05:59 /in/Bestände.csv
        ");
        assert_eq!(expected_table(&json(&[])), "no files are expected (expect)\n");
    }

    #[test]
    fn a_table_of_rubbish_is_a_table() {
        for answer in [json!({}), json!({ "expected": {} }), json!({ "expected": [] })] {
            assert_eq!(expected_table(&answer), "no files are expected (expect)\n");
        }
        let answer = json!({ "expected": [{}, 1, null, { "name": "\u{1b}[2J", "last_file": 1 }] });
        let text = expected_table(&answer);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains("\\u{1b}[2J"), "{text}");
    }

    #[test]
    fn every_field_is_documented() {
        let docs = include_str!("../../docs/expected-files.md");
        let shown = entry(&view("a", State::Late, 3, Some(b"/in/a")));
        for fields in [&shown, &shown["last_file"]] {
            for name in fields.as_object().unwrap().keys() {
                assert!(
                    docs.contains(&format!("`{name}`")),
                    "docs/expected-files.md lacks `{name}`"
                );
            }
        }
        for state in State::ALL {
            assert!(docs.contains(&format!("| `{}` |", state.as_str())), "{state:?}");
        }
    }
}
