//! What clients read before or after a login.

use super::escape::printable;

/// The longest greeting in bytes, with its line ends.
pub const MAX_GREETING: usize = 8192;
/// The longest line of a greeting in bytes: some FTP clients keep no more of a reply's line.
pub const MAX_GREETING_LINE: usize = 500;

/// A text of one or more lines for clients: no control or format characters, and bounded. Protocols add what
/// marks its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting(Vec<String>);

/// Why a text is no [`Greeting`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// It has no line with a visible character.
    #[error("is empty")]
    Empty,
    /// A line is longer than [`MAX_GREETING_LINE`]. Its number, from 1.
    #[error("has more than {MAX_GREETING_LINE} bytes in line {0}; break the line")]
    LineTooLong(usize),
    /// It is longer than [`MAX_GREETING`].
    #[error("has more than {MAX_GREETING} bytes")]
    TooLong,
    /// A character that could change what a terminal shows, as in the log. The number of its line, from 1, and
    /// the character, escaped.
    #[error("contains a control or format character in line {0} (`{1}`)")]
    Control(usize, String),
}

impl Greeting {
    /// Lines end in LF or CRLF; empty lines at the end do not count.
    pub fn new(text: &str) -> Result<Self, GreetingError> {
        let lines: Vec<&str> = text.trim_end_matches(['\r', '\n', ' ']).lines().collect();
        for (number, line) in (1..).zip(&lines) {
            if let Some(character) = first_escaped(line) {
                return Err(GreetingError::Control(number, character));
            }
            if line.len() > MAX_GREETING_LINE {
                return Err(GreetingError::LineTooLong(number));
            }
        }
        if lines.iter().all(|line| line.trim().is_empty()) {
            return Err(GreetingError::Empty);
        }
        if lines.iter().map(|line| line.len() + 2).sum::<usize>() > MAX_GREETING {
            return Err(GreetingError::TooLong);
        }
        Ok(Self(lines.into_iter().map(str::to_owned).collect()))
    }

    /// Its lines, at least one, without line ends.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

fn first_escaped(line: &str) -> Option<String> {
    let shown = printable(line.as_bytes()).to_string();
    let (character, _) = line.chars().zip(shown.chars()).find(|(given, shown)| given != shown)?;
    Some(character.escape_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        Greeting::new(text).unwrap().lines().to_vec()
    }

    #[test]
    fn lines_are_kept_without_their_ends() {
        assert_eq!(lines("Welcome"), ["Welcome"]);
        assert_eq!(lines("a\n\n  b\n\n"), ["a", "", "  b"]);
        assert_eq!(lines("a\r\nb\r\n"), ["a", "b"]);
        assert_eq!(lines("\n220 Größe\n220-x  "), ["", "220 Größe", "220-x"]);
        assert_eq!(lines(&"x".repeat(MAX_GREETING_LINE)).len(), 1);
        assert_eq!(lines(&"x\n".repeat(MAX_GREETING / 3)).len(), MAX_GREETING / 3);
    }

    #[test]
    fn other_characters_and_long_texts_are_refused() {
        let line = "x".repeat(MAX_GREETING_LINE);
        for (text, expected) in [
            ("", GreetingError::Empty),
            (" \r\n \n", GreetingError::Empty),
            ("a\rb", GreetingError::Control(1, "\\r".into())),
            ("a\nb\tc", GreetingError::Control(2, "\\t".into())),
            ("\u{1b}[2J", GreetingError::Control(1, "\\u{1b}".into())),
            ("a\0", GreetingError::Control(1, "\\u{0}".into())),
            ("\u{85}", GreetingError::Control(1, "\\u{85}".into())),
            ("a\n\u{202e}b", GreetingError::Control(2, "\\u{202e}".into())),
            (&format!("a\n{line}y"), GreetingError::LineTooLong(2)),
            (&format!("{line}\n").repeat(17), GreetingError::TooLong),
        ] {
            assert_eq!(Greeting::new(text), Err(expected), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_greeting_is_bounded_and_printable(text: String) {
            let Ok(greeting) = Greeting::new(&text) else { return Ok(()) };
            let whole = greeting.lines().join("\r\n");
            assert!(!greeting.lines().is_empty() && whole.len() <= MAX_GREETING);
            assert!(greeting.lines().iter().all(|line| !line.chars().any(char::is_control)));
        }
    }
}
