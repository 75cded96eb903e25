//! Transfers as lines of xferlog(5), as ProFTPD writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, Weekday};

use super::event::{Event, FileTransfer, What};
use crate::op::escape::{printable, truncated};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The line without its end; `None` for an event that is no transfer from or to a client.
pub(super) fn line(now: SystemTime, event: &Event<'_>) -> Option<String> {
    let What::Transfer(file) = &event.what else { return None };
    let direction = match file.direction {
        "upload" => 'i',
        "download" => 'o',
        _ => return None,
    };
    let subject = &event.subject;
    let user = subject.account.as_ref().map_or(&b"?"[..], |account| account.user);
    // No special action; a real user; no RFC 931 authentication.
    Some(format!(
        "{} {} {} {} {} {} _ {direction} r {} {} 0 * {}",
        date(now),
        seconds(event),
        subject.client.ip(),
        file.bytes,
        word(file.path),
        representation(file),
        word(user),
        subject.protocol,
        if event.outcome == "ok" { 'c' } else { 'i' },
    ))
}

/// Whole seconds, as in ProFTPD.
fn seconds(event: &Event<'_>) -> u64 {
    event.seconds.map_or(0, |seconds| seconds.max(0.0) as u64)
}

fn representation(file: &FileTransfer<'_>) -> char {
    if file.is_text { 'a' } else { 'b' }
}

/// A field without blanks: as ProFTPD does, blanks and control characters become underscores. What else
/// is not printable is escaped.
fn word(name: &[u8]) -> String {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control();
    let name = truncated(name);
    let bytes: Vec<u8> = name.iter().map(|byte| if blank(byte) { b'_' } else { *byte }).collect();
    let word = printable(&bytes).to_string();
    if word.is_empty() { "?".to_owned() } else { word }
}

/// As ctime(3), in UTC.
fn date(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let at = i64::try_from(since).ok().and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let weekday = match at.weekday() {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    };
    let month = MONTHS[usize::from(u8::from(at.month())) - 1];
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!("{weekday} {month} {:02} {hour:02}:{minute:02}:{second:02} {}", at.day(), at.year())
}
