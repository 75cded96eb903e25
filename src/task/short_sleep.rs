//! Sleeps of a few milliseconds: tokio's timer takes up to two more, which would halve the rate of small
//! uploads.

use std::time::Duration;

use super::spawn_blocking;

/// Sleeps of this length and longer use tokio's timer.
const SHORT_SLEEP_MAX: Duration = Duration::from_millis(5);

/// Sleeps. A short sleep occupies a thread of the blocking pool, even after the future is dropped.
pub async fn short_sleep(time: Duration) {
    if time >= SHORT_SLEEP_MAX || spawn_blocking(move || std::thread::sleep(time)).await.is_err() {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_sleep_is_never_too_short() {
        for time in [Duration::ZERO, Duration::from_micros(300), SHORT_SLEEP_MAX] {
            let start = Instant::now();
            short_sleep(time).await;
            assert!(start.elapsed() >= time);
        }
    }
}
