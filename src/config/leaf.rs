//! Single values and lists of them.

use serde_json::{Value as Json, json};

use super::nearest::nearest;
use super::read::Read;
use super::report::{At, Problems};
use super::tree::{Kind, Node};

/// What can be said in one word.
pub(super) trait Value: Sized {
    fn parse(text: &str) -> Result<Self, Wrong>;

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// Why a text is no value, and what was probably meant.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub message: String,
    pub meant: Option<String>,
}

impl Wrong {
    pub(super) fn new<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Self { message: message.into(), meant: None })
    }

    pub(super) fn meant<T>(
        message: impl Into<String>,
        meant: impl Into<String>,
    ) -> Result<T, Self> {
        Err(Self { message: message.into(), meant: Some(meant.into()) })
    }
}

/// A value of a fixed set of words.
pub(super) trait Choice: Copy + 'static {
    const ALL: &'static [(&'static str, Self)];
}

impl<T: Choice> Value for T {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some((_, value)) = T::ALL.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<_> = T::ALL.iter().map(|(word, _)| *word).collect();
        let message = format!("\"{text}\" is none of {}", words.join(", "));
        Err(Wrong { message, meant: nearest(text, words) })
    }

    fn schema() -> Json {
        json!({ "enum": T::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

/// A single value and its place; empty after a mistake, which has been noted.
pub(super) struct Leaf<T> {
    pub at: At,
    pub value: Option<T>,
}

impl<T: Value> Read for Leaf<T> {
    fn read(node: &Node, key: At, problems: &mut Problems) -> Self {
        let at = At { mark: node.mark, ..key.clone() };
        let value = match &node.kind {
            Kind::Scalar(text) => match T::parse(text) {
                Ok(value) => Some(value),
                Err(Wrong { message, meant }) => {
                    problems.error_meant(&at, message, meant);
                    None
                }
            },
            Kind::Null => {
                problems.error(&key, "has no value; write one or take the key out");
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

    fn at(&self) -> &At {
        &self.at
    }

    fn schema() -> Json {
        T::schema()
    }
}

/// One value, or a list of them.
pub(super) struct OneOrMore<T> {
    pub at: At,
    pub items: Vec<Leaf<T>>,
}

impl<T> OneOrMore<T> {
    /// The values without mistake, each with its place.
    pub(super) fn values(&self) -> impl Iterator<Item = (&At, &T)> {
        self.items.iter().filter_map(|leaf| Some((&leaf.at, leaf.value.as_ref()?)))
    }
}

impl<T: Value> Read for OneOrMore<T> {
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self {
        let items = match &node.kind {
            Kind::List(nodes) if nodes.is_empty() => {
                problems.error(&at, "is an empty list; write a value or take the key out");
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

    fn at(&self) -> &At {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            T::schema(),
            { "type": "array", "items": T::schema(), "minItems": 1 },
        ] })
    }
}
