//! How much of each limit is used, by who is nearest to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Limits;
use super::counters::{Counter, Counters, SharedBy};
use super::quota::Day;
use super::setting::Limit;

/// A value of a limit, and its use.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitUse {
    /// The limit's name.
    pub limit: String,
    /// The key of the value, such as `bandwidth`.
    pub kind: &'static str,
    /// The value; of `operations` in a second, of bandwidths in bytes a second.
    pub max: f64,
    /// Its use by the user, listener, backend or session that is nearest to it: rates are those of the last
    /// seconds, quotas those of today.
    pub used: f64,
    /// Whose use it is, such as `user alice`, not escaped; none if all share the limit, or nothing is used.
    pub of: Option<Vec<u8>>,
}

/// The largest use of a limit, of each kind; rates are parts of the limit's.
#[derive(Debug, Clone, Default)]
struct Largest {
    sessions: Most,
    transfers: Most,
    bytes: Most,
    files: Most,
    bandwidth: Most,
    upload: Most,
    download: Most,
    operations: Most,
}

/// The largest use of one kind.
#[derive(Debug, Clone, Default)]
struct Most {
    used: f64,
    /// None if nothing is used.
    by: Option<SharedBy>,
}

impl Limits {
    /// The use of every value of every limit of the configuration, in its order.
    pub fn uses(&self) -> Vec<LimitUse> {
        self.uses_of(self.counters.largest(Day::today()))
    }

    /// As [`Limits::uses`], with nothing used: does not look at the counters.
    pub fn values(&self) -> Vec<LimitUse> {
        self.uses_of(HashMap::new())
    }

    fn uses_of(&self, mut largest: HashMap<Arc<str>, Largest>) -> Vec<LimitUse> {
        let uses = self.configured.iter().flat_map(|configured| {
            let limit = &configured.limit;
            let used = largest.remove(limit.name.as_str()).unwrap_or_default();
            values(limit, used).map(|(kind, max, most)| LimitUse {
                limit: limit.name.clone(),
                kind,
                max,
                used: most.used,
                of: most.by.as_ref().and_then(SharedBy::name),
            })
        });
        uses.collect()
    }
}

/// Key, value and use of each value that the limit has.
fn values(limit: &Limit, used: Largest) -> impl Iterator<Item = (&'static str, f64, Most)> + use<> {
    let rate = |max: Option<u64>, part: Most| {
        max.map(|max| (max as f64, Most { used: max as f64 * part.used, ..part }))
    };
    let count = |max: Option<u64>, used: Most| max.map(|max| (max as f64, used));
    let operations = limit.operations.map(|rate| {
        let max = f64::from(rate.count) / rate.period.duration().as_secs_f64();
        (max, Most { used: max * used.operations.used, ..used.operations })
    });
    let all = [
        ("bandwidth", rate(limit.bandwidth, used.bandwidth)),
        ("upload_bandwidth", rate(limit.upload_bandwidth, used.upload)),
        ("download_bandwidth", rate(limit.download_bandwidth, used.download)),
        ("sessions", count(limit.sessions.map(u64::from), used.sessions)),
        ("transfers", count(limit.transfers.map(u64::from), used.transfers)),
        ("operations", operations),
        ("bytes_per_day", count(limit.bytes_per_day, used.bytes)),
        ("files_per_day", count(limit.files_per_day, used.files)),
    ];
    all.into_iter().filter_map(|(kind, pair)| pair.map(|(max, used)| (kind, max, used)))
}

impl SharedBy {
    /// None if all share it.
    fn name(&self) -> Option<Vec<u8>> {
        let named = |kind: &str, name: &[u8]| Some([kind.as_bytes(), b" ", name].concat());
        match self {
            Self::User(name) => named("user", name),
            Self::Session(number) => named("session", number.to_string().as_bytes()),
            Self::Listener(name) => named("listener", name.as_bytes()),
            Self::Backend(name) => named("backend", name.as_bytes()),
            Self::All => None,
        }
    }
}

impl Counters {
    /// By limit, in one pass over all counters.
    fn largest(&self, today: Day) -> HashMap<Arc<str>, Largest> {
        let mut all: HashMap<Arc<str>, Largest> = HashMap::new();
        self.for_each(|key, sessions, counter| {
            let largest = match all.get_mut(&key.limit) {
                Some(known) => known,
                None => all.entry(key.limit.clone()).or_default(),
            };
            largest.add(&key.shared_by, sessions, counter, today);
        });
        all
    }
}

impl Largest {
    fn add(&mut self, by: &SharedBy, sessions: usize, counter: &Counter, today: Day) {
        let used = counter.today.used(today);
        self.bytes.see(used.bytes as f64, by);
        self.files.see(used.files as f64, by);
        // Without a session, nothing else is used.
        if sessions > 0 {
            self.sessions.see(sessions as f64, by);
            self.transfers.see(counter.transfers() as f64, by);
            self.bandwidth.see(counter.bandwidth.used(), by);
            self.upload.see(counter.upload.used(), by);
            self.download.see(counter.download.used(), by);
            self.operations.see(counter.operations.used(), by);
        }
    }
}

impl Most {
    fn see(&mut self, used: f64, by: &SharedBy) {
        if used > self.used {
            *self = Self { used, by: Some(by.clone()) };
        }
    }
}
