//! What the gateway has moved in each of the last seconds.

use serde_json::{Value, json};

use super::text::time;
use crate::session::{THROUGHPUT_INTERVAL, Throughput};

pub(super) fn json(throughput: &Throughput) -> Value {
    json!({
        "until": throughput.until.map(time),
        "interval_seconds": THROUGHPUT_INTERVAL.as_secs(),
        "upload": throughput.seconds.iter().map(|moved| moved.up).collect::<Vec<_>>(),
        "download": throughput.seconds.iter().map(|moved| moved.down).collect::<Vec<_>>(),
    })
}
