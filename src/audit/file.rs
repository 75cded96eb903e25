//! A file or standard output. Writing may block, and so happens on a thread for blocking calls.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::task;

/// A new file's mode, before the process's umask.
const MODE: u32 = 0o640;
/// A write that takes longer is reported; it goes on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// An output that appends lines.
pub(super) struct FileOutput {
    path: Option<PathBuf>,
    /// `None`: a write is running, or its thread has panicked.
    appender: Option<Appender>,
    running: Option<JoinHandle<(Appender, usize, io::Result<()>)>>,
    reopen: bool,
}

pub(super) struct Appender {
    /// `None` for standard output.
    pub(super) path: Option<PathBuf>,
    /// `None`: standard output, or a file that must be opened first.
    pub(super) file: Option<File>,
    /// The last line is incomplete and could not be removed.
    pub(super) torn: bool,
}

impl FileOutput {
    /// Opens or creates the file. Blocks.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = Some(open(path)?);
        Ok(Self::new(Appender { path: Some(path.to_owned()), file, torn: false }))
    }

    pub(super) fn stdout() -> Self {
        Self::new(Appender { path: None, file: None, torn: false })
    }

    fn new(appender: Appender) -> Self {
        let path = appender.path.clone();
        Self { path, appender: Some(appender), running: None, reopen: false }
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.has_path() { "file" } else { "stdout" }
    }

    /// Whether it is a file, not standard output.
    pub(super) fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// Opens the file again with the next write.
    pub(super) fn reopen(&mut self) {
        self.reopen = self.has_path();
    }

    /// Writes the records, and takes out those that are written. A write that goes on after an error is
    /// of the first of them: the next call waits for it.
    pub(super) async fn write(&mut self, records: &mut VecDeque<String>) -> io::Result<()> {
        loop {
            if let Some(running) = &mut self.running {
                let Ok(done) = timeout(WRITE_TIMEOUT, &mut *running).await else {
                    let message = format!("a write has not ended after {WRITE_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                };
                self.running = None;
                let (appender, mut written, outcome) = done.map_err(io::Error::other)?;
                self.appender = Some(appender);
                while let Some(length) = records.front().map(|record| record.len() + 1)
                    && length <= written
                {
                    written -= length;
                    records.pop_front();
                }
                outcome?;
            }
            if records.is_empty() && !self.reopen {
                return Ok(());
            }
            let Some(mut appender) = self.appender.take() else {
                return Err(io::Error::other("a write has panicked"));
            };
            let lines: String = records.iter().flat_map(|record| [record.as_str(), "\n"]).collect();
            let reopen = std::mem::take(&mut self.reopen);
            self.running = Some(task::spawn_blocking(move || {
                if reopen {
                    appender.reopen();
                }
                let (written, outcome) = appender.append(lines.as_bytes());
                (appender, written, outcome)
            }));
        }
    }
}

impl Appender {
    /// Keeps the old file if the new one cannot be opened.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => (self.file, self.torn) = (Some(file), false),
            Err(error) => tracing::warn!(
                event = "audit",
                path = path.as_os_str().as_encoded_bytes(),
                %error,
                "the audit file cannot be opened again: records still go to the old one"
            ),
        }
    }

    /// Returns how many bytes are written, without an incomplete line.
    pub(super) fn append(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if lines.is_empty() {
            return (0, Ok(()));
        }
        if let Err(error) = self.open_if_removed() {
            return (0, Err(error));
        }
        if self.torn {
            match self.write(b"\n") {
                (1, _) => self.torn = false,
                (_, outcome) => return (0, outcome),
            }
        }
        let (written, outcome) = self.write(lines);
        let last_end = lines[..written].iter().rposition(|byte| *byte == b'\n');
        let complete = last_end.map_or(0, |at| at + 1);
        if complete < written {
            self.torn = !self.cut(written - complete);
        }
        (complete, outcome)
    }

    /// A file without a name would lose all records.
    fn open_if_removed(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let is_gone = match &self.file {
            Some(file) => file.metadata()?.nlink() == 0,
            None => true,
        };
        if is_gone {
            self.file = None;
            self.file = Some(open(path)?);
            self.torn = false;
        }
        Ok(())
    }

    /// Removes the last bytes, an incomplete line; returns whether that is possible. Another process may have
    /// appended lines after it (--take-over).
    fn cut(&self, bytes: usize) -> bool {
        let Some(mut file) = self.file.as_ref() else { return false };
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file());
        let own_end = file.stream_position().ok();
        let is_last = |end: &u64| Some(*end) == own_end;
        let end = metadata.map(|metadata| metadata.len()).filter(is_last);
        let end = end.and_then(|end| end.checked_sub(bytes as u64));
        end.is_some_and(|end| file.set_len(end).is_ok())
    }

    fn write(&self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match &self.file {
            Some(file) => write_all(file, bytes),
            None => write_all(io::stdout(), bytes),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// Writes all of it, unbuffered; returns also how many bytes are written after an error.
fn write_all(to: impl AsFd, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(&to, &bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return (written, Err(error.into())),
        }
    }
    (written, Ok(()))
}
