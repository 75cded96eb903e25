//! How much of each limit is used, by who is nearest to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Limits;
use super::counters::{Counter, Counters};
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
}

/// The largest use of a limit, of each kind; rates are parts of the limit's.
#[derive(Debug, Clone, Copy, Default)]
struct Largest {
    sessions: usize,
    transfers: usize,
    bytes: u64,
    files: u64,
    bandwidth: f64,
    upload: f64,
    download: f64,
    operations: f64,
}

impl Limits {
    /// The use of every value of every limit of the configuration, in its order.
    pub fn uses(&self) -> Vec<LimitUse> {
        self.uses_of(&self.counters.largest(Day::today()))
    }

    /// As [`Limits::uses`], with nothing used: does not look at the counters.
    pub fn values(&self) -> Vec<LimitUse> {
        self.uses_of(&HashMap::new())
    }

    fn uses_of(&self, largest: &HashMap<Arc<str>, Largest>) -> Vec<LimitUse> {
        let uses = self.configured.iter().flat_map(|configured| {
            let limit = &configured.limit;
            let used = largest.get(limit.name.as_str()).copied().unwrap_or_default();
            values(limit, used).map(|(kind, max, used)| LimitUse {
                limit: limit.name.clone(),
                kind,
                max,
                used,
            })
        });
        uses.collect()
    }
}

/// Key, value and use of each value that the limit has.
fn values(limit: &Limit, used: Largest) -> impl Iterator<Item = (&'static str, f64, f64)> + use<> {
    let rate = |max: Option<u64>, part: f64| max.map(|max| (max as f64, max as f64 * part));
    let count = |max: Option<u64>, used: u64| max.map(|max| (max as f64, used as f64));
    let operations = limit.operations.map(|rate| {
        let max = f64::from(rate.count) / rate.period.duration().as_secs_f64();
        (max, max * used.operations)
    });
    let all = [
        ("bandwidth", rate(limit.bandwidth, used.bandwidth)),
        ("upload_bandwidth", rate(limit.upload_bandwidth, used.upload)),
        ("download_bandwidth", rate(limit.download_bandwidth, used.download)),
        ("sessions", count(limit.sessions.map(u64::from), used.sessions as u64)),
        ("transfers", count(limit.transfers.map(u64::from), used.transfers as u64)),
        ("operations", operations),
        ("bytes_per_day", count(limit.bytes_per_day, used.bytes)),
        ("files_per_day", count(limit.files_per_day, used.files)),
    ];
    all.into_iter().filter_map(|(kind, pair)| pair.map(|(max, used)| (kind, max, used)))
}

impl Counters {
    /// By limit, in one pass over all counters.
    fn largest(&self, today: Day) -> HashMap<Arc<str>, Largest> {
        let mut all: HashMap<Arc<str>, Largest> = HashMap::new();
        self.for_each(|limit, sessions, counter| {
            let largest = match all.get_mut(limit) {
                Some(known) => known,
                None => all.entry(limit.clone()).or_default(),
            };
            largest.add(sessions, counter, today);
        });
        all
    }
}

impl Largest {
    fn add(&mut self, sessions: usize, counter: &Counter, today: Day) {
        let used = counter.today.used(today);
        self.bytes = self.bytes.max(used.bytes);
        self.files = self.files.max(used.files);
        // Without a session, nothing else is used.
        if sessions > 0 {
            self.sessions = self.sessions.max(sessions);
            self.transfers = self.transfers.max(counter.transfers());
            self.bandwidth = self.bandwidth.max(counter.bandwidth.used());
            self.upload = self.upload.max(counter.upload.used());
            self.download = self.download.max(counter.download.used());
            self.operations = self.operations.max(counter.operations.used());
        }
    }
}
