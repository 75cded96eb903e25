//! Sleeps of a few milliseconds: the runtime's own timer takes up to two more, which would halve the rate of
//! small uploads.

use std::time::Duration;

use tokio::task::spawn_blocking;

/// From here on the runtime's timer does.
const LONG: Duration = Duration::from_millis(5);

/// Returns when the time is over. A short one takes a thread of the pool for blocking work meanwhile, also
/// where nobody waits for it any more.
pub async fn short_sleep(time: Duration) {
    if time >= LONG || spawn_blocking(move || std::thread::sleep(time)).await.is_err() {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_sleep_is_never_too_short() {
        for time in [Duration::ZERO, Duration::from_micros(300), LONG] {
            let begun = Instant::now();
            short_sleep(time).await;
            assert!(begun.elapsed() >= time);
        }
    }
}
