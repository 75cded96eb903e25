//! A limit that applies to a session, with the counter that the session shares.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Rate};
use super::counters::{Counter, SessionCount};
use super::metrics::{LimitMetrics, OfLimit};
use super::refusal::Refused;
use super::setting::{Limit, OperationRate};
use crate::op::{Direction, Failure};

/// What was not used for so long may be used at once. As much as timers may be late without an effect on the
/// rate, and a twentieth of what a second has.
const BANDWIDTH_BURST: Duration = Duration::from_millis(50);
/// Clients send some commands at once: this long, or this many operations.
const OPERATIONS_BURST: Duration = Duration::from_millis(250);
const OPERATIONS_BURST_MIN: u32 = 5;

/// A limit of the configuration.
pub(super) struct Configured {
    pub(super) limit: Limit,
    pub(super) metrics: Arc<OfLimit>,
}

/// A limit of a session; counts the session until dropped.
pub(super) struct Applied {
    pub(super) configured: Arc<Configured>,
    pub(super) session: SessionCount,
}

impl Configured {
    pub(super) fn new(limit: Limit, metrics: Option<&LimitMetrics>) -> Arc<Self> {
        let metrics = metrics.map_or_else(|| OfLimit::uncounted(&limit), |all| all.of(&limit));
        Arc::new(Self { limit, metrics })
    }

    /// Counts a refusal; returns it.
    pub(super) fn refuse(&self, kind: Refused) -> Failure {
        self.metrics.refused(kind);
        kind.failure(&self.limit)
    }
}

impl Applied {
    pub(super) fn limit(&self) -> &Limit {
        &self.configured.limit
    }

    pub(super) fn counter(&self) -> &Arc<Counter> {
        self.session.counter()
    }

    /// The buckets for bytes in this direction.
    pub(super) fn bandwidths(&self, direction: Direction) -> impl Iterator<Item = (&Bucket, Rate)> {
        let (limit, counter) = (self.limit(), self.counter());
        let one_way = match direction {
            Direction::Upload => Some((&counter.upload, limit.upload_bandwidth)),
            Direction::Download => Some((&counter.download, limit.download_bandwidth)),
            Direction::Copy => None,
        };
        let both_ways = Some((&counter.bandwidth, limit.bandwidth));
        let all = [both_ways, one_way].into_iter().flatten();
        all.filter_map(|(bucket, rate)| {
            let period = Duration::from_secs(1);
            Some((bucket, Rate { units: rate?, period, burst: BANDWIDTH_BURST }))
        })
    }

    /// The bucket for operations, if they are limited.
    pub(super) fn operations(&self) -> Option<(&Bucket, Rate)> {
        let OperationRate { count, period } = self.limit().operations?;
        let period = period.duration();
        let burst = OPERATIONS_BURST.max(period / count.max(1) * (OPERATIONS_BURST_MIN - 1));
        let rate = Rate { units: count.into(), period, burst };
        Some((&self.counter().operations, rate))
    }
}
