//! The log on standard error, as text or JSON. Whatever its values are, an entry is a single line of
//! printable characters, of bounded length, without forged fields.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::time::Duration;

use prometheus::{IntCounterVec, Registry};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, FmtContext, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use self::json::{JsonFields, JsonLine};
use self::text::{TextFields, TextLine};
use crate::config::{LogFormat, LogLevel, LogSettings};
use crate::metrics;

/// Lines that are queued for standard error. Further ones are lost.
const QUEUE_MAX: usize = 8 * 1024;
/// Between two checks for lost lines.
const LOSS_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The process's log. Dropping it writes the queued lines, for at most one second.
pub struct Log {
    _writer: WorkerGuard,
    lost: ErrorCounter,
}

/// Sets up the process's log. The environment variable `RUST_LOG` overrides the level. A thread writes the
/// lines: a reader that stopped reading must not block the gateway.
#[must_use = "dropping it stops the log"]
pub fn init(settings: LogSettings) -> Log {
    let level = match settings.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // russh's warnings quote clients unescaped and are not limited.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,russh=off,lockgate={level}")));
    let colours = std::io::stderr().is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE_MAX)
        .thread_name("log")
        .finish(std::io::stderr());
    let lost = writer.error_counter();
    let builder = fmt::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    // Reporting write errors on standard error, too, would panic in the task that logs.
    let builder = builder.log_internal_errors(false);
    // A second initialization, as in tests, has no effect.
    let _ = match settings.format {
        LogFormat::Text => builder.event_format(TextLine).fmt_fields(TextFields).try_init(),
        LogFormat::Json => builder.event_format(JsonLine).fmt_fields(JsonFields).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = captured.then(|| backtrace.to_string());
        // Escaped: the message may quote a peer.
        tracing::error!(
            panic = panic.to_string(),
            backtrace,
            "this is a bug in lockgate; please report it"
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

impl Log {
    /// Registers the number of lost lines, once per registry.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let counter = self.lost.clone();
        let lost = move |series: &IntCounterVec| {
            series.with_label_values::<&str>(&[]).inc_by(counter.dropped_lines() as u64);
        };
        metrics::live_counters(
            registry,
            "lockgate_log_lines_lost_total",
            "Lines of the log that were lost since standard error was too slow",
            &[],
            lost,
        )
    }

    /// Logs the number of lost lines, forever.
    pub fn report_losses(&self) -> impl Future<Output = ()> + use<> {
        let counter = self.lost.clone();
        async move {
            let mut reported = 0;
            loop {
                tokio::time::sleep(LOSS_CHECK_INTERVAL).await;
                let lost = counter.dropped_lines();
                if lost > reported {
                    tracing::warn!(
                        lines = lost - reported,
                        "log lines were lost: the reader of standard error is too slow"
                    );
                    reported = lost;
                }
            }
        }
    }
}
