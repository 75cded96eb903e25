//! Single values and lists of them.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::nearest::nearest;
use super::read::Read;
use super::report::{Location, Problems};
use super::tree::{Kind, Node};

/// A value that is written as a scalar.
pub(super) trait Value: Sized {
    fn parse(text: &str) -> Result<Self, Invalid>;

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    /// The file that it names, if that is read with the configuration.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// Why a text is not a valid value, and what was probably meant.
#[derive(Debug, PartialEq)]
pub(super) struct Invalid {
    pub message: String,
    pub suggestion: Option<String>,
}

impl Invalid {
    pub(super) fn new<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), suggestion: None })
    }

    pub(super) fn with_suggestion<T>(
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) -> Result<T, Self> {
        Err(Self { message: message.into(), suggestion: Some(suggestion.into()) })
    }
}

/// A value of a fixed set of keywords.
pub(super) trait Choice: Copy + 'static {
    const ALL: &'static [(&'static str, Self)];
}

impl<T: Choice> Value for T {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some((_, value)) = T::ALL.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let names: Vec<_> = T::ALL.iter().map(|(word, _)| *word).collect();
        let message = format!("\"{text}\" is not one of {}", names.join(", "));
        Err(Invalid { message, suggestion: nearest(text, names) })
    }

    fn schema() -> Json {
        json!({ "enum": T::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

/// A single value and its location; `None` if it is invalid, which has been reported.
pub(super) struct Leaf<T> {
    pub at: Location,
    pub value: Option<T>,
}

impl<T: Value> Read for Leaf<T> {
    fn read(node: &Node, key: Location, problems: &mut Problems) -> Self {
        let at = Location { mark: node.mark, ..key.clone() };
        let value = match &node.kind {
            Kind::Scalar(text) => match T::parse(text) {
                Ok(value) => {
                    value.file().into_iter().for_each(|file| problems.note_file(&at, file));
                    Some(value)
                }
                Err(Invalid { message, suggestion }) => {
                    problems.error_with_suggestion(&at, message, suggestion);
                    None
                }
            },
            Kind::Null => {
                problems.error(&key, "has no value; write one or remove the key");
                None
            }
            Kind::List(_) => {
                problems.error(&at, "expected one value, not a list");
                None
            }
            Kind::Map(_) => {
                problems.error(&at, "expected one value, not keys");
                None
            }
        };
        Self { at, value }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        T::schema()
    }
}

/// One value, or a list of them.
pub(super) struct OneOrMore<T> {
    pub at: Location,
    pub items: Vec<Leaf<T>>,
}

impl<T> OneOrMore<T> {
    /// The valid values, each with its location.
    pub(super) fn values(&self) -> impl Iterator<Item = (&Location, &T)> {
        self.items.iter().filter_map(|leaf| Some((&leaf.at, leaf.value.as_ref()?)))
    }
}

impl<T: Value> Read for OneOrMore<T> {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let items = match &node.kind {
            Kind::List(nodes) if nodes.is_empty() => {
                problems.error(&at, "is an empty list; write a value or remove the key");
                Vec::new()
            }
            Kind::List(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(index, node)| Leaf::read(node, at.item(index, node.mark), problems))
                .collect(),
            _ => vec![Leaf::read(node, at.clone(), problems)],
        };
        Self { at, items }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            T::schema(),
            { "type": "array", "items": T::schema(), "minItems": 1 },
        ] })
    }
}
