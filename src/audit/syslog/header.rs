//! The message (RFC 5424 section 6).

use std::fmt::Write;
use std::time::SystemTime;

use humantime::format_rfc3339_micros;

use crate::audit::event::Event;
use crate::audit::settings::Facility;
use crate::op::Fault;

/// Section 6.2.4, in characters.
const HOSTNAME_MAX: usize = 255;
/// Severities of section 6.2.1.
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;

/// What the messages of this process have in common.
pub(in crate::audit) struct Header {
    facility: u8,
    hostname: String,
    process: u32,
}

impl Header {
    pub(in crate::audit) fn new(facility: Facility) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { facility: facility.code(), hostname: field(&hostname), process: std::process::id() }
    }

    /// The message of an event: `PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID
    /// STRUCTURED-DATA MSG`. The record is a JSON object, in ASCII: section 6.4 requires a byte order mark
    /// before other characters, which readers of JSON do not expect.
    pub(in crate::audit) fn message(
        &self,
        now: SystemTime,
        event: &Event<'_>,
        record: &str,
    ) -> String {
        let priority = self.facility * 8 + severity(event);
        let time = format_rfc3339_micros(now);
        let (host, process, name) = (&self.hostname, self.process, event.name());
        let mut message = String::with_capacity(record.len() + 128);
        // Writing to a string cannot fail.
        let _ = write!(message, "<{priority}>1 {time} {host} lockgate {process} {name} - ");
        push_ascii(&mut message, record);
        message
    }
}

fn severity(event: &Event<'_>) -> u8 {
    match event.fault {
        Some(Fault::Gateway) => WARNING,
        _ if event.is_routine() => INFORMATIONAL,
        _ => NOTICE,
    }
}

/// A header field: printable ASCII, `-` if there is none (section 6.2).
fn field(value: &str) -> String {
    let value: String = value.chars().filter(char::is_ascii_graphic).take(HOSTNAME_MAX).collect();
    if value.is_empty() { "-".to_owned() } else { value }
}

/// Adds JSON; other characters occur only within strings, where they become `\uNNNN`.
fn push_ascii(text: &mut String, json: &str) {
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_characters_are_escaped() {
        let mut text = String::new();
        push_ascii(&mut text, "{\"path\":\"/ü\u{1f600}\\n\"}");
        assert_eq!(text, "{\"path\":\"/\\u00fc\\ud83d\\ude00\\n\"}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["path"], "/ü\u{1f600}\n");
    }

    #[test]
    fn a_hostname_is_one_field() {
        assert_eq!(field("gate 1.example\n"), "gate1.example");
        assert_eq!(field("\u{e9}"), "-");
        assert_eq!(field(&"x".repeat(300)).len(), 255);
    }
}
