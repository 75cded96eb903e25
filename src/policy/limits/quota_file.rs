//! Daily quotas in a file (`state_dir`), so that a restart does not start them again.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::counters::{Counters, Key, SharedBy};
use super::quota::{Day, Used};
use crate::files::SavedState;

/// What was used on one day.
#[derive(Serialize, Deserialize)]
pub struct SavedDay {
    date: String,
    used: Vec<SavedUse>,
}

#[derive(Serialize, Deserialize)]
struct SavedUse {
    limit: String,
    per: String,
    of: String,
    bytes: u64,
    files: u64,
}

impl SavedState for Counters {
    const FILE_NAME: &'static str = "quotas.json";
    const FORMAT_VERSION: u64 = 1;
    const SAVE_INTERVAL: Duration = Duration::from_secs(60);
    type Content = SavedDay;

    fn to_save(&self, _: bool) -> Option<SavedDay> {
        let today = Day::today();
        let used = self.used(today);
        let used = used.iter().filter_map(|(key, used)| SavedUse::of(key, *used));
        Some(SavedDay { date: date(today), used: used.collect() })
    }

    fn restore(&self, content: SavedDay) -> Result<(), String> {
        self.go_on_with(content.of(Day::today())?);
        Ok(())
    }

    fn warn_unreadable(file: &Path, reason: &str, kept_as: Option<&str>) {
        tracing::warn!(
            file = %file.display(),
            reason,
            kept_as,
            "daily quotas start at zero: their file cannot be read (state_dir)"
        );
    }

    fn warn_unsaved(folder: &Path, error: &io::Error) {
        tracing::warn!(
            folder = %folder.display(),
            %error,
            "daily quotas cannot be saved (state_dir): after a restart they would start at zero"
        );
    }
}

impl SavedDay {
    /// Nothing for another day.
    fn of(self, today: Day) -> Result<Vec<(Key, Used)>, String> {
        if self.date != date(today) {
            return Ok(Vec::new());
        }
        let decoded = self.used.into_iter().enumerate().map(|(index, saved)| {
            saved.used(today).ok_or_else(|| format!("used[{index}] has an invalid `per` or `of`"))
        });
        decoded.collect()
    }
}

impl SavedUse {
    /// `None` for a session, which does not survive a restart.
    fn of(key: &Key, Used { bytes, files, .. }: Used) -> Option<Self> {
        let (per, of) = encode_shared_by(&key.shared_by)?;
        Some(Self { limit: key.limit.to_string(), per: per.to_owned(), of, bytes, files })
    }

    fn used(self, day: Day) -> Option<(Key, Used)> {
        let shared_by = decode_shared_by(&self.per, &self.of)?;
        let Self { limit, bytes, files, .. } = self;
        Some((Key { limit: limit.into(), shared_by }, Used { day, bytes, files }))
    }
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
    use std::fs;
    use std::sync::Arc;

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::files::StateFile;

    const FILE_NAME: &str = Counters::FILE_NAME;
    const BROKEN_NAME: &str = "quotas.json.broken";

    fn counters_with_use() -> Arc<Counters> {
        let (counters, day) = (Arc::new(Counters::default()), Day::today());
        let of = |shared_by, bytes, files| {
            (Key { limit: "partners".into(), shared_by }, Used { day, bytes, files })
        };
        counters.go_on_with([
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
        StateFile::open(folder, counters.clone());
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
        StateFile::open(folder.path(), Arc::new(Counters::default()));
        assert!(restored(folder.path()).is_empty());
        let file = StateFile::taken_over(folder.path(), counters);
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
            let day = serde_json::from_value::<SavedDay>(json!({ "date": date, "used": [entry] }));
            day.map_err(|error| error.to_string())?.of(today)
        };
        let entry = r#"{"limit":"a","per":"user","of":"b","bytes":1,"files":2}"#;
        assert_eq!(content("2026-11-30", entry).unwrap().len(), 1);
        assert!(content("2026-11-29", entry).unwrap().is_empty());
        for (part, other, reason) in [
            ("\"b\"", "1", "expected a string"),
            ("user", "users", "used[0] has an invalid `per`"),
            ("1", "-1", "expected u64"),
            (",\"files\":2", "", "missing field `files`"),
        ] {
            let told = content("2026-11-30", &entry.replacen(part, other, 1)).unwrap_err();
            assert!(told.contains(reason), "{part}: {told}");
        }
    }
}
