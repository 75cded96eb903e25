//! Reads the tree into the schema's structs. Reports mistakes and goes on.

use std::collections::HashMap;
use std::collections::hash_map;

use serde_json::{Map, Value as Json, json};

use super::nearest::nearest;
use super::report::{Location, Mark, Problems};
use super::tree::{Entry, Kind, Node};

/// A type that a key's value can be read as.
pub(super) trait Read: Sized {
    /// `at` is the key's location.
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self;

    /// Its location.
    fn at(&self) -> &Location;

    /// Its JSON Schema.
    fn schema() -> Json;

    /// The keys directly in it.
    fn keys() -> Vec<&'static str> {
        Vec::new()
    }

    /// The keys of the section that it is, lists or names; none for a value.
    fn section_keys() -> Vec<Key> {
        Vec::new()
    }
}

/// A mapping with known keys; made by [`section!`].
pub(super) trait Section: Sized {
    const ABOUT: &'static str;
    /// Keys that are planned but not implemented.
    const LATER: &'static [&'static str];
    /// Keys that do not exist but are likely, with what to write instead.
    const HINTS: &'static [(&'static str, &'static str)];

    fn known() -> Vec<Key>;

    fn read_fields(at: Location, fields: &mut Fields<'_, '_>) -> Self;

    fn location(&self) -> &Location;
}

/// One key of a [`Section`].
pub(super) struct Key {
    pub name: &'static str,
    pub about: &'static str,
    pub required: bool,
    pub schema: fn() -> Json,
    /// The keys below it.
    pub below: fn() -> Vec<&'static str>,
    /// The keys of its section or sections.
    pub section_keys: fn() -> Vec<Key>,
}

/// Declares a section: every field is a key, its documentation is the key's description in the JSON
/// Schema, and `[required]` marks required keys.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $doc:literal])* $([$required:ident])? $field:ident: $type:ty, )*
        }
        $(later [$($later:literal),* $(,)?])?
        $(hints [$($value_at:literal => $hint:literal),* $(,)?])?
    ) => {
        $(#[doc = $about])*
        pub(in crate::config) struct $name {
            pub at: $crate::config::report::Location,
            $( $(#[doc = $doc])* pub $field: Option<$type>, )*
        }

        impl $crate::config::read::Section for $name {
            const ABOUT: &'static str = concat!($($about),*);
            const LATER: &'static [&'static str] = &[$($($later),*)?];
            const HINTS: &'static [(&'static str, &'static str)] = &[$($(($value_at, $hint)),*)?];

            fn known() -> Vec<$crate::config::read::Key> {
                vec![$({
                    const REQUIRED: &[&str] = &[$(stringify!($required))?];
                    $crate::config::read::Key {
                        name: stringify!($field).trim_start_matches("r#"),
                        about: concat!($($doc),*),
                        required: !REQUIRED.is_empty(),
                        schema: <$type as $crate::config::read::Read>::schema,
                        below: <$type as $crate::config::read::Read>::keys,
                        section_keys: <$type as $crate::config::read::Read>::section_keys,
                    }
                }),*]
            }

            fn read_fields(
                at: $crate::config::report::Location,
                fields: &mut $crate::config::read::Fields<'_, '_>,
            ) -> Self {
                Self {
                    at,
                    $( $field: fields.take(stringify!($field).trim_start_matches("r#")), )*
                }
            }

            fn location(&self) -> &$crate::config::report::Location {
                &self.at
            }
        }
    };
}
pub(super) use section;

impl<S: Section> Read for S {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let mut fields = match &node.kind {
            // An empty `match` would match everyone, which is hardly intended.
            Kind::Map(entries) if entries.is_empty() => Fields::empty::<S>(&at, problems),
            Kind::Null => Fields::empty::<S>(&at, problems),
            Kind::Map(entries) => Fields::check::<S>(entries, &at, problems),
            _ => {
                let value_at = Location { mark: node.mark, ..at.clone() };
                let keys = S::keys().join(", ");
                problems.error(&value_at, format!("expected a mapping with the keys {keys}"));
                Fields { found: HashMap::new(), problems }
            }
        };
        S::read_fields(at, &mut fields)
    }

    fn at(&self) -> &Location {
        self.location()
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

    fn section_keys() -> Vec<Key> {
        S::known()
    }
}

/// The known keys of a mapping.
pub(super) struct Fields<'n, 'p> {
    found: HashMap<&'static str, (Location, &'n Node)>,
    problems: &'p mut Problems,
}

impl<'n, 'p> Fields<'n, 'p> {
    /// Reports unknown, duplicate and missing keys.
    fn check<S: Section>(entries: &'n [Entry], at: &Location, problems: &'p mut Problems) -> Self {
        let known = S::known();
        let (mut found, mut suggested) = (HashMap::new(), Vec::new());
        for (entry, location) in unique(entries, at, problems) {
            match known.iter().find(|key| key.name == entry.key) {
                Some(key) => {
                    found.insert(key.name, (location, &entry.value));
                }
                None => suggested.extend(unknown::<S>(&known, &entry.key, &location, problems)),
            }
        }
        let is_present =
            |key: &Key| found.contains_key(key.name) || suggested.iter().any(|m| m == key.name);
        for key in known.iter().filter(|key| key.required && !is_present(key)) {
            problems.error(&at.absent(key.name), "is missing");
        }
        Self { found, problems }
    }

    fn empty<S: Section>(at: &Location, problems: &'p mut Problems) -> Self {
        let known = S::known();
        let required: Vec<_> =
            known.iter().filter(|key| key.required).map(|key| key.name).collect();
        let advice = if required.is_empty() {
            "remove it, or indent its keys".into()
        } else {
            format!("it requires {}", required.join(", "))
        };
        problems.error(at, format!("has no keys; {advice}"));
        Self { found: HashMap::new(), problems }
    }

    pub(super) fn take<T: Read>(&mut self, key: &str) -> Option<T> {
        let (at, node) = self.found.remove(key)?;
        Some(T::read(node, at, self.problems))
    }
}

/// Reports a key that the section does not have; returns the one that was probably meant.
fn unknown<S: Section>(
    known: &[Key],
    key: &str,
    at: &Location,
    problems: &mut Problems,
) -> Option<String> {
    let hint = S::HINTS.iter().find(|(value_at, _)| *value_at == key).map(|(_, hint)| *hint);
    let section = known.iter().find(|section| (section.below)().contains(&key));
    if let Some(hint) = hint {
        problems.error(at, format!("unknown key: {hint}"));
    } else if S::LATER.contains(&key) {
        problems.error(at, "is not implemented in this version");
    } else if key == "<<" {
        problems.error(at, "YAML merge keys are not supported; *name repeats a whole value");
    } else if let Some(section) = section {
        problems.error(at, format!("belongs one level deeper, under `{}`", section.name));
    } else {
        let names = known.iter().map(|key| key.name);
        let own = nearest(key, names.clone());
        let suggestion = own.clone().or_else(|| nearest_below(known, key));
        let message = match suggestion {
            Some(_) => "unknown key".into(),
            None => {
                format!("unknown key; known are: {}", names.collect::<Vec<_>>().join(", "))
            }
        };
        problems.error_with_suggestion(at, message, suggestion);
        return own;
    }
    None
}

fn nearest_below(known: &[Key], key: &str) -> Option<String> {
    known.iter().find_map(|section| {
        let suggestion = nearest(key, (section.below)())?;
        Some(format!("{}.{suggestion}", section.name))
    })
}

/// The entries without duplicates, which are reported.
fn unique<'n>(
    entries: &'n [Entry],
    at: &Location,
    problems: &mut Problems,
) -> Vec<(&'n Entry, Location)> {
    let mut first: HashMap<&str, Mark> = HashMap::new();
    let mut kept = Vec::new();
    for entry in entries {
        let location = at.key(&entry.key, entry.mark);
        match first.entry(&entry.key) {
            hash_map::Entry::Occupied(earlier) => {
                let line = earlier.get().line;
                problems.error(&location, format!("is a duplicate (first in line {line})"));
            }
            hash_map::Entry::Vacant(free) => {
                free.insert(entry.mark);
                kept.push((entry, location));
            }
        }
    }
    kept
}

/// A mapping whose keys are names that the operator chooses.
pub(super) struct Named<T> {
    pub at: Location,
    /// In the file's order.
    pub items: Vec<(String, T)>,
}

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let mut items = Vec::new();
        match &node.kind {
            Kind::Map(entries) => {
                for (entry, location) in unique(entries, &at, problems) {
                    items.push((entry.key.clone(), T::read(&entry.value, location, problems)));
                }
            }
            Kind::Null => {}
            _ => {
                let value_at = Location { mark: node.mark, ..at.clone() };
                problems.error(&value_at, "expected a mapping of names to keys");
            }
        }
        Self { at, items }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn section_keys() -> Vec<Key> {
        T::section_keys()
    }
}

/// One section, or a list of them.
pub(super) struct OneOrMany<T> {
    pub at: Location,
    pub items: Vec<T>,
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let items = match &node.kind {
            Kind::List(nodes) if nodes.is_empty() => {
                problems.error(&at, "is an empty list; write an entry or remove the key");
                Vec::new()
            }
            Kind::List(_) => Many::read(node, at.clone(), problems).items,
            _ => vec![T::read(node, at.clone(), problems)],
        };
        Self { at, items }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "type": "array", "items": T::schema(), "minItems": 1 },
            T::schema(),
        ] })
    }

    fn keys() -> Vec<&'static str> {
        T::keys()
    }

    fn section_keys() -> Vec<Key> {
        T::section_keys()
    }
}

/// A list of sections.
pub(super) struct Many<T> {
    pub at: Location,
    pub items: Vec<T>,
}

impl<T: Read> Read for Many<T> {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let mut items = Vec::new();
        match &node.kind {
            Kind::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    items.push(T::read(node, at.item(index, node.mark), problems));
                }
            }
            Kind::Null => {}
            _ => {
                let value_at = Location { mark: node.mark, ..at.clone() };
                problems.error(&value_at, "expected a list: each entry starts with \"- \"");
            }
        }
        Self { at, items }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn section_keys() -> Vec<Key> {
        T::section_keys()
    }
}
