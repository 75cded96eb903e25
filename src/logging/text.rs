//! Log lines as text: `message key=value key="value"`. No value can forge a field or a line.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::session_fields;
use crate::op::escape::{printable, quoted, truncated};

/// A line: time, level, message, fields, and those of the session.
pub(super) struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        if writer.has_ansi_escapes() {
            writer.write_str("\x1b[2m")?;
            SystemTime.format_time(&mut writer)?;
            write!(writer, "\x1b[0m \x1b[{}m{level:>5}\x1b[0m ", colour(level))?;
        } else {
            SystemTime.format_time(&mut writer)?;
            write!(writer, " {level:>5} ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        if let Some(session) = session_fields(context, event) {
            write!(writer, " {session}")?;
        }
        writeln!(writer)
    }
}

/// The number of an ANSI colour.
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Fields { writer, first: true, written: Ok(()) };
        fields.record(&mut visitor);
        visitor.written
    }
}

struct Fields<'writer> {
    writer: Writer<'writer>,
    first: bool,
    written: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Metadata of the `log` crate's lines.
        if self.written.is_ok() && !field.name().starts_with("log.") {
            self.written = self.write_pair(field.name(), value);
        }
    }

    fn write_pair(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        match (name, self.writer.has_ansi_escapes()) {
            ("message", _) => {}
            (_, true) => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (_, false) => write!(self.writer, "{name}=")?,
        }
        self.writer.write_fmt(value)
    }
}

impl Visit for Fields<'_> {
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.write(field, format_args!("{}", quoted(&truncated(value))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_bytes(field, value.as_bytes());
        }
    }

    /// Also for numbers and booleans.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let bare = match field.name() {
            // Other crates' messages quote their peers.
            "message" => !text.contains(['=', '"']),
            _ => !text.is_empty() && text.bytes().all(is_plain),
        };
        if bare {
            self.write(field, format_args!("{}", printable(&truncated(text.as_bytes()))));
        } else {
            self.record_bytes(field, text.as_bytes());
        }
    }
}

/// Characters of addresses, numbers and times.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:/@+,-[]".contains(&byte)
}
