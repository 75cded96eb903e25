//! Daily quotas in a file (`state_dir`), so that a restart does not start them again.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::counters::{Counters, Key, SharedBy};
use super::quota::{Day, Used};
use crate::files::state_file;
use crate::task;

/// In the folder of `state_dir`.
const FILE_NAME: &str = "quotas.json";
/// Where a file that cannot be read is kept.
const BROKEN_NAME: &str = "quotas.json.broken";
const FORMAT_VERSION: u64 = 1;
/// A crash loses what was transferred since the last time.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// The file with what was used today.
pub struct QuotaFile {
    folder: PathBuf,
    counters: Arc<Counters>,
    /// The last attempt to write it failed, which was logged.
    failing: AtomicBool,
}

impl QuotaFile {
    /// Continues with the quotas in `folder`, if the file there is of today, and tries to write it. A file
    /// that cannot be read is logged and kept under another name.
    pub fn open(folder: &Path, counters: Arc<Counters>) -> Self {
        let (folder, today) = (folder.to_owned(), Day::today());
        match read(&folder.join(FILE_NAME), today) {
            Ok(used) => counters.restore(used),
            Err(reason) => {
                let kept = fs::rename(folder.join(FILE_NAME), folder.join(BROKEN_NAME)).is_ok();
                tracing::warn!(
                    file = %folder.join(FILE_NAME).display(),
                    reason,
                    kept_as = kept.then_some(BROKEN_NAME),
                    "daily quotas start at zero: their file cannot be read (state_dir)"
                );
            }
        }
        let file = Self { folder, counters, failing: AtomicBool::new(false) };
        file.write();
        file
    }

    /// Goes on with the file of a process that writes it no more, and whose counters these are.
    pub fn taken_over(folder: &Path, counters: Arc<Counters>) -> Self {
        Self { folder: folder.to_owned(), counters, failing: AtomicBool::new(false) }
    }

    /// Saves every minute until `end`.
    pub async fn save_until(self: Arc<Self>, end: CancellationToken) {
        while end.run_until_cancelled(sleep(SAVE_INTERVAL)).await.is_some() {
            self.clone().save().await;
        }
    }

    /// Saves now. A failure is logged, once until it succeeds again.
    pub async fn save(self: Arc<Self>) {
        // Fails only while the process ends.
        let _ = task::spawn_blocking(move || self.write()).await;
    }

    fn write(&self) {
        let today = Day::today();
        let content = encode(&self.counters.used(today), today);
        let written = state_file::replace(&self.folder, FILE_NAME, &content);
        let was_failing = self.failing.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !was_failing
        {
            tracing::warn!(
                folder = %self.folder.display(),
                %error,
                "daily quotas cannot be saved (state_dir): after a restart they would start at zero"
            );
        }
    }
}

fn read(path: &Path, today: Day) -> Result<Vec<(Key, Used)>, String> {
    state_file::read(path)?.map_or_else(|| Ok(Vec::new()), |content| decode(&content, today))
}

fn encode(used: &[(Key, Used)], today: Day) -> Json {
    let used: Vec<Json> = used
        .iter()
        .filter_map(|(key, used)| {
            let (per, of) = encode_shared_by(&key.shared_by)?;
            let Used { bytes, files, .. } = used;
            Some(json!({ "limit": &*key.limit, "per": per, "of": of, "bytes": bytes, "files": files }))
        })
        .collect();
    json!({ "version": FORMAT_VERSION, "date": date(today), "used": used })
}

/// `None` for a session, which does not survive a restart.
pub(super) fn encode_shared_by(shared_by: &SharedBy) -> Option<(&'static str, String)> {
    Some(match shared_by {
        SharedBy::User(name) => match std::str::from_utf8(name) {
            Ok(name) => ("user", name.to_owned()),
            Err(_) => ("user-hex", hex(name)),
        },
        SharedBy::Listener(name) => ("listener", name.clone()),
        SharedBy::Backend(name) => ("backend", name.clone()),
        SharedBy::All => ("all", String::new()),
        SharedBy::Session(_) => return None,
    })
}

pub(super) fn decode_shared_by(per: &str, of: &str) -> Option<SharedBy> {
    Some(match per {
        "user" => SharedBy::user(of.as_bytes()),
        "user-hex" => SharedBy::user(&from_hex(of)?),
        "listener" => SharedBy::Listener(of.to_owned()),
        "backend" => SharedBy::Backend(of.to_owned()),
        "all" => SharedBy::All,
        _ => return None,
    })
}

/// Nothing for another day.
fn decode(content: &Json, today: Day) -> Result<Vec<(Key, Used)>, String> {
    if content["version"].as_u64() != Some(FORMAT_VERSION) {
        return Err(format!("its version is {}, not {FORMAT_VERSION}", content["version"]));
    }
    if content["date"].as_str() != Some(&date(today)) {
        return Ok(Vec::new());
    }
    let used = content["used"].as_array().ok_or("`used` is not a list")?;
    let decoded = used.iter().map(|entry| decode_entry(entry, today));
    decoded
        .enumerate()
        .map(|(index, entry)| entry.ok_or_else(|| format!("used[{index}] is not complete")))
        .collect()
}

fn decode_entry(entry: &Json, day: Day) -> Option<(Key, Used)> {
    let shared_by = decode_shared_by(entry["per"].as_str()?, entry["of"].as_str()?)?;
    let limit = entry["limit"].as_str()?.into();
    let used = Used { day, bytes: entry["bytes"].as_u64()?, files: entry["files"].as_u64()? };
    Some((Key { limit, shared_by }, used))
}

/// 2026-11-30.
fn date(Day(day): Day) -> String {
    let midnight = OffsetDateTime::UNIX_EPOCH + time::Duration::days(day);
    midnight.date().to_string()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters_with_use() -> Arc<Counters> {
        let (counters, day) = (Arc::new(Counters::default()), Day::today());
        let of = |shared_by, bytes, files| {
            (Key { limit: "partners".into(), shared_by }, Used { day, bytes, files })
        };
        counters.restore([
            of(SharedBy::user(b"alice \"\n"), 1, 2),
            of(SharedBy::user(b"M\xfcller"), u64::MAX, 0),
            of(SharedBy::Listener("public".into()), 5, 6),
            of(SharedBy::Backend("public".into()), 7, 8),
            of(SharedBy::All, 9, 10),
        ]);
        counters
    }

    fn sorted(counters: &Counters) -> Vec<String> {
        let used = counters.used(Day::today());
        let mut lines: Vec<_> = used.iter().map(|entry| format!("{entry:?}")).collect();
        lines.sort();
        lines
    }

    fn restored(folder: &Path) -> Vec<String> {
        let counters = Arc::new(Counters::default());
        QuotaFile::open(folder, counters.clone());
        sorted(&counters)
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_was_used_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let counters = counters_with_use();
        let expected = sorted(&counters);
        assert_eq!(expected.len(), 5);
        let file = Arc::new(QuotaFile::open(folder.path(), Arc::new(Counters::default())));
        assert!(restored(folder.path()).is_empty());
        let file =
            QuotaFile { counters, failing: AtomicBool::new(false), folder: file.folder.clone() };
        Arc::new(file).save().await;
        assert_eq!(restored(folder.path()), expected);
        assert_eq!(restored(folder.path()), expected, "opening it writes it again");
        assert_eq!(names(folder.path()), [FILE_NAME]);
    }

    #[test]
    fn a_broken_file_is_kept_and_does_not_stop_the_start() {
        for broken in ["", "{", "[]", r#"{"version":2}"#, "\0\0\0\0"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE_NAME), broken).unwrap();
            assert!(restored(folder.path()).is_empty());
            assert_eq!(names(folder.path()), [FILE_NAME, BROKEN_NAME], "{broken:?}");
            assert_eq!(fs::read(folder.path().join(BROKEN_NAME)).unwrap(), broken.as_bytes());
        }
        // A folder that does not exist.
        assert!(restored(Path::new("/nonexistent/lockgate")).is_empty());
    }

    #[test]
    fn incomplete_entries_are_told_and_other_days_ignored() {
        let today = Day(20_787);
        let content = |date: &str, entry: &str| {
            let entry: Json = serde_json::from_str(entry).unwrap();
            decode(&json!({ "version": 1, "date": date, "used": [entry] }), today)
        };
        let entry = r#"{"limit":"a","per":"user","of":"b","bytes":1,"files":2}"#;
        assert_eq!(content("2026-11-30", entry).unwrap().len(), 1);
        assert!(content("2026-11-29", entry).unwrap().is_empty());
        for (part, other) in [("\"b\"", "1"), ("user", "users"), ("1", "-1"), (",\"files\":2", "")]
        {
            let told = content("2026-11-30", &entry.replacen(part, other, 1));
            assert_eq!(told.unwrap_err(), "used[0] is not complete", "{part}");
        }
    }
}
