use std::net::IpAddr;

use time::{Date, Month, PrimitiveDateTime, Time};

use super::KeyRefused;
use super::sources::Sources;

/// What restricts one key.
#[derive(Clone, Default)]
pub(super) struct Options {
    /// `from=`.
    from: Option<Sources>,
    /// `expiry-time=`, in seconds since the epoch; the earliest of several.
    expiry: Option<i64>,
}

/// Options about what is refused to everybody here: shells, terminals, forwarding. They change nothing.
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
                return Err("has `from` twice; one list can hold all patterns".into());
            }
            self.from = Some(Sources::parse(needed("from", value)?)?);
        } else if is("expiry-time") {
            let expiry = seconds(needed("expiry-time", value)?)?;
            self.expiry = Some(self.expiry.map_or(expiry, |earlier| earlier.min(expiry)));
        } else if !WITHOUT_EFFECT.iter().any(|known| is(known)) {
            return Err(match name.to_ascii_lowercase().as_str() {
                "command" | "environment" => format!(
                    "has the option `{name}`, which lockgate cannot honour: only SFTP is served, and \
                     no command is run"
                ),
                "cert-authority" | "principals" => {
                    format!("has the option `{name}`: certificates are not taken yet")
                }
                _ => format!(
                    "has the option `{name}`, which lockgate does not know; without it the key might \
                     open more than it should"
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

fn needed<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("has `{name}` without a value: write {name}=\"…\""))
}

/// The options of a line, and what follows the blank behind them. A blank in quotes ends nothing.
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
        return Err("has a quotation mark that is never closed".into());
    }
    Ok((line, ""))
}

struct Given<'a> {
    name: &'a str,
    /// Without its quotation marks.
    value: Option<String>,
}

/// `name` or `name="value"`, between commas; `\"` is a quotation mark within.
fn list(text: &str) -> Result<Vec<Given<'_>>, String> {
    let mut options = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ',']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if name.is_empty() || name.contains('"') {
            return Err("has something that is no option before its key".into());
        }
        let (value, behind) = match behind.strip_prefix('=') {
            Some(value) => {
                let (value, behind) = quoted(value).ok_or_else(|| {
                    format!("has the option `{name}` with a value without quotes")
                })?;
                (Some(value), behind)
            }
            None => (None, behind),
        };
        options.push(Given { name, value });
        rest = match behind.strip_prefix(',') {
            Some("") => return Err("has a comma behind its last option".into()),
            Some(rest) => rest,
            None if behind.is_empty() => behind,
            None => return Err(format!("has something between the option `{name}` and the comma")),
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

/// `YYYYMMDD[HHMM[SS]][Z]`. Without Z it would be the local time zone; a gateway's is UTC.
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
