use std::path::PathBuf;
use std::time::Duration;

use argon2::password_hash::PasswordHash;
use serde_json::{Value as Json, json};

use crate::config::leaf::{Value, Wrong};
use crate::op::RemotePath;
use crate::route::Root;

impl Value for bool {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let message = format!("\"{text}\" is neither true nor false");
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Wrong::meant(message, "true"),
                "false" | "no" | "off" | "0" => Wrong::meant(message, "false"),
                _ => Wrong::new(message),
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
    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.parse() {
            Ok(0) => Wrong::new("must be at least 1"),
            Ok(number) => Ok(Self(number)),
            Err(_) => {
                let digits = text.replace(['_', ',', '\'', ' '], "");
                let message = format!("\"{text}\" is no whole number from 1 to {}", u32::MAX);
                let meant = digits.parse::<u32>().ok().filter(|number| *number > 0);
                Err(Wrong { message, meant: meant.map(|number| number.to_string()) })
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
    fn parse(text: &str) -> Result<Self, Wrong> {
        match Count::parse(text)? {
            Count(number) if number <= MAX => Ok(Self(number)),
            _ => Wrong::meant(format!("must be at most {MAX}"), MAX.to_string()),
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": MAX })
    }
}

const UNITS: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Of a size such as 512MiB; `None` where it is more than can be counted.
pub(super) fn parse_bytes(text: &str) -> Result<Option<u64>, Wrong> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let message = format!("\"{text}\" is no size such as 512MiB or 1GiB");
    let Ok(number) = number.parse::<u64>() else { return Wrong::new(message) };
    let Some((_, factor)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        // "1GB", "1 GiB", "1g"
        let initial = unit.trim().to_ascii_uppercase();
        let meant = UNITS.iter().find(|(known, _)| {
            initial.chars().next().is_some_and(|initial| known.starts_with(initial))
        });
        return Err(Wrong { message, meant: meant.map(|(unit, _)| format!("{number}{unit}")) });
    };
    Ok(number.checked_mul(*factor))
}

/// "64MiB": from 0 to 1024 GiB.
#[derive(Clone, Copy)]
pub(in crate::config) struct Bytes(pub u64);

impl Value for Bytes {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "0" {
            return Ok(Self(0));
        }
        match parse_bytes(text)? {
            Some(bytes) if bytes <= 1 << 40 => Ok(Self(bytes)),
            _ => Wrong::new(format!("\"{text}\" is more than 1024GiB")),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$" },
            { "type": "integer", "const": 0 },
        ] })
    }
}

impl Value for Duration {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let message = format!("\"{text}\" is no duration such as 30s, 5m or 1h30m");
        match humantime::parse_duration(text) {
            // humantime takes a bare zero.
            Ok(duration) if text != "0" => Ok(duration),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => {
                Wrong::meant("a duration needs a unit", format!("{text}s"))
            }
            _ => Wrong::new(message),
        }
    }
}

/// A duration that is not zero.
#[derive(Clone, Copy)]
pub(in crate::config) struct Positive(pub Duration);

impl Value for Positive {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match Duration::parse(text)? {
            Duration::ZERO => Wrong::new("must be longer than nothing"),
            duration => Ok(Self(duration)),
        }
    }
}

/// A name or the like: not empty, no control characters, since none survives in a log or in FTP.
#[derive(Clone)]
pub(in crate::config) struct Text(pub String);

impl Value for Text {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            return Wrong::new("is empty");
        }
        if text.chars().any(char::is_control) {
            return Wrong::new("holds a control character");
        }
        Ok(Self(text.into()))
    }
}

/// A file or folder, as written.
#[derive(Clone)]
pub(in crate::config) struct FileName(pub PathBuf);

impl Value for FileName {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let Text(name) = Text::parse(text)?;
        Ok(Self(name.into()))
    }
}

/// A pattern over user names.
pub(in crate::config) struct UserGlob(pub globset::Glob);

impl Value for UserGlob {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let Text(pattern) = Text::parse(text)?;
        match globset::Glob::new(&pattern) {
            Ok(glob) => Ok(Self(glob)),
            Err(e) => Wrong::new(format!("\"{text}\" is no pattern: {}", e.kind())),
        }
    }
}

impl Value for RemotePath {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let Text(path) = Text::parse(text)?;
        if !path.starts_with('/') {
            return Wrong::meant("must be absolute: begin with a slash", format!("/{path}"));
        }
        if path.split('/').any(|part| part == "..") {
            return Wrong::new("must not hold \"..\"");
        }
        RemotePath::resolve(&RemotePath::root(), path.as_bytes())
            .or_else(|e| Wrong::new(e.to_string()))
    }
}

impl Value for Root {
    fn parse(text: &str) -> Result<Self, Wrong> {
        const HOME: &str = "home";
        if text == HOME {
            return Ok(Self::Home);
        }
        RemotePath::parse(text).map(Self::Path).map_err(|wrong| match text {
            "~" | "~/" | "Home" | "HOME" => Wrong { meant: Some(HOME.into()), ..wrong },
            _ => wrong,
        })
    }
}

/// The hash of a password, as `lockgate hash-password` prints it.
#[derive(Clone)]
pub(in crate::config) struct Argon2id(pub String);

impl Value for Argon2id {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let no = |what: &str| Wrong::new(format!("{what}; make one with `lockgate hash-password`"));
        if !text.starts_with('$') {
            return no("is no password hash (\"$argon2id$…\")");
        }
        // Some shells and templates take "$argon2id" for a variable.
        let Ok(hash) = PasswordHash::new(text) else {
            return no("is a damaged password hash (is it in single quotes, and whole?)");
        };
        if hash.algorithm != argon2::ARGON2ID_IDENT {
            return no(&format!("is a hash of kind {}; only argon2id is taken", hash.algorithm));
        }
        if hash.salt.is_none() || hash.hash.is_none() || argon2::Params::try_from(&hash).is_err() {
            return no("is a damaged password hash (is it whole?)");
        }
        Ok(Self(text.into()))
    }
}
