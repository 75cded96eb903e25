//! Parses YAML into a tree that keeps positions and duplicate keys, which serde's values lose.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::report::{Location, Mark, Problems};

/// Limits aliases of aliases, which grow exponentially.
const MAX_NODES: usize = 200_000;

#[derive(Clone)]
pub(super) struct Node {
    pub mark: Mark,
    /// Where a scalar ends: the line from 1, the column from 0.
    pub end: (usize, usize),
    pub kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// Empty, `~` or `null`.
    Null,
    /// As text, regardless of YAML's types: the key determines the type.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone)]
pub(super) struct Entry {
    pub key: String,
    pub mark: Mark,
    pub value: Node,
}

/// The file's only document; `None` if it has none or is not YAML.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { parser, anchors: HashMap::new(), nodes: 0, problems };
    let parsed = builder.document();
    match parsed {
        Ok(root) => root,
        Err(ParseError::Syntax(e)) => {
            let at = without_path(mark_at(*e.marker(), 1));
            problems.error(&at, format!("this is not YAML: {}", e.info()));
            None
        }
        Err(ParseError::TooBig(mark)) => {
            problems.error(&without_path(mark), "the aliases (*name) make the file too big");
            None
        }
    }
}

struct Builder<'a, 'p> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: &'p mut Problems,
}

enum ParseError {
    Syntax(ScanError),
    TooBig(Mark),
}

impl From<ScanError> for ParseError {
    fn from(error: ScanError) -> Self {
        ParseError::Syntax(error)
    }
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Option<Node>, ParseError> {
        let mut root = None;
        while let Some((event, span)) = self.parser.next().transpose()? {
            match event {
                Event::StreamStart | Event::StreamEnd => {}
                Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    let at = without_path(mark(&span));
                    self.problems.error(&at, "a second document (---): a file has one");
                    return Ok(root);
                }
                event => root = Some(self.node(event, span)?),
            }
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, ParseError> {
        let (mark, end) = (mark(&span), (span.end.line(), span.end.col()));
        self.count(mark, 1)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag, mark);
                (scalar(text, style), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag, mark);
                (self.list()?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag, mark);
                (self.map()?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, mark),
            _ => (Kind::Null, 0),
        };
        let node = Node { mark, end, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Kind, ParseError> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.parser.next().transpose()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span)?);
        }
        Ok(Kind::List(items))
    }

    fn map(&mut self) -> Result<Kind, ParseError> {
        let mut entries = Vec::new();
        while let Some((event, span)) = self.parser.next().transpose()? {
            if event == Event::MappingEnd {
                break;
            }
            let null_name = match &event {
                Event::Scalar(text, ..) => text.to_string(),
                _ => String::new(),
            };
            let key = self.node(event, span)?;
            let Some((event, span)) = self.parser.next().transpose()? else { break };
            let value = self.node(event, span)?;
            let mark = key.mark;
            match key.kind {
                Kind::Scalar(key) => entries.push(Entry { key, mark, value }),
                // A user may be called "null".
                Kind::Null if !null_name.is_empty() => {
                    entries.push(Entry { key: null_name, mark, value });
                }
                _ => self.problems.error(&without_path(mark), "a key must be a plain name"),
            }
        }
        Ok(Kind::Map(entries))
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<Node, ParseError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            self.problems
                .error(&without_path(mark), "this alias is inside the value that it repeats");
            return Ok(Node { mark, end: (mark.line, mark.column), kind: Kind::Null });
        };
        self.count(mark, node.size())?;
        Ok(node)
    }

    fn count(&mut self, mark: Mark, nodes: usize) -> Result<(), ParseError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES { Err(ParseError::TooBig(mark)) } else { Ok(()) }
    }

    /// Allows `!!str` and the like, which have no effect, since the key determines the type.
    fn refuse_tag(&mut self, tag: Option<Cow<'a, Tag>>, mark: Mark) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            self.problems.error(&without_path(mark), "YAML tags (!name) are not supported");
        }
    }
}

impl Node {
    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Null | Kind::Scalar(_) => 0,
            Kind::List(items) => items.iter().map(Node::size).sum(),
            Kind::Map(entries) => entries.iter().map(|e| 1 + e.value.size()).sum(),
        }
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Kind {
    let null = ["", "~", "null", "Null", "NULL"];
    match style {
        ScalarStyle::Plain if null.contains(&&*text) => Kind::Null,
        // A block scalar's line end is YAML's, not the operator's.
        ScalarStyle::Literal | ScalarStyle::Folded => Kind::Scalar(text.trim_end().to_owned()),
        _ => Kind::Scalar(text.into_owned()),
    }
}

fn mark(span: &Span) -> Mark {
    let one_line = span.start.line() == span.end.line();
    mark_at(span.start, if one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 })
}

fn mark_at(marker: granit_parser::Marker, width: usize) -> Mark {
    Mark { line: marker.line(), column: marker.col() + 1, width }
}

fn without_path(mark: Mark) -> Location {
    Location { mark, path: String::new() }
}
