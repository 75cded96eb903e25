//! `algorithms`: the name of a base, or a mapping with a base and additions.

use serde_json::{Value as Json, json};

use super::leaf::{Leaf, OneOrMore, Value};
use super::read::{Key, Read, Section, section};
use super::report::{Location, Problems};
use super::tree::{Kind, Node};
use super::values::AlgorithmName;
use crate::net::ssh::{Base, algorithm_by_name};

section! {
    /// SSH algorithms: a predefined list and additions.
    Extended {
        /// strict, modern (default) or legacy.
        base: Leaf<Base>,
        /// An algorithm of any kind, by its SSH name, or a list; offered after those of the base.
        [required] add: OneOrMore<AlgorithmName>,
    }
}

/// The value of `algorithms`.
pub(super) struct Algorithms {
    pub at: Location,
    pub base: Option<Leaf<Base>>,
    pub add: Option<OneOrMore<AlgorithmName>>,
}

impl Read for Algorithms {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let extend = |names: &str| format!("write {{ base: modern, add: [{names}] }}");
        match &node.kind {
            Kind::Map(_) => {
                let Extended { at, base, add } = Extended::read(node, at, problems);
                Self { at, base, add }
            }
            Kind::List(_) => {
                let value_at = Location { mark: node.mark, ..at.clone() };
                problems.error(
                    &value_at,
                    format!("a list of algorithms needs a base; {}", extend("…")),
                );
                Self { at, base: None, add: None }
            }
            Kind::Scalar(text) if algorithm_by_name(text).is_some() => {
                let value_at = Location { mark: node.mark, ..at.clone() };
                problems.error(
                    &value_at,
                    format!("\"{text}\" is a single algorithm; {}", extend(text)),
                );
                Self { at, base: None, add: None }
            }
            _ => {
                let base = Leaf::read(node, at, problems);
                Self { at: base.at.clone(), base: Some(base), add: None }
            }
        }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [Base::schema(), Extended::schema()] })
    }

    fn keys() -> Vec<&'static str> {
        Extended::known().iter().map(|key| key.name).collect()
    }

    fn section_keys() -> Vec<Key> {
        Extended::known()
    }
}
