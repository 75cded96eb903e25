//! Makes external input printable: names, users, replies of peers.
//!
//! A line stays one line, and the input cannot change how the rest of it looks: line ends, control and
//! format characters (U+202E reverses the text after it), other non-printable characters, and bytes that
//! are not UTF-8 are escaped.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// The longest value in a record, in bytes: longer than any path. Peers can send values of any length.
pub const VALUE_MAX: usize = 8 * 1024;

/// The context of the text, which determines the escapes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Prose,
    Quoted,
    Json,
}

/// For sentences: `\n`, `\u{202e}`, `\xNN`; quotes and backslashes stay. It is idempotent.
pub fn printable(bytes: &[u8]) -> impl Display {
    Escaped { bytes, style: Style::Prose }
}

/// A quoted value of a log line: as [`printable`], with `\"` and `\\`, so that it can be decoded byte for
/// byte.
pub fn quoted(bytes: &[u8]) -> impl Display {
    Escaped { bytes, style: Style::Quoted }
}

/// A JSON string with its quotes. Valid UTF-8 is preserved; other bytes are decoded as the four characters
/// `\xNN`.
pub fn json(bytes: &[u8]) -> impl Display {
    Escaped { bytes, style: Style::Json }
}

/// A value, or its start and its length if it is longer than [`VALUE_MAX`].
pub fn truncated(value: &[u8]) -> Cow<'_, [u8]> {
    if value.len() <= VALUE_MAX {
        return value.into();
    }
    // At a character boundary.
    let end = (VALUE_MAX - 3..=VALUE_MAX).rev().find(|at| value[*at] & 0xc0 != 0x80);
    let start = &value[..end.unwrap_or(VALUE_MAX)];
    [start, format!("… ({} bytes)", value.len()).as_bytes()].concat().into()
}

struct Escaped<'a> {
    bytes: &'a [u8],
    style: Style,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.style == Style::Prose { "" } else { "\"" };
        f.write_str(quote)?;
        escape(self.bytes, self.style, f)?;
        f.write_str(quote)
    }
}

fn escape(bytes: &[u8], style: Style, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut before = None;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                '"' | '\\' if style != Style::Prose => write!(out, "\\{c}")?,
                c if is_printable(c, before) => {
                    before = Some(c);
                    out.write_char(c)?;
                    continue;
                }
                c if style == Style::Json => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}")?;
                    }
                }
                c => write!(out, "\\u{{{:x}}}", u32::from(c))?,
            }
            before = None;
        }
        for byte in chunk.invalid() {
            out.write_str(if style == Style::Json { "\\\\" } else { "\\" })?;
            write!(out, "x{byte:02x}")?;
            before = None;
        }
    }
    Ok(())
}

/// Whether a character is printed unescaped; `before` is the unescaped character before it. A combining
/// mark is printed only after a character that it may combine with: at the start of a value, or after
/// ASCII punctuation, it would change the text around the value.
fn is_printable(c: char, before: Option<char>) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if c.escape_debug().eq([c]) {
        return true;
    }
    // The standard library escapes such marks at the start only.
    let mut text = [b'x'; 5];
    let end = 1 + c.encode_utf8(&mut text[1..]).len();
    let combines = str::from_utf8(&text[..end]).is_ok_and(|text| text.escape_debug().eq(['x', c]));
    combines && before.is_some_and(|before| before.is_ascii_alphanumeric() || !before.is_ascii())
}

/// The text, cut after so many characters.
pub fn shortened(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprintable_characters_and_bytes_are_escaped() {
        for (given, prose, quoted_, json_) in [
            ("/Größe 10 µm '日本'", "/Größe 10 µm '日本'", "\"/Größe 10 µm '日本'\"", None),
            ("a\r\n\tb", "a\\r\\n\\tb", "\"a\\r\\n\\tb\"", None),
            (
                "\0\x1b\x7f",
                "\\u{0}\\u{1b}\\u{7f}",
                "\"\\u{0}\\u{1b}\\u{7f}\"",
                Some("\"\\u0000\\u001b\\u007f\""),
            ),
            // C1, bidirectional override, line separator, zero-width space, private, unassigned.
            ("\u{85}", "\\u{85}", "\"\\u{85}\"", Some("\"\\u0085\"")),
            ("\u{202e}", "\\u{202e}", "\"\\u{202e}\"", Some("\"\\u202e\"")),
            (
                "\u{2028}\u{200b}",
                "\\u{2028}\\u{200b}",
                "\"\\u{2028}\\u{200b}\"",
                Some("\"\\u2028\\u200b\""),
            ),
            (
                "\u{e000}\u{f0000}",
                "\\u{e000}\\u{f0000}",
                "\"\\u{e000}\\u{f0000}\"",
                Some("\"\\ue000\\udb80\\udc00\""),
            ),
            ("c\" outcome=\"ok", "c\" outcome=\"ok", "\"c\\\" outcome=\\\"ok\"", None),
            ("a\\b", "a\\b", "\"a\\\\b\"", None),
            // A combining mark: in a word, at the start, after a slash.
            ("e\u{301}", "e\u{301}", "\"e\u{301}\"", None),
            ("\u{301}", "\\u{301}", "\"\\u{301}\"", Some("\"\\u0301\"")),
            ("/\u{301}", "/\\u{301}", "\"/\\u{301}\"", Some("\"/\\u0301\"")),
        ] {
            assert_eq!(printable(given.as_bytes()).to_string(), prose);
            assert_eq!(quoted(given.as_bytes()).to_string(), quoted_);
            assert_eq!(json(given.as_bytes()).to_string(), json_.unwrap_or(quoted_));
        }
        assert_eq!(printable(b"caf\xe9").to_string(), "caf\\xe9");
        assert_eq!(quoted(b"caf\xe9\\xe9").to_string(), "\"caf\\xe9\\\\xe9\"");
        assert_eq!(json(b"caf\xe9").to_string(), "\"caf\\\\xe9\"");
    }

    proptest::proptest! {
        #[test]
        fn prose_is_printable_and_escaping_is_idempotent(bytes: Vec<u8>, text in "\\PC*|\\p{C}{0,9}|\\p{M}{0,9}") {
            for given in [&bytes[..], text.as_bytes()] {
                let once = printable(given).to_string();
                assert!(once.chars().all(|c| c == ' ' || !c.is_whitespace() && !c.is_control()));
                assert_eq!(printable(once.as_bytes()).to_string(), once);
            }
        }

        #[test]
        fn json_is_read_back_as_it_was(text in "\\PC*|\\p{C}{0,9}|.*") {
            let read: String = serde_json::from_str(&json(text.as_bytes()).to_string()).unwrap();
            assert_eq!(read, text);
        }
    }
}
