//! Shows something of the running gateway: as text or `--json`, once or again and again with `--watch`.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use rustix::termios::tcgetwinsize;
use serde_json::Value;

use super::{print, write_out};

const INTERVAL: Duration = Duration::from_secs(1);
/// Where the terminal does not tell its height.
const ROWS_DEFAULT: usize = 24;

/// The options of a command that shows something.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Print it every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
}

impl Show {
    /// Prints what `fetch` returns, as JSON or by `text`.
    pub(crate) async fn run(
        &self,
        fetch: impl AsyncFn() -> anyhow::Result<Value>,
        text: impl Fn(&Value) -> String,
    ) -> anyhow::Result<()> {
        let shown = async || {
            let value = fetch().await?;
            Ok(match (self.json, self.watch) {
                (false, _) => text(&value),
                (true, false) => format!("{value:#}\n"),
                // A document on each line.
                (true, true) => format!("{value}\n"),
            })
        };
        if self.watch { watch(shown).await } else { print(&shown().await?) }
    }
}

/// Prints what `show` returns, every second, until Ctrl-C, the reader's end or an error. On a terminal each
/// text replaces the one before.
async fn watch(show: impl AsyncFn() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let is_screen = io::stdout().is_terminal();
    let mut is_first = true;
    loop {
        let text = tokio::select! {
            text = show() => text?,
            _ = &mut interrupted => return Ok(()),
        };
        let text =
            if is_screen { frame(&text, rows(), std::mem::take(&mut is_first)) } else { text };
        match write_out(&text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("writing to standard output")?,
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = &mut interrupted => return Ok(()),
        }
    }
}

fn rows() -> usize {
    let size = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    if size == 0 { ROWS_DEFAULT } else { size.into() }
}

/// Draws over the text before (ECMA-48): a screen that is cleared first flickers. Long lines are not
/// wrapped, and lines that do not fit are counted.
fn frame(text: &str, rows: usize, is_first: bool) -> String {
    const NO_WRAP: &str = "\x1b[?7l";
    const WRAP: &str = "\x1b[?7h";
    let mut frame = format!("{NO_WRAP}{}\x1b[H", if is_first { "\x1b[2J" } else { "" });
    let lines: Vec<_> = text.lines().collect();
    // The cursor stays in the row after the last line.
    let room = rows.saturating_sub(1).max(1);
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    for line in &lines[..shown] {
        let _ = write!(frame, "{line}\x1b[K\r\n");
    }
    if shown < lines.len() {
        let _ = write!(frame, "… and {} more lines\x1b[K\r\n", lines.len() - shown);
    }
    frame + "\x1b[J" + WRAP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_draws_over_the_one_before_and_never_scrolls() {
        assert_eq!(
            frame("a\nb\n", 24, true),
            "\x1b[?7l\x1b[2J\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J\x1b[?7h"
        );
        assert_eq!(frame("a\n", 24, false), "\x1b[?7l\x1b[Ha\x1b[K\r\n\x1b[J\x1b[?7h");
        let text = (0..30).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        for rows in [0, 1, 2, 10, 29, 30, 31, 32] {
            let drawn = frame(&text, rows, false).matches('\n').count();
            assert!(drawn < rows.max(2), "{drawn} lines in {rows} rows");
        }
        assert!(frame(&text, 10, false).contains("\n… and 22 more lines"));
        assert!(!frame(&text, 31, false).contains("more lines"));
    }
}
