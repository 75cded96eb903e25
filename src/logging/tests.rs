//! Values of peers can forge neither lines nor fields.

use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::op::RemotePath;
use crate::op::escape::VALUE_MAX;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The line that `log` writes, without its end.
fn written(format: LogFormat, log: impl FnOnce()) -> String {
    let lines = Lines::default();
    let builder = fmt::fmt().with_writer(lines.clone()).with_ansi(false);
    match format {
        LogFormat::Text => {
            let subscriber = builder.event_format(TextLine).fmt_fields(TextFields).finish();
            tracing::subscriber::with_default(subscriber, log);
        }
        LogFormat::Json => {
            let subscriber = builder.event_format(JsonLine).fmt_fields(JsonFields).finish();
            tracing::subscriber::with_default(subscriber, log);
        }
    }
    let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    written.strip_suffix('\n').unwrap().to_owned()
}

/// Parses a line of text into its message and fields.
fn parse(line: &str) -> (String, Vec<(String, Vec<u8>)>) {
    let mut rest = line.split_once(" INFO ").unwrap().1;
    let message = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (message, after) = unquote(quoted);
            rest = after.trim_start();
            String::from_utf8(message).unwrap()
        }
        None => {
            let end =
                rest.find('=').map_or(rest.len(), |equals| rest[..equals].rfind(' ').unwrap());
            let message = rest[..end].to_owned();
            rest = rest[end..].trim_start();
            message
        }
    };
    let mut fields = vec![];
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{name:?} in {line}");
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find(' ').unwrap_or(value.len());
                (value.as_bytes()[..end].to_vec(), &value[end..])
            }
        };
        fields.push((name.to_owned(), value));
        assert!(after.is_empty() || after.starts_with(' '), "{line}");
        rest = after.trim_start();
    }
    (message, fields)
}

/// The text before the closing quote, unescaped, and the rest.
fn unquote(text: &str) -> (Vec<u8>, &str) {
    let mut value = vec![];
    let mut rest = text.chars();
    loop {
        match rest.next().expect("a closing quote") {
            '"' => return (value, rest.as_str()),
            '\\' => match rest.next().unwrap() {
                'n' => value.push(b'\n'),
                'r' => value.push(b'\r'),
                't' => value.push(b'\t'),
                'x' => {
                    let (digits, after) = rest.as_str().split_at(2);
                    value.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = after.chars();
                }
                'u' => {
                    let (digits, after) =
                        rest.as_str().strip_prefix('{').unwrap().split_once('}').unwrap();
                    let c = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
                    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = after.chars();
                }
                c @ ('"' | '\\') => value.push(c as u8),
                c => panic!("\\{c} in {text}"),
            },
            c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// No line end, cursor movement or change of direction.
fn is_printable(line: &str) -> bool {
    line.chars().all(|c| {
        !c.is_control()
            && (c == ' ' || !c.is_whitespace())
            && !matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
    })
}

fn hostile_text() -> impl Strategy<Value = String> {
    const PIECES: &[&str] =
        &["\"", "\\", " outcome=\"ok\"", "=", "\n", "\u{202e}", "\u{2028}", "\u{9b}", "é"];
    let piece = prop_oneof![
        proptest::sample::select(PIECES).prop_map(str::to_owned),
        "\\PC{0,4}|.{0,4}|\\p{C}{0,2}|\\p{M}{0,2}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let either = (hostile_text(), any::<Vec<u8>>(), any::<bool>());
    either.prop_map(|(text, bytes, both)| {
        let text = text.into_bytes();
        if both { [text, bytes].concat() } else { text }
    })
}

proptest! {
    #[test]
    fn text_has_exactly_the_given_fields(
        path in hostile_bytes(), user in hostile_bytes(), detail in hostile_text(), text in hostile_text(),
    ) {
        let line = written(LogFormat::Text, || {
            let (path, user, shown) = (path.as_slice(), user.as_slice(), &detail);
            let seconds = 0.25;
            let peer: std::net::SocketAddr = "[2001:db8::1]:21".parse().unwrap();
            tracing::info!(user, path, %shown, debug = ?text, detail, seconds, bytes = 7, %peer, outcome = "failed", "a transfer");
        });
        prop_assert!(is_printable(&line), "{line:?}");
        let (message, fields) = parse(&line);
        let expected: [(&str, &[u8]); 9] = [
            ("user", &user),
            ("path", &path),
            ("shown", detail.as_bytes()),
            ("debug", &format!("{text:?}").into_bytes()),
            ("detail", detail.as_bytes()),
            ("seconds", b"0.25"),
            ("bytes", b"7"),
            ("peer", b"[2001:db8::1]:21"),
            ("outcome", b"failed"),
        ];
        prop_assert_eq!(message, "a transfer");
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        prop_assert_eq!(fields, expected);
    }

    #[test]
    fn a_message_cannot_forge_a_field_in_text(text in hostile_text()) {
        let line = written(LogFormat::Text, || tracing::info!(outcome = "failed", "a peer text {text}"));
        prop_assert!(is_printable(&line), "{line:?}");
        prop_assert_eq!(parse(&line).1, [("outcome".to_owned(), b"failed".to_vec())]);
    }

    #[test]
    fn json_has_exactly_the_given_fields(
        path in hostile_bytes(), user in hostile_text(), detail in hostile_text(), text in hostile_text(),
    ) {
        let line = written(LogFormat::Json, || {
            let (path, user, shown) = (path.as_slice(), user.as_bytes(), &detail);
            tracing::info!(user, path, %shown, detail, seconds = 0.25, none = f64::NAN, yes = true, bytes = -7, "a peer text {text}");
        });
        prop_assert!(is_printable(&line), "{line:?}");
        let line: Value = serde_json::from_str(&line).unwrap();
        let path = match String::from_utf8(path) {
            Ok(path) => path,
            Err(error) => {
                let chunks = error.as_bytes().utf8_chunks();
                let readable = chunks.map(|chunk| {
                    let bytes = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
                    chunk.valid().to_owned() + &bytes.collect::<String>()
                });
                readable.collect()
            }
        };
        let fields = serde_json::json!({
            "message": format!("a peer text {text}"),
            "user": user,
            "path": path,
            "shown": detail,
            "detail": detail,
            "seconds": 0.25,
            "none": null,
            "yes": true,
            "bytes": -7,
        });
        prop_assert_eq!(&line["fields"], &fields);
        prop_assert_eq!(&line["level"], "INFO");
        prop_assert_eq!(&line["target"], module_path!());
        prop_assert!(humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).is_ok());
        prop_assert_eq!(line.as_object().unwrap().len(), 4);
    }
}

#[test]
fn absent_values_are_omitted_and_names_stay_readable_in_text() {
    let path = RemotePath::resolve(&RemotePath::root(), "/Größe 10 µm".as_bytes()).unwrap();
    let line = written(LogFormat::Text, || {
        let size = Some(5_u64);
        let most = Some(3);
        tracing::info!(path = path.as_bytes(), size, ?most, none = None::<u64>, user = "a", "kept");
    });
    let (_, line_after_level) = line.split_once(" INFO ").unwrap();
    assert_eq!(line_after_level, "kept path=\"/Größe 10 µm\" size=5 most=\"Some(3)\" user=\"a\"");
}

#[test]
fn only_names_are_coloured() {
    let lines = Lines::default();
    let builder = fmt::fmt().with_writer(lines.clone()).with_ansi(true).event_format(TextLine);
    tracing::subscriber::with_default(builder.fmt_fields(TextFields).finish(), || {
        tracing::info!(path = &b"\x1b[31m"[..], "kept");
    });
    let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let expected = "kept \x1b[3mpath\x1b[0m\x1b[2m=\x1b[0m\"\\u{1b}[31m\"\n";
    assert!(written.ends_with(expected), "{written:?}");
}

#[test]
fn a_long_value_is_truncated_with_its_length() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let long = format!("a{}", "é".repeat(500_000));
        let line = written(format, || {
            tracing::info!(bytes = long.as_bytes(), text = long, shown = %long, debug = ?long, "text {long}");
        });
        assert!(line.len() < 6 * VALUE_MAX, "{}", line.len());
        // Three unquoted, one in quotes, and the message.
        for (length, count) in [(1_000_001, 3), (1_000_003, 1), (1_000_006, 1)] {
            assert_eq!(line.matches(&format!("éé… ({length} bytes)")).count(), count, "{length}");
        }
        let longest = "p".repeat(VALUE_MAX);
        let line = written(format, || tracing::info!(path = longest.as_bytes(), "kept"));
        assert!(line.contains(&format!("\"{longest}\"")));
    }
}

#[test]
fn a_line_names_the_session_that_it_belongs_to_once() {
    for (format, session) in [
        (LogFormat::Text, "session=7 user=\"a\\\" b=\\\"c\""),
        (LogFormat::Json, "\"session\":7,\"user\":\"a\\\" b=\\\"c\""),
    ] {
        let in_session = |log: fn()| {
            let connection = || tracing::error_span!(parent: None, "connection", session = 7);
            let session = || {
                let user = &b"a\" b=\"c"[..];
                tracing::error_span!(parent: None, "session", session = 7, user)
            };
            written(format, || connection().in_scope(|| session().in_scope(log)))
        };
        let line = in_session(|| tracing::info!(size = 5, "kept"));
        assert!(line.contains(session), "{line}");
        assert_eq!(line.matches("session").count(), 1, "{line}");
        let record = in_session(|| tracing::info!(session = 7, "kept"));
        assert!(!record.contains("user"), "{record}");
        let other = written(format, || {
            tracing::info_span!("other", x = 1).in_scope(|| tracing::info!("kept"));
        });
        assert!(!other.contains('x'), "{other}");
    }
}
