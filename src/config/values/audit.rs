//! Values of `audit`.

use serde_json::{Value as Json, json};

use crate::audit::{Facility, Format, WhenUnavailable};
use crate::config::leaf::{Choice, Invalid, Value};
use crate::config::nearest::nearest;

const LOCAL: &str = "local";

impl Choice for Format {
    const ALL: &'static [(&'static str, Self)] =
        &[("json", Self::Json), ("xferlog", Self::Xferlog)];
}

impl Choice for WhenUnavailable {
    const ALL: &'static [(&'static str, Self)] =
        &[("serve", Self::Serve), ("refuse", Self::Refuse)];
}

/// `syslog.tls`.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum SyslogTls {
    Required,
    None,
}

impl Choice for SyslogTls {
    const ALL: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("none", Self::None)];
}

const FACILITIES: &[(&str, Facility)] = &[
    ("daemon", Facility::Daemon),
    ("auth", Facility::Auth),
    ("authpriv", Facility::AuthPriv),
    ("ftp", Facility::Ftp),
    ("audit", Facility::Audit),
];

impl Value for Facility {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some((_, facility)) = FACILITIES.iter().find(|(word, _)| *word == text) {
            return Ok(*facility);
        }
        let number = text.strip_prefix(LOCAL).and_then(|number| number.parse().ok());
        if let Some(number @ 0..=7) = number {
            return Ok(Self::Local(number));
        }
        let words = || FACILITIES.iter().map(|(word, _)| *word);
        let listed = words().collect::<Vec<_>>().join(", ");
        let message = format!("\"{text}\" is not one of {listed}, local0 to local7");
        Err(Invalid { message, suggestion: nearest(text, words()) })
    }

    fn schema() -> Json {
        let words = FACILITIES.iter().map(|(word, _)| (*word).to_owned());
        let all: Vec<_> = words.chain((0..=7).map(|number| format!("{LOCAL}{number}"))).collect();
        json!({ "enum": all })
    }
}
