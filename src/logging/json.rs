//! Log lines as JSON objects: `timestamp`, `level`, `fields` (with `message`), `target`. Unprintable
//! characters are escaped, so that lines are safe to show in a terminal.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::session_fields;
use crate::op::escape::{json, truncated};

pub(super) struct JsonLine;

/// The members of an object, without its braces.
pub(super) struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut visitor = Fields::default();
        fields.record(&mut visitor);
        writer.write_str(&visitor.object)
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
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
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(session) = session_fields(context, event) {
            fields.push(format_args!("{session}"));
        }
        let target = fields.log_target.as_deref().unwrap_or(metadata.target());
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        writeln!(
            writer,
            "\",\"level\":\"{}\",\"fields\":{{{}}},\"target\":{}}}",
            metadata.level(),
            fields.object,
            json(target.as_bytes()),
        )
    }
}

#[derive(Default)]
struct Fields {
    object: String,
    /// The target of a line of the `log` crate.
    log_target: Option<String>,
}

impl Fields {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        if name.starts_with("log.") {
            return;
        }
        self.push(format_args!("{}:{value}", json(name.as_bytes())));
    }

    /// Adds members, after a comma if there are some already.
    fn push(&mut self, members: fmt::Arguments<'_>) {
        let comma = if self.object.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(self.object, "{comma}{members}");
    }
}

impl Visit for Fields {
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.write(field, format_args!("{}", json(&truncated(value))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.log_target = Some(value.to_owned());
        }
        self.record_bytes(field, value.as_bytes());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.write(field, format_args!("{value:?}"));
        } else {
            self.write(field, format_args!("null"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, format_args!("{value}"));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.write(field, format_args!("{value}"));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.write(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_bytes(field, format!("{value:?}").as_bytes());
    }
}
