//! The reference of the configuration file as Markdown: every key with its path, values, default and
//! description, in the order of the schema.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::read::Key;

const INTRODUCTION: &str = "\
# Configuration reference

<!-- Printed by `lockgate schema --markdown`. The descriptions are in src/config/schema*. -->

Every key of the configuration file, in the file's usual order. [configuration.md](configuration.md) explains \
how they work together, and [config/](../config) has samples.

- `NAME` stands for a name that you choose, `[]` for each entry of a list.
- A duration has units (`30s`, `5m`, `1h30m`), and so has a size (`64KiB`, `10MiB`, `1GiB`).
- File names without a leading slash are relative to the folder of the configuration file.
- Where a list is possible, one value may stand alone.
- Some keys are for one protocol only; their description begins with it (`ftp:`, `sftp:`, `local:`).
";

/// The reference of the file whose keys these are.
pub(super) fn markdown(keys: &[Key]) -> String {
    let mut text = INTRODUCTION.to_owned();
    section("", keys, 2, &mut text);
    text
}

/// A section's keys, then the sections below it.
fn section(path: &str, keys: &[Key], level: usize, text: &mut String) {
    text.push('\n');
    for key in keys {
        entry(path, key, text);
    }
    for key in keys {
        let below = (key.section_keys)();
        if below.is_empty() {
            continue;
        }
        let path = path_below(path, key);
        let _ = writeln!(text, "\n{} `{path}`\n", "#".repeat(level.min(4)));
        let schema = (key.schema)();
        let _ = writeln!(text, "{}", escaped(about_each(&schema).unwrap_or(key.about.trim())));
        section(&path, &below, level + 1, text);
    }
}

fn entry(path: &str, key: &Key, text: &mut String) {
    let schema = (key.schema)();
    let path = joined(path, key.name);
    let required = if key.required { " (required)" } else { "" };
    let (about, default) = without_default(key.about.trim());
    let is_value = (key.section_keys)().is_empty();
    let values = if is_value { values(&schema) } else { section_values(&path, &schema) };
    let default = default.map(|default| format!("; default: {default}")).unwrap_or_default();
    let _ = writeln!(text, "- **`{path}`**{required}: {values}{default}.<br>{}", escaped(&about));
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path of the keys of a section: `listeners.NAME`, `routes[]`, `limits`.
fn path_below(path: &str, key: &Key) -> String {
    let path = joined(path, key.name);
    match shape(&(key.schema)()) {
        Shape::Named => format!("{path}.NAME"),
        Shape::List => format!("{path}[]"),
        Shape::One | Shape::OneOrList | Shape::ValueOrOne(_) => path,
    }
}

/// How often a section occurs under its key.
enum Shape {
    One,
    Named,
    List,
    OneOrList,
    /// A value may stand instead of the section.
    ValueOrOne(String),
}

fn shape(schema: &Json) -> Shape {
    let kind = |schema: &Json| schema["type"].as_str().unwrap_or_default().to_owned();
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([list, _]) if kind(list) == "array" => Shape::OneOrList,
        Some([value, _]) => Shape::ValueOrOne(values(value)),
        _ if schema["additionalProperties"].is_object() => Shape::Named,
        _ if kind(schema) == "array" => Shape::List,
        _ => Shape::One,
    }
}

/// The description of each of several sections, which that of their key is not.
fn about_each(schema: &Json) -> Option<&str> {
    let each = [&schema["additionalProperties"], &schema["items"], &schema["anyOf"][1]];
    each.into_iter().find_map(|each| each["description"].as_str())
}

fn section_values(path: &str, schema: &Json) -> String {
    let anchor: String = match shape(schema) {
        Shape::Named => format!("{path}.NAME"),
        _ => path.to_owned(),
    };
    // As GitHub makes anchors of headings.
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let anchor: String =
        anchor.chars().filter(|c| kept(*c)).map(|c| c.to_ascii_lowercase()).collect();
    let link = |text: &str| format!("[{text}](#{anchor})");
    match shape(schema) {
        Shape::One => link("these keys"),
        Shape::Named => format!("names, each with {}", link("these keys")),
        Shape::List => format!("a list of entries with {}", link("these keys")),
        Shape::OneOrList => format!("{}, or a list of entries with them", link("these keys")),
        Shape::ValueOrOne(value) => format!("{value}; or {}", link("these keys")),
    }
}

/// What may be written: words, a range of numbers, or what the schema calls it.
fn values(schema: &Json) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> =
            words.iter().filter_map(|word| word.as_str()).map(|w| format!("`{w}`")).collect();
        return match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
    }
    if let Some(word) = schema["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some([one, _]) = schema["anyOf"].as_array().map(Vec::as_slice) {
        return format!("{}; or a list", values(one));
    }
    match schema["type"].as_str() {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(least), Some(most)) if most == i64::from(u32::MAX) => {
                format!("a number from {least}")
            }
            (Some(least), Some(most)) => format!("a number from {least} to {most}"),
            _ => "a number".to_owned(),
        },
        _ => "text".to_owned(),
    }
}

/// The description without its sentence about the default, and the default.
fn without_default(about: &str) -> (String, Option<String>) {
    const MARK: &str = "Default: ";
    if let Some((before, after)) = about.split_once(MARK) {
        let (default, rest) = after.split_once(". ").unwrap_or((after, ""));
        let about = format!("{before}{rest}");
        let default = default.trim_end_matches('.');
        let is_value = !default.contains(' ');
        let default = if is_value { format!("`{default}`") } else { default.to_owned() };
        return (about.trim_end().to_owned(), Some(default));
    }
    // "text (default) or json", "failover (default: the first that is available)"
    let word = about.split_once(" (default").and_then(|(before, _)| {
        before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()
    });
    (about.to_owned(), word.map(|word| format!("`{word}`")))
}

/// Without the characters that would mean something in Markdown, except within backquotes.
fn escaped(text: &str) -> String {
    let mut shown = String::new();
    let mut is_code = false;
    for character in text.chars() {
        is_code ^= character == '`';
        if !is_code && matches!(character, '*' | '<' | '[') {
            shown.push('\\');
        }
        shown.push(character);
    }
    shown
}
