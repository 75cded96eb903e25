//! Looks at files every second.

use std::time::Duration;

use crate::task;

/// Between two looks. A change is read once it is as old.
const INTERVAL: Duration = Duration::from_secs(1);

/// Calls `look`, which may block, with what it has seen so far. Never ends.
pub(super) async fn every_second<T: Send + 'static>(
    mut seen: T,
    look: impl Fn(&mut T) + Clone + Send + 'static,
) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let look = look.clone();
        let looked = task::spawn_blocking(move || {
            look(&mut seen);
            seen
        });
        match looked.await {
            Ok(again) => seen = again,
            // The runtime shuts down.
            Err(_) => return,
        }
    }
}
