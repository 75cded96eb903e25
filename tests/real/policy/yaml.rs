//! Reads YAML into JSON values; every scalar is a string.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

pub fn parse(text: &str) -> Value {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let events = parser.map(|event| event.expect("YAML").0);
    let mut events =
        events.filter(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(..)));
    let first = events.next().expect("a document");
    value(first, &mut events)
}

fn value<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if text == "~" => Value::Null,
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().expect("the end of a list") {
                    Event::SequenceEnd => return Value::Array(items),
                    event => items.push(value(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                let key = match events.next().expect("the end of a map") {
                    Event::MappingEnd => return Value::Object(map),
                    Event::Scalar(text, ..) => text.into_owned(),
                    other => panic!("no key: {other:?}"),
                };
                let item = events.next().expect("a value");
                let item = value(item, events);
                let earlier = map.insert(key.clone(), item);
                assert!(earlier.is_none(), "{key} is there twice");
            }
        }
        other => panic!("unexpected: {other:?}"),
    }
}
