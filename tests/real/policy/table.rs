//! The cases of `cases.yaml`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::step::{Step, expand};
use super::{Front, tree, yaml};

/// Stands for a weekday that is surely not today's.
const NEVER: &str = "NEVER";

pub struct Case {
    /// Also the user.
    pub name: String,
    pub groups: Vec<String>,
    /// With the case's user as a condition, and their names below the case's.
    pub rules: Vec<Value>,
    pub uploads: Vec<Value>,
    /// Whether it belongs to the gateway with `policy.dry_run`.
    pub dry_run: bool,
    /// Whether the backend has `names: windows`.
    pub windows: bool,
    /// Whether links are its subject: its route has no `root`.
    pub links: bool,
    /// TLS of an FTP client: none, control or all.
    pub tls: String,
    pub source: IpAddr,
    /// The backends that it is for; empty: all.
    with: Vec<String>,
    /// As `with`, over SFTP; empty: as over FTP.
    with_sftp: Vec<String>,
    pub ftp: Vec<Step>,
    pub sftp: Vec<Step>,
    /// What is different afterwards, by path; `None`: gone.
    changes: BTreeMap<String, Option<String>>,
    /// As `changes`, where SFTP and FTP cannot do the same.
    changes_by_front: [Option<BTreeMap<String, Option<String>>>; 2],
    /// The rule that decides, by "OPERATION PATH" or FTP command.
    decides: Vec<(String, String)>,
    /// As `decides`, where it differs by the front.
    decides_by_front: [Vec<(String, String)>; 2],
}

pub fn read() -> Vec<Case> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/policy/cases.yaml");
    let text = std::fs::read_to_string(file).expect("reading the table");
    let Value::Array(cases) = yaml::parse(&text) else { panic!("the table is no list") };
    let cases: Vec<_> = cases.into_iter().map(Case::new).collect();
    let mut names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is there twice: {names:?}");
    cases
}

impl Case {
    fn new(mut given: Value) -> Self {
        let map = given.as_object_mut().expect("a case is a map");
        let mut take = |key: &str| map.remove(key).unwrap_or(Value::Null);
        let name = text(take("case"));
        take("about");
        let [rules, uploads] = ["rules", "uploads"].map(|key| {
            list(take(key)).into_iter().map(|rule| scoped(rule, &name)).collect::<Vec<_>>()
        });
        let [ftp, sftp] = ["ftp", "sftp"].map(|key| {
            list(take(key)).into_iter().map(|step| Step::parse(&text(step))).collect::<Vec<_>>()
        });
        let [groups, with, with_sftp] = ["groups", "with", "with_sftp"]
            .map(|key| list(take(key)).into_iter().map(text).collect::<Vec<_>>());
        let word = |value: Value, default: &str| {
            if value.is_null() { default.to_owned() } else { text(value) }
        };
        let case = Self {
            rules,
            uploads,
            groups,
            with,
            with_sftp,
            dry_run: word(take("dry_run"), "false") == "true",
            windows: word(take("names"), "exact") == "windows",
            links: word(take("links"), "false") == "true",
            tls: word(take("tls"), "none"),
            source: word(take("from"), "127.0.0.1").parse().expect("an address"),
            ftp,
            sftp,
            changes: changes(take("changes")).unwrap_or_default(),
            changes_by_front: ["changes_ftp", "changes_sftp"].map(|key| changes(take(key))),
            decides: decides(take("decides")),
            decides_by_front: ["decides_ftp", "decides_sftp"].map(|key| decides(take(key))),
            name,
        };
        assert!(map.is_empty(), "unknown keys of {}: {map:?}", case.name);
        assert!(!case.ftp.is_empty() || !case.sftp.is_empty(), "{} does nothing", case.name);
        case
    }

    /// Whether it is for this pair.
    pub fn runs_with(&self, front: Front, backend: &str) -> bool {
        let with = match front {
            Front::Sftp if !self.with_sftp.is_empty() => &self.with_sftp,
            _ => &self.with,
        };
        with.is_empty() || with.iter().any(|name| name == backend)
    }

    /// What must decide.
    pub fn decides(&self, front: Front) -> impl Iterator<Item = &(String, String)> {
        self.decides.iter().chain(&self.decides_by_front[usize::from(front == Front::Sftp)])
    }

    /// What must be on disk afterwards.
    pub fn tree_after(&self, front: Front) -> BTreeMap<String, String> {
        let own = self.changes_by_front[usize::from(front == Front::Sftp)].as_ref();
        let mut tree = tree::planted();
        for (path, content) in own.unwrap_or(&self.changes) {
            match content {
                Some(content) => drop(tree.insert(path.clone(), expand(content))),
                None => {
                    let below = format!("{path}/");
                    tree.retain(|other, _| other != path && !other.starts_with(&below));
                }
            }
        }
        tree
    }
}

/// A rule of one case: for its user only.
fn scoped(mut rule: Value, case: &str) -> Value {
    let map = rule.as_object_mut().expect("a rule is a map");
    let name = format!("{case}/{}", map["name"].as_str().expect("a rule's name"));
    map.insert("name".into(), json!(name));
    let conditions = map.entry("match").or_insert_with(|| json!({}));
    let conditions = conditions.as_object_mut().expect("match is a map");
    conditions.entry("users").or_insert_with(|| json!([case]));
    let text = rule.to_string().replace(NEVER, never());
    serde_json::from_str(&text).expect("JSON")
}

/// A weekday some days from now, wherever in the world the test runs.
pub fn never() -> &'static str {
    let day = Timestamp::now()
        .to_zoned_datetime(TimeZone::UTC)
        .datetime()
        .date()
        .saturating_add(3.days());
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        [usize::try_from(day.weekday().to_monday_zero_offset()).expect("a day of the week")]
}

fn changes(value: Value) -> Option<BTreeMap<String, Option<String>>> {
    let Value::Object(map) = value else { return None };
    Some(
        map.into_iter()
            .map(|(path, content)| (path, content.as_str().map(str::to_owned)))
            .collect(),
    )
}

fn decides(value: Value) -> Vec<(String, String)> {
    match value {
        Value::Object(map) => map.into_iter().map(|(asked, rule)| (asked, text(rule))).collect(),
        Value::Null => Vec::new(),
        other => panic!("decides: {other}"),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("no text: {other}"),
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => panic!("no list: {other}"),
    }
}
