//! The options of a line: `from`, `expiry-time`, and those without effect here.

use std::net::IpAddr;

use time::{Date, Month, PrimitiveDateTime, Time};

use super::KeyRefused;
use super::sources::Sources;

/// The restrictions of a key.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `from=`.
    from: Option<Sources>,
    /// `expiry-time=`, in seconds since the epoch; the earliest of several.
    expiry: Option<i64>,
}

/// Options for shells, terminals and forwarding, which are never allowed here.
const WITHOUT_EFFECT: &[&str] = &[
    "restrict",
    "agent-forwarding",
    "no-agent-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "no-port-forwarding",
    "pty",
    "no-pty",
    "tunnel",
    "user-rc",
    "no-user-rc",
    "X11-forwarding",
    "no-X11-forwarding",
];

impl Options {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for option in list(text)? {
            options.take(option.name, option.value.as_deref())?;
        }
        Ok(options)
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("from") {
            if self.from.is_some() {
                return Err("has `from` twice; write all patterns in one list".into());
            }
            self.from = Some(Sources::parse(required("from", value)?)?);
        } else if is("expiry-time") {
            let expiry = seconds(required("expiry-time", value)?)?;
            self.expiry = Some(self.expiry.map_or(expiry, |earlier| earlier.min(expiry)));
        } else if !WITHOUT_EFFECT.iter().any(|known| is(known)) {
            return Err(match name.to_ascii_lowercase().as_str() {
                "command" | "environment" => format!(
                    "has the option `{name}`, which is not supported: only SFTP is served, without commands"
                ),
                "cert-authority" | "principals" => {
                    format!(
                        "has the option `{name}`, which is not supported; certificates are accepted by \
                         listeners with `trusted_user_ca_keys`, and a user's `principals` say which"
                    )
                }
                _ => format!(
                    "has the unknown option `{name}`, which might be a restriction; remove it or the key"
                ),
            });
        }
        Ok(())
    }

    pub(super) fn admit(&self, source: IpAddr, now: i64) -> Result<(), KeyRefused> {
        if self.from.as_ref().is_some_and(|from| !from.admit(source)) {
            return Err(KeyRefused::Source);
        }
        match self.expiry {
            Some(expiry) if now >= expiry => Err(KeyRefused::Expired),
            _ => Ok(()),
        }
    }
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("has `{name}` without a value: write {name}=\"…\""))
}

/// Splits a line into options and the rest at the first blank that is not in quotes.
pub(super) fn split(line: &str) -> Result<(&str, &str), String> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok((&line[..index], line[index..].trim_start())),
            _ => {}
        }
        escaped = c == '\\';
    }
    if quoted {
        return Err("has an unclosed quotation mark".into());
    }
    Ok((line, ""))
}

struct GivenOption<'a> {
    name: &'a str,
    /// Without quotation marks.
    value: Option<String>,
}

/// Parses `name` and `name="value"`, separated by commas; `\"` in a value is a quotation mark.
fn list(text: &str) -> Result<Vec<GivenOption<'_>>, String> {
    let mut options = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() || name.contains('"') {
            return Err("has an invalid option before its key".into());
        }
        let (value, after) = match after.strip_prefix('=') {
            Some(value) => {
                let (value, after) = quoted(value)
                    .ok_or_else(|| format!("has the option `{name}` with an unquoted value"))?;
                (Some(value), after)
            }
            None => (None, after),
        };
        options.push(GivenOption { name, value });
        rest = match after.strip_prefix(',') {
            Some("") => return Err("has a comma after its last option".into()),
            Some(rest) => rest,
            None if after.is_empty() => after,
            None => return Err(format!("has text between the option `{name}` and the comma")),
        };
    }
    Ok(options)
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((index, c)) = characters.next() {
        match c {
            '"' => return Some((value, &inner[index + 1..])),
            '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            _ => value.push(c),
        }
    }
    None
}

/// `YYYYMMDD[HHMM[SS]][Z]`. Without Z it would be local time; the gateway's is UTC.
fn seconds(text: &str) -> Result<i64, String> {
    moment(text.strip_suffix(['Z', 'z']).unwrap_or(text)).ok_or_else(|| {
        format!("has the expiry-time \"{text}\"; write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS")
    })
}

fn moment(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| match digits.get(range) {
        Some(part) => part.parse::<u16>().ok(),
        None => Some(0),
    };
    let two = |start: usize| u8::try_from(number(start..start + 2)?).ok();
    let month = Month::try_from(two(4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0..4)?), month, two(6)?).ok()?;
    let time = Time::from_hms(two(8)?, two(10)?, two(12)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}
