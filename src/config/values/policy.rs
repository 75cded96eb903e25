//! Values of `policy`: operations, paths, extensions, days, hours and time zones.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::config::leaf::{Choice, Invalid, Value};
use crate::config::nearest::nearest;
use crate::op::Effect;
use crate::policy::{Names, PathPattern, Protocol};
use crate::wire::ftp::command::{COMMANDS, is_command_name};

/// An operation in `allow`, `deny` or `hide`.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) enum OperationWord {
    /// `all` operations; no command.
    All,
    Effect(Effect),
    /// An FTP command in upper case: "STOU", "SITE CHMOD".
    Command(String),
    /// One that the gateway does not know, which only an opaque server may: "SITE LRECL".
    OtherCommand(String),
}

/// Words that mean one of the operations elsewhere.
const SYNONYMS: [(&str, &str); 14] = [
    ("write", "create, overwrite, append"),
    ("upload", "create"),
    ("download", "read"),
    ("get", "read"),
    ("put", "create"),
    ("remove", "delete"),
    ("unlink", "delete"),
    ("stat", "list"),
    ("cwd", "list"),
    ("chmod", "attributes"),
    ("symlink", "link"),
    ("*", "all"),
    ("any", "all"),
    ("make-directory", "mkdir"),
];

impl Value for OperationWord {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some((_, effect)) = Effect::ALL.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Effect(*effect));
        }
        if COMMANDS.contains(&text) {
            return Ok(Self::Command(text.to_owned()));
        }
        let lower = text.to_ascii_lowercase();
        let is_operation =
            Effect::ALL.iter().map(|(name, _)| *name).chain(["all"]).any(|it| it == lower)
                || SYNONYMS.iter().any(|(word, _)| *word == lower);
        if is_command_name(text) && !is_operation {
            return Ok(Self::OtherCommand(text.to_owned()));
        }
        Err(Self::unknown(text))
    }

    fn schema() -> Json {
        let names = Effect::ALL.iter().map(|(name, _)| *name).chain(["all"]).chain(COMMANDS);
        let other = json!({ "type": "string", "pattern": "^([A-Z]{3,8}|SITE [A-Z][A-Z0-9_]*)$" });
        json!({ "title": "an operation or an FTP command", "anyOf": [{ "enum": names.collect::<Vec<_>>() }, other] })
    }
}

impl OperationWord {
    /// The mistake in a word that is neither an operation nor a command that the gateway knows.
    pub(in crate::config) fn unknown(text: &str) -> Invalid {
        let message = format!("\"{text}\" is neither an operation nor an FTP command");
        if let Some((_, meant)) = SYNONYMS.iter().find(|(word, _)| *word == text) {
            return Invalid { message, suggestion: Some((*meant).to_owned()) };
        }
        let names = Effect::ALL.iter().map(|(name, _)| *name).chain(["all"]);
        let upper = text.to_ascii_uppercase();
        let lower = text.to_ascii_lowercase();
        let suggestion = nearest(&lower, names.clone())
            .or_else(|| COMMANDS.contains(&upper.as_str()).then(|| upper.clone()))
            .or_else(|| nearest(&upper, COMMANDS.into_iter().filter(|it| it.len() > 3)));
        let message = match suggestion {
            Some(_) => message,
            None => format!("{message}; operations are: {}", names.collect::<Vec<_>>().join(", ")),
        };
        Invalid { message, suggestion }
    }
}

impl Value for PathPattern {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Invalid::new("is empty or contains a control character");
        }
        if !text.starts_with('/') {
            let message = format!("\"{text}\" can never match: paths start with a slash");
            let meant =
                if text.starts_with("**") { format!("/{text}") } else { format!("/**/{text}") };
            return Invalid::with_suggestion(message, meant);
        }
        if text.len() > 1 && text.ends_with('/') {
            let message = format!("\"{text}\" can never match: paths do not end with a slash");
            let folder = text.trim_end_matches('/');
            return Invalid::with_suggestion(message, format!("{folder}/**"));
        }
        if let Some(part) = text.split('/').skip(1).find(|part| matches!(*part, "" | "." | ".."))
            && text != "/"
        {
            let message =
                format!("\"{text}\" can never match: paths are absolute, without \"/{part}/\"");
            return Invalid::new(message);
        }
        Self::new(text)
            .or_else(|e| Invalid::new(format!("\"{text}\" is not a valid pattern: {}", e.kind())))
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a pattern" })
    }
}

/// A file extension in lower case, without the dot.
pub(in crate::config) struct Extension(pub Vec<u8>);

impl Value for Extension {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let bare = text.trim_start_matches(['*', '.']);
        if bare != text && !bare.is_empty() {
            return Invalid::with_suggestion("an extension is written without the dot", bare);
        }
        if text.is_empty()
            || text.contains(['/', '.', '*', '?'])
            || text.chars().any(char::is_control)
        {
            let message =
                format!("\"{text}\" is not an extension such as csv; patterns are for `paths`");
            return Invalid::new(message);
        }
        Ok(Self(text.to_ascii_lowercase().into_bytes()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "an extension" })
    }
}

/// A pattern over file names, without case.
pub(in crate::config) struct NameGlob(pub globset::Glob);

impl Value for NameGlob {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Invalid::new("is empty or contains a control character");
        }
        if text.contains('/') {
            let message = format!(
                "\"{text}\" can never match: it is compared with the file's name, without folders; \
                 `match.paths` is for paths"
            );
            return Invalid::new(message);
        }
        match globset::GlobBuilder::new(text).case_insensitive(true).build() {
            Ok(glob) => Ok(Self(glob)),
            Err(e) => Invalid::new(format!("\"{text}\" is not a valid pattern: {}", e.kind())),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a pattern" })
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A weekday, or a range of them ("mon-fri", "fri-mon").
pub(in crate::config) struct Days(pub Vec<Weekday>);

impl Value for Days {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let day = |word: &str| {
            DAYS.iter().find(|(name, _)| *name == word).map(|(_, day)| *day).ok_or_else(|| {
                let message =
                    format!("\"{text}\" is not a weekday such as mon, or a range such as mon-fri");
                let short: String = word.to_lowercase().chars().take(3).collect();
                let known = DAYS.iter().any(|(name, _)| *name == short) && !text.contains('-');
                Invalid { message, suggestion: known.then_some(short) }
            })
        };
        let Some((first, last)) = text.split_once('-') else { return Ok(Self(vec![day(text)?])) };
        let (first, last) = (day(first)?, day(last)?);
        let mut days = Vec::new();
        for next in first.cycle_forward().take(7) {
            days.push(next);
            if next == last {
                break;
            }
        }
        Ok(Self(days))
    }

    fn schema() -> Json {
        let day = "(mon|tue|wed|thu|fri|sat|sun)";
        json!({ "type": "string", "title": "a weekday or a range", "pattern": format!("^{day}(-{day})?$") })
    }
}

/// "08:00-18:00"; the end may be 24:00, and lies on the next day if it is before the start.
pub(in crate::config) struct Hours(pub Time, pub Time);

impl Value for Hours {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let message = format!("\"{text}\" is not a range of hours such as \"08:00-18:00\"");
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let digits = |text: &str| {
                let valid = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
                valid.then(|| text.parse::<i8>().ok()).flatten()
            };
            match (digits(hour)?, digits(minute)?) {
                (24, 0) => Some(Time::midnight()),
                (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
            }
        };
        let times = text.split_once('-').and_then(|(start, end)| Some((time(start)?, time(end)?)));
        match times {
            Some((start, end)) if start == end && text.ends_with("24:00") => {
                Invalid::new("is the whole day; remove the key")
            }
            Some((start, end)) if start == end => Invalid::new("is empty: it ends when it starts"),
            Some((start, end)) => Ok(Self(start, end)),
            None => Invalid::new(message),
        }
    }

    fn schema() -> Json {
        let time = "([01][0-9]|2[0-4]):[0-5][0-9]";
        json!({ "type": "string", "title": "a time of day to another", "pattern": format!("^{time}-{time}$") })
    }
}

impl Value for TimeZone {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::get(text).map_err(|_| {
            let message = format!(
                "\"{text}\" is not a time zone of the IANA database, such as Europe/Berlin or UTC"
            );
            let names: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let suggestion = nearest(text, names.iter().map(String::as_str));
            Invalid { message, suggestion }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a time zone" })
    }
}

impl Choice for Protocol {
    const ALL: &'static [(&'static str, Self)] = &[("ftp", Self::Ftp), ("sftp", Self::Sftp)];
}

impl Choice for Names {
    const ALL: &'static [(&'static str, Self)] =
        &[("exact", Self::Exact), ("windows", Self::Windows)];
}
