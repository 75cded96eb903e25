//! The one function that makes what comes from outside printable: names, users, peers' words.
//!
//! A line stays one line, and nothing in it changes how the rest of it looks: line ends, control and
//! format characters (U+202E turns what follows around), other unprintable ones, and bytes that are no
//! UTF-8 are written as escapes.

use std::fmt::{self, Display, Write};

/// Where the text goes, and so which escapes are understood there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Prose,
    Quoted,
    Json,
}

/// Within a sentence: `\n`, `\u{202e}`, `\xNN`; quotes and backslashes stay. Done twice, it is as done
/// once.
pub fn printable(bytes: &[u8]) -> impl Display {
    Escaped { bytes, style: Style::Prose }
}

/// In quotes, as a value of a line of the log: as [`printable`], with `\"` and `\\`, so that it can be
/// read back byte for byte.
pub fn quoted(bytes: &[u8]) -> impl Display {
    Escaped { bytes, style: Style::Quoted }
}

/// A string of JSON, its quotes included. Valid UTF-8 is read back as it was; other bytes are read
/// back as the four characters `\xNN`.
pub fn json(bytes: &[u8]) -> impl Display {
    Escaped { bytes, style: Style::Json }
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

/// Whether a character shows as itself; `before` is what was written as itself just before. A mark
/// that combines stays behind what it may be a part of; at the begin of a value, or behind ASCII
/// punctuation, it would change what is not of the value.
fn is_printable(c: char, before: Option<char>) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if c.escape_debug().eq([c]) {
        return true;
    }
    // The standard library lets such marks stay anywhere but at the begin.
    let mut text = [b'x'; 5];
    let end = 1 + c.encode_utf8(&mut text[1..]).len();
    let combines = str::from_utf8(&text[..end]).is_ok_and(|text| text.escape_debug().eq(['x', c]));
    combines && before.is_some_and(|before| before.is_ascii_alphanumeric() || !before.is_ascii())
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
            // A mark that combines: in a word, at the begin, behind a slash.
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
        fn prose_is_printable_and_stays_when_escaped_again(bytes: Vec<u8>, text in "\\PC*|\\p{C}{0,9}|\\p{M}{0,9}") {
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
