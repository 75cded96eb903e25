//! Numbers, sizes, durations, names and paths.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Value};
use crate::op::{RemotePath, TextPathError};

impl Value for bool {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let message = format!("\"{text}\" is neither true nor false");
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Invalid::with_suggestion(message, "true"),
                "false" | "no" | "off" | "0" => Invalid::with_suggestion(message, "false"),
                _ => Invalid::new(message),
            },
        }
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

/// A whole number from 1.
#[derive(Clone, Copy)]
pub(in crate::config) struct Count(pub u32);

impl Value for Count {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(0) => Invalid::new("must be at least 1"),
            Ok(number) => Ok(Self(number)),
            Err(_) => {
                let digits = text.replace(['_', ',', '\'', ' '], "");
                let message = format!("\"{text}\" is not a whole number from 1 to {}", u32::MAX);
                let suggestion = digits.parse::<u32>().ok().filter(|number| *number > 0);
                Err(Invalid { message, suggestion: suggestion.map(|number| number.to_string()) })
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
    }
}

/// A whole number from 1 to `MAX`.
#[derive(Clone, Copy)]
pub(in crate::config) struct UpTo<const MAX: u32>(pub u32);

impl<const MAX: u32> Value for UpTo<MAX> {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match Count::parse(text)? {
            Count(number) if number <= MAX => Ok(Self(number)),
            _ => Invalid::with_suggestion(format!("must be at most {MAX}"), MAX.to_string()),
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": MAX })
    }
}

const UNITS: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Parses a size such as 512MiB; `None` on overflow.
pub(super) fn parse_bytes(text: &str) -> Result<Option<u64>, Invalid> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let message = format!("\"{text}\" is not a size such as 512MiB or 1GiB");
    let Ok(number) = number.parse::<u64>() else { return Invalid::new(message) };
    let Some((_, factor)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        // "1GB", "1 GiB", "1g"
        let initial = unit.trim().to_ascii_uppercase();
        let suggestion = UNITS.iter().find(|(known, _)| {
            initial.chars().next().is_some_and(|initial| known.starts_with(initial))
        });
        return Err(Invalid {
            message,
            suggestion: suggestion.map(|(unit, _)| format!("{number}{unit}")),
        });
    };
    Ok(number.checked_mul(*factor))
}

/// "64MiB": from 0 to 1024 GiB.
#[derive(Clone, Copy)]
pub(in crate::config) struct Bytes(pub u64);

impl Value for Bytes {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "0" {
            return Ok(Self(0));
        }
        match parse_bytes(text)? {
            Some(bytes) if bytes <= 1 << 40 => Ok(Self(bytes)),
            _ => Invalid::new(format!("\"{text}\" is more than 1024GiB")),
        }
    }

    fn schema() -> Json {
        json!({ "title": "a size, or 0", "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$" },
            { "type": "integer", "const": 0 },
        ] })
    }
}

impl Value for Duration {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let message = format!("\"{text}\" is not a duration such as 30s, 5m or 1h30m");
        match humantime::parse_duration(text) {
            // humantime accepts a bare zero.
            Ok(duration) if text != "0" => Ok(duration),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => {
                Invalid::with_suggestion("a duration needs a unit", format!("{text}s"))
            }
            _ => Invalid::new(message),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a duration, or 0s" })
    }
}

/// A duration that is not zero.
#[derive(Clone, Copy)]
pub(in crate::config) struct Positive(pub Duration);

impl Value for Positive {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match Duration::parse(text)? {
            Duration::ZERO => Invalid::new("must be longer than zero"),
            duration => Ok(Self(duration)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a duration" })
    }
}

/// A name or the like: not empty, without control characters, which neither logs nor FTP preserve.
#[derive(Clone)]
pub(in crate::config) struct Text(pub String);

impl Value for Text {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Invalid::new("is empty");
        }
        if text.chars().any(char::is_control) {
            return Invalid::new("contains a control character");
        }
        Ok(Self(text.into()))
    }
}

/// A file that is read with the configuration, as written.
#[derive(Clone)]
pub(in crate::config) struct FileName(pub PathBuf);

impl Value for FileName {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let Text(name) = Text::parse(text)?;
        Ok(Self(name.into()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a file" })
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

/// A file or folder that the configuration only names: one that is written, a socket, or one that is watched
/// by itself.
#[derive(Clone)]
pub(in crate::config) struct PathName(pub PathBuf);

impl Value for PathName {
    fn parse(text: &str) -> Result<Self, Invalid> {
        FileName::parse(text).map(|FileName(name)| Self(name))
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a file or folder of this machine" })
    }
}

impl AsRef<Path> for FileName {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for PathName {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// A pattern over user names.
pub(in crate::config) struct UserGlob(pub globset::Glob);

impl Value for UserGlob {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let Text(pattern) = Text::parse(text)?;
        match globset::Glob::new(&pattern) {
            Ok(glob) => Ok(Self(glob)),
            Err(e) => Invalid::new(format!("\"{text}\" is not a valid pattern: {}", e.kind())),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a name or a pattern" })
    }
}

impl Value for RemotePath {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::from_text(text).map_err(|wrong| {
            let suggestion = (wrong == TextPathError::Relative).then(|| format!("/{text}"));
            Invalid { message: wrong.to_string(), suggestion }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "an absolute path" })
    }
}
