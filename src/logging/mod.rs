//! Log lines on standard error, as text for people or JSON for machines. Whatever a value holds, a
//! line is one line of printable characters, of bounded length, and has no field but its own.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, FmtContext, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use self::json::{JsonFields, JsonLine};
use self::text::{TextFields, TextLine};
use crate::config::{LogFormat, LogLevel, LogSettings};

/// Lines that wait for whoever reads standard error. What comes when they are so many is lost.
const WAITING: usize = 8 * 1024;
/// What a line shows of one value, in bytes: more than the longest path. Peers can make others as long as
/// they like.
const VALUE_MAX: usize = 8 * 1024;
/// Between looks for lines that were lost.
const LOOK: Duration = Duration::from_secs(10);

/// The process's log. Dropped, what waits is written, as far as that takes no longer than a second.
pub struct Log {
    _writer: WorkerGuard,
    lost: ErrorCounter,
}

/// Sets the process's log up. The environment variable `RUST_LOG` overrides the level. Lines are written
/// by a thread of their own: a reader that has stopped to read must not stop the gateway.
#[must_use = "dropped, it writes no more"]
pub fn init(settings: LogSettings) -> Log {
    let level = match settings.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // russh's warnings quote clients as they are: line ends, and as many as they like.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,russh=off,lockgate={level}")));
    let colours = std::io::stderr().is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let lost = writer.error_counter();
    let builder = fmt::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    // Telling of lines that cannot be written on standard error, too, would panic in whatever task logs.
    let builder = builder.log_internal_errors(false);
    // A second initialisation, as in tests, keeps the first.
    let _ = match settings.format {
        LogFormat::Text => builder.event_format(TextLine).fmt_fields(TextFields).try_init(),
        LogFormat::Json => builder.event_format(JsonLine).fmt_fields(JsonFields).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = captured.then(|| backtrace.to_string());
        // Its message may quote a peer.
        tracing::error!(
            panic = panic.to_string(),
            backtrace,
            "a bug in lockgate: please report it"
        );
    }));
    Log { _writer: guard, lost }
}

/// The fields of the session (or the connection, before a login) that an event belongs to. A record of a
/// session has them itself.
fn session_fields<S, N>(context: &FmtContext<'_, S, N>, event: &Event<'_>) -> Option<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    const SESSION: &str = "session";
    if event.metadata().fields().field(SESSION).is_some() {
        return None;
    }
    // The innermost has all: the span of a login does not add to that of its connection, but replaces it.
    let span = context.event_scope()?.find(|it| it.metadata().fields().field(SESSION).is_some())?;
    let extensions = span.extensions();
    Some(extensions.get::<FormattedFields<N>>()?.fields.clone())
}

/// A value as a line shows it: whole, or how it begins and how long it is.
fn shown(value: &[u8]) -> Cow<'_, [u8]> {
    if value.len() <= VALUE_MAX {
        return value.into();
    }
    // Not within a character.
    let end = (VALUE_MAX - 3..=VALUE_MAX).rev().find(|at| value[*at] & 0xc0 != 0x80);
    let begin = &value[..end.unwrap_or(VALUE_MAX)];
    [begin, format!("… ({} bytes)", value.len()).as_bytes()].concat().into()
}

impl Log {
    /// Tells of lines that were lost, once they can be told of again; for ever.
    pub fn tell_of_losses(&self) -> impl Future<Output = ()> + use<> {
        let counter = self.lost.clone();
        async move {
            let mut told = 0;
            loop {
                tokio::time::sleep(LOOK).await;
                let lost = counter.dropped_lines();
                if lost > told {
                    tracing::warn!(
                        lines = lost - told,
                        "log lines are lost: whoever reads standard error does not keep up"
                    );
                    told = lost;
                }
            }
        }
    }
}
