//! The configuration as JSON without its secrets, for operators.

use serde_json::{Map, Number, Value as Json};

use super::read::Read;
use super::report::Mark;
use super::schema::File;
use super::secret::{Span, is_secret};
use super::secret_url::{is_secret_url, shown_url};
use super::tree::{Entry, Kind, Node};

/// In place of a secret.
const MASK: &str = "(secret)";

/// The file as written: values of secret keys are replaced, aliases are written out. Files that it names are
/// named only.
pub(super) fn masked(root: &Node) -> Json {
    json(root, &[&File::schema()])
}

/// `schemas`: those that the value may have; none for a key that the schema does not know.
fn json(node: &Node, schemas: &[&Json]) -> Json {
    match &node.kind {
        Kind::Null => Json::Null,
        Kind::Scalar(text) => scalar(text, &alternatives(schemas)),
        Kind::List(items) => {
            let of_items = below(schemas, |schema| schema.get("items"));
            items.iter().map(|item| json(item, &of_items)).collect()
        }
        Kind::Map(entries) => {
            let values = entries.iter().map(|entry| {
                let value = match of_entry(entry, schemas) {
                    None => hidden(&entry.value),
                    Some(schemas) => json(&entry.value, &schemas),
                };
                (entry.key.clone(), value)
            });
            Json::Object(values.collect::<Map<_, _>>())
        }
    }
}

/// The schemas that the value of a key may have; `None`: it is a secret.
fn of_entry<'s>(entry: &Entry, schemas: &[&'s Json]) -> Option<Vec<&'s Json>> {
    let key = entry.key.as_str();
    let own = below(schemas, |schema| schema.get("properties")?.get(key));
    let named = below(schemas, |schema| schema.get("additionalProperties"));
    let named: Vec<_> = named.into_iter().filter(|it| it.is_object()).collect();
    // A name that the operator chose, such as a user's, says nothing of its value.
    let is_name = own.is_empty() && !named.is_empty();
    if is_secret(key) && !is_name {
        return None;
    }
    Some(if is_name { named } else { own })
}

/// Where the file has secrets.
pub(super) fn spans(root: &Node) -> Vec<Span> {
    let mut found = Vec::new();
    add_spans(root, Some(&[&File::schema()]), &mut found);
    found
}

/// `schemas` is `None` in a secret.
fn add_spans(node: &Node, schemas: Option<&[&Json]>, found: &mut Vec<Span>) {
    let span = |mark: Mark| Span { start: (mark.line, mark.column), end: node.end };
    match &node.kind {
        Kind::Null => {}
        Kind::Scalar(text) => {
            let is_shown = schemas.is_some_and(|schemas| {
                !is_url(text, &alternatives(schemas)) || !is_secret_url(text)
            });
            if !is_shown {
                found.push(span(node.mark));
            }
        }
        Kind::List(items) => {
            let of_items = schemas.map(|schemas| below(schemas, |schema| schema.get("items")));
            items.iter().for_each(|item| add_spans(item, of_items.as_deref(), found));
        }
        Kind::Map(entries) => {
            for entry in entries {
                if schemas.is_none() {
                    let end = (entry.mark.line, entry.mark.column + entry.mark.width);
                    found.push(Span { start: (entry.mark.line, entry.mark.column), end });
                }
                let schemas = schemas.and_then(|schemas| of_entry(entry, schemas));
                add_spans(&entry.value, schemas.as_deref(), found);
            }
        }
    }
}

fn is_url(text: &str, schemas: &[&Json]) -> bool {
    let format = |schema: &&Json| schema["format"].as_str().is_some_and(|it| it.starts_with("uri"));
    text.contains("://") || schemas.iter().any(format)
}

/// Its shape only.
fn hidden(node: &Node) -> Json {
    match &node.kind {
        Kind::Null => Json::Null,
        Kind::Scalar(_) => MASK.into(),
        Kind::List(items) => items.iter().map(hidden).collect(),
        Kind::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), hidden(&entry.value))).collect()
        }
    }
}

/// Of a number or a truth value, where the key has one.
fn scalar(text: &str, schemas: &[&Json]) -> Json {
    let may_be = |kind: &str| schemas.iter().any(|schema| schema["type"] == kind);
    if may_be("integer")
        && let Ok(number) = text.parse::<Number>()
    {
        return Json::Number(number);
    }
    if may_be("boolean")
        && let Ok(value) = text.parse::<bool>()
    {
        return value.into();
    }
    if is_url(text, schemas) { shown_url(text).into() } else { text.into() }
}

fn below<'s>(schemas: &[&'s Json], part: impl Fn(&'s Json) -> Option<&'s Json>) -> Vec<&'s Json> {
    alternatives(schemas).into_iter().filter_map(part).collect()
}

/// With `anyOf` written out.
fn alternatives<'s>(schemas: &[&'s Json]) -> Vec<&'s Json> {
    let mut all = Vec::new();
    for schema in schemas {
        match schema.get("anyOf").and_then(Json::as_array) {
            Some(any) => all.extend(alternatives(&any.iter().collect::<Vec<_>>())),
            None => all.push(*schema),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::report::Problems;
    use crate::config::tree;

    fn of(text: &str) -> Json {
        masked(&tree::parse(text, &mut Problems::default()).unwrap())
    }

    #[test]
    fn secrets_are_masked_and_the_rest_is_as_written() {
        let shown = of("\
            users:\n  secretary: { password_hash: &hash \"$argon2id$hunter2\", groups: [a, b] }\n  \
            password: { password_hash: *hash }\n\
            backends: { b: { protocol: ftp, address: a, login: { user: u, password_file: pw.txt } } }\n\
            limits: { sessions: 10, idle_timeout: 5m }\n\
            listeners: { l: { address: \"[::]:21\" } }\n");
        let expected = json!({
            "users": {
                "secretary": { "password_hash": "(secret)", "groups": ["a", "b"] },
                "password": { "password_hash": "(secret)" },
            },
            "backends": {
                "b": {
                    "protocol": "ftp", "address": "a",
                    "login": { "user": "u", "password_file": "pw.txt" },
                },
            },
            "limits": { "sessions": 10, "idle_timeout": "5m" },
            "listeners": { "l": { "address": "[::]:21" } },
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_query_of_a_url_is_masked() {
        let shown = of("login_hooks:\n  a: { url: \"https://h/login?apikey=hunter2\" }\n  \
                        b: { socket: s, path: \"/login?hunter2\" }\n  c: { url: \"https://h/login\" }\n\
                        other: \"http://me:hunter2@h/x\"\n");
        let expected = json!({
            "login_hooks": {
                "a": { "url": "https://h/login?(secret)" },
                "b": { "socket": "s", "path": "/login?(secret)" },
                "c": { "url": "https://h/login" },
            },
            "other": "http://(secret)",
        });
        assert_eq!(shown, expected);
    }

    /// Also where no valid configuration has them.
    #[test]
    fn whatever_is_named_like_a_secret_is_masked() {
        for key in ["password", "token", "passphrase", "client_secret", "password_hash", "Passwd"] {
            for value in ["hunter2", "[hunter2]", "{ a: hunter2 }", "\n  - hunter2"] {
                let text = format!("limits: {{ a: 1 }}\n{key}: {value}\n");
                let shown = of(&text).to_string();
                assert!(shown.contains(MASK) && !shown.contains("hunter2"), "{text}{shown}");
            }
        }
    }

    /// Each key of the schema that is a secret's by its name, at each place where it may stand.
    #[test]
    fn every_secret_key_of_the_schema_is_masked_where_it_stands() {
        fn places(schema: &Json, before: &[String], found: &mut Vec<Vec<String>>) {
            for schema in alternatives(&[schema]) {
                for (key, below) in schema["properties"].as_object().into_iter().flatten() {
                    let path = [before, std::slice::from_ref(key)].concat();
                    if is_secret(key) {
                        found.push(path.clone());
                    }
                    places(below, &path, found);
                }
                for (part, name) in [("additionalProperties", "NAME"), ("items", "-")] {
                    if schema[part].is_object() {
                        places(&schema[part], &[before, &[name.to_owned()]].concat(), found);
                    }
                }
            }
        }
        let mut found = Vec::new();
        places(&File::schema(), &[], &mut found);
        assert!(found.iter().any(|path| path.join(".") == "users.NAME.password_hash"), "{found:?}");
        for path in found {
            let text = path.iter().rev().fold("hunter2".to_owned(), |below, key| match &**key {
                "-" => format!("[{below}]"),
                key => format!("{{ {key}: {below} }}"),
            });
            let shown = of(&text).to_string();
            assert!(shown.contains(MASK) && !shown.contains("hunter2"), "{text} {shown}");
        }
    }
}
