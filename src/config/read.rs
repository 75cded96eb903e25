//! From the tree to the schema's structs. Nothing stops at a mistake: it is noted, and reading goes on.

use std::collections::HashMap;
use std::collections::hash_map;

use serde_json::{Map, Value as Json, json};

use super::nearest::nearest;
use super::report::{At, Mark, Problems};
use super::tree::{Entry, Kind, Node};

/// What a key's value can be read as.
pub(super) trait Read: Sized {
    /// `at` is the key's place and path.
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self;

    /// Where it stands.
    fn at(&self) -> &At;

    /// Its JSON Schema.
    fn schema() -> Json;

    /// The keys that stand directly in it.
    fn keys() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A mapping with known keys; made by [`section!`].
pub(super) trait Section: Sized {
    const ABOUT: &'static str;
    /// Keys that are planned and not built yet.
    const LATER: &'static [&'static str];
    /// Keys that people try, and what to write.
    const HINTS: &'static [(&'static str, &'static str)];

    fn known() -> Vec<Key>;

    fn read_fields(at: At, fields: &mut Fields<'_, '_>) -> Self;

    fn place(&self) -> &At;
}

/// One key of a [`Section`].
pub(super) struct Key {
    pub name: &'static str,
    pub about: &'static str,
    pub required: bool,
    pub schema: fn() -> Json,
    /// The keys below it.
    pub below: fn() -> Vec<&'static str>,
}

/// Declares a section: every field is a key, its documentation is the key's description in the JSON
/// Schema, `[required]` says that it must be there.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $doc:literal])* $([$required:ident])? $field:ident: $type:ty, )*
        }
        $(later [$($later:literal),* $(,)?])?
        $(hints [$($wrong:literal => $hint:literal),* $(,)?])?
    ) => {
        $(#[doc = $about])*
        pub(in crate::config) struct $name {
            pub at: $crate::config::report::At,
            $( $(#[doc = $doc])* pub $field: Option<$type>, )*
        }

        impl $crate::config::read::Section for $name {
            const ABOUT: &'static str = concat!($($about),*);
            const LATER: &'static [&'static str] = &[$($($later),*)?];
            const HINTS: &'static [(&'static str, &'static str)] = &[$($(($wrong, $hint)),*)?];

            fn known() -> Vec<$crate::config::read::Key> {
                vec![$({
                    const REQUIRED: &[&str] = &[$(stringify!($required))?];
                    $crate::config::read::Key {
                        name: stringify!($field).trim_start_matches("r#"),
                        about: concat!($($doc),*),
                        required: !REQUIRED.is_empty(),
                        schema: <$type as $crate::config::read::Read>::schema,
                        below: <$type as $crate::config::read::Read>::keys,
                    }
                }),*]
            }

            fn read_fields(
                at: $crate::config::report::At,
                fields: &mut $crate::config::read::Fields<'_, '_>,
            ) -> Self {
                Self {
                    at,
                    $( $field: fields.take(stringify!($field).trim_start_matches("r#")), )*
                }
            }

            fn place(&self) -> &$crate::config::report::At {
                &self.at
            }
        }
    };
}
pub(super) use section;

impl<S: Section> Read for S {
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self {
        let mut fields = match &node.kind {
            // An empty `match` would mean everybody, and hardly anybody means that.
            Kind::Map(entries) if entries.is_empty() => Fields::nothing::<S>(&at, problems),
            Kind::Null => Fields::nothing::<S>(&at, problems),
            Kind::Map(entries) => Fields::check::<S>(entries, &at, problems),
            _ => {
                let wrong = At { mark: node.mark, ..at.clone() };
                let keys = S::keys().join(", ");
                problems.error(&wrong, format!("expected keys here: {keys}"));
                Fields { found: HashMap::new(), problems }
            }
        };
        S::read_fields(at, &mut fields)
    }

    fn at(&self) -> &At {
        self.place()
    }

    fn schema() -> Json {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for key in S::known() {
            let mut schema = (key.schema)();
            if let Json::Object(schema) = &mut schema {
                schema.insert("description".into(), key.about.trim().into());
            }
            properties.insert(key.name.into(), schema);
            if key.required {
                required.push(key.name);
            }
        }
        json!({
            "type": "object", "description": S::ABOUT.trim(), "properties": properties,
            "required": required, "additionalProperties": false,
        })
    }

    fn keys() -> Vec<&'static str> {
        S::known().iter().map(|key| key.name).collect()
    }
}

/// The keys of one mapping that a section knows.
pub(super) struct Fields<'n, 'p> {
    found: HashMap<&'static str, (At, &'n Node)>,
    problems: &'p mut Problems,
}

impl<'n, 'p> Fields<'n, 'p> {
    /// Notes unknown, duplicate and missing keys.
    fn check<S: Section>(entries: &'n [Entry], at: &At, problems: &'p mut Problems) -> Self {
        let known = S::known();
        let (mut found, mut misspelt) = (HashMap::new(), Vec::new());
        for (entry, place) in unique(entries, at, problems) {
            match known.iter().find(|key| key.name == entry.key) {
                Some(key) => {
                    found.insert(key.name, (place, &entry.value));
                }
                None => misspelt.extend(unknown::<S>(&known, &entry.key, &place, problems)),
            }
        }
        let there =
            |key: &Key| found.contains_key(key.name) || misspelt.iter().any(|m| m == key.name);
        for key in known.iter().filter(|key| key.required && !there(key)) {
            problems.error(&at.absent(key.name), "is missing");
        }
        Self { found, problems }
    }

    fn nothing<S: Section>(at: &At, problems: &'p mut Problems) -> Self {
        let known = S::known();
        let needed: Vec<_> = known.iter().filter(|key| key.required).map(|key| key.name).collect();
        let advice = match needed.is_empty() {
            true => "take it out, or indent its keys".into(),
            false => format!("it needs: {}", needed.join(", ")),
        };
        problems.error(at, format!("has nothing below it; {advice}"));
        Self { found: HashMap::new(), problems }
    }

    pub(super) fn take<T: Read>(&mut self, key: &str) -> Option<T> {
        let (at, node) = self.found.remove(key)?;
        Some(T::read(node, at, self.problems))
    }
}

/// Notes a key that the section does not know; returns the one that was probably meant.
fn unknown<S: Section>(
    known: &[Key],
    key: &str,
    at: &At,
    problems: &mut Problems,
) -> Option<String> {
    let hint = S::HINTS.iter().find(|(wrong, _)| *wrong == key).map(|(_, hint)| *hint);
    let section = known.iter().find(|section| (section.below)().contains(&key));
    if let Some(hint) = hint {
        problems.error(at, format!("there is no such key: {hint}"));
    } else if S::LATER.contains(&key) {
        problems.error(at, "is not built yet in this version");
    } else if key == "<<" {
        problems.error(at, "merge keys are not understood; *name can repeat a whole value");
    } else if let Some(section) = section {
        problems.error(at, format!("belongs one level deeper, under `{}`", section.name));
    } else {
        let names = known.iter().map(|key| key.name);
        let meant = nearest(key, names.clone());
        let suggestion = meant.clone().or_else(|| nearest_below(known, key));
        let message = match suggestion {
            Some(_) => "there is no such key".into(),
            None => {
                format!("there is no such key; here are: {}", names.collect::<Vec<_>>().join(", "))
            }
        };
        problems.error_meant(at, message, suggestion);
        return meant;
    }
    None
}

fn nearest_below(known: &[Key], key: &str) -> Option<String> {
    known.iter().find_map(|section| {
        let meant = nearest(key, (section.below)())?;
        Some(format!("{}.{meant}", section.name))
    })
}

/// The entries without the second and later ones of the same key, which are noted.
fn unique<'n>(entries: &'n [Entry], at: &At, problems: &mut Problems) -> Vec<(&'n Entry, At)> {
    let mut first: HashMap<&str, Mark> = HashMap::new();
    let mut kept = Vec::new();
    for entry in entries {
        let place = at.key(&entry.key, entry.mark);
        match first.entry(&entry.key) {
            hash_map::Entry::Occupied(earlier) => {
                let line = earlier.get().line;
                problems
                    .error(&place, format!("is here for the second time (first in line {line})"));
            }
            hash_map::Entry::Vacant(free) => {
                free.insert(entry.mark);
                kept.push((entry, place));
            }
        }
    }
    kept
}

/// A mapping whose keys are names of the operator's.
pub(super) struct Named<T> {
    pub at: At,
    /// In the file's order.
    pub items: Vec<(String, T)>,
}

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self {
        let mut items = Vec::new();
        match &node.kind {
            Kind::Map(entries) => {
                for (entry, place) in unique(entries, &at, problems) {
                    items.push((entry.key.clone(), T::read(&entry.value, place, problems)));
                }
            }
            Kind::Null => {}
            _ => {
                let wrong = At { mark: node.mark, ..at.clone() };
                problems.error(&wrong, "expected names here, each with its keys below it");
            }
        }
        Self { at, items }
    }

    fn at(&self) -> &At {
        &self.at
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// A list of sections.
pub(super) struct Many<T> {
    pub at: At,
    pub items: Vec<T>,
}

impl<T: Read> Read for Many<T> {
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self {
        let mut items = Vec::new();
        match &node.kind {
            Kind::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    items.push(T::read(node, at.item(index, node.mark), problems));
                }
            }
            Kind::Null => {}
            _ => {
                let wrong = At { mark: node.mark, ..at.clone() };
                problems.error(&wrong, "expected a list: each entry begins with \"- \"");
            }
        }
        Self { at, items }
    }

    fn at(&self) -> &At {
        &self.at
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}
