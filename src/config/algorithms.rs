//! `algorithms`: a word, or a mapping that adds to it.

use serde_json::{Value as Json, json};

use super::leaf::{Leaf, OneOrMore, Value};
use super::read::{Read, Section, section};
use super::report::{At, Problems};
use super::tree::{Kind, Node};
use super::values::AlgorithmName;
use crate::net::ssh::{Base, algorithm_by_name};

section! {
    /// SSH algorithms: a list that has a name, and what is added to it.
    Extended {
        /// strict, modern (default) or legacy.
        base: Leaf<Base>,
        /// An algorithm of any kind, by its SSH name, or a list: it is offered behind those of the base.
        [required] add: OneOrMore<AlgorithmName>,
    }
}

/// What is offered to an SSH peer.
pub(super) struct Algorithms {
    pub at: At,
    pub base: Option<Leaf<Base>>,
    pub add: Option<OneOrMore<AlgorithmName>>,
}

impl Read for Algorithms {
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self {
        let extend = |names: &str| format!("write {{ base: modern, add: [{names}] }}");
        match &node.kind {
            Kind::Map(_) => {
                let Extended { at, base, add } = Extended::read(node, at, problems);
                Self { at, base, add }
            }
            Kind::List(_) => {
                let wrong = At { mark: node.mark, ..at.clone() };
                problems.error(&wrong, format!("a list has no base; {}", extend("…")));
                Self { at, base: None, add: None }
            }
            Kind::Scalar(text) if algorithm_by_name(text).is_some() => {
                let wrong = At { mark: node.mark, ..at.clone() };
                problems.error(&wrong, format!("\"{text}\" is one algorithm; {}", extend(text)));
                Self { at, base: None, add: None }
            }
            _ => {
                let base = Leaf::read(node, at, problems);
                Self { at: base.at.clone(), base: Some(base), add: None }
            }
        }
    }

    fn at(&self) -> &At {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [Base::schema(), Extended::schema()] })
    }

    fn keys() -> Vec<&'static str> {
        Extended::known().iter().map(|key| key.name).collect()
    }
}
