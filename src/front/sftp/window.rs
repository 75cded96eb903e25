//! How much a client may send ahead on its channels (RFC 4254 section 5.2).

/// What a client may send on a new channel before it is told that there is room for more, in bytes.
/// While new keys are asked for, russh takes twice as much from all channels together before it cuts
/// the connection: more than sockets' buffers hold of what was sent before the client heard of it.
pub(super) const WINDOW: u32 = 6 * 1024 * 1024;
/// The same later, for each channel, as long as the sum stays below that bound.
const LATER_WINDOW: u32 = 2 * 1024 * 1024;
/// What all channels' windows may be together: russh's bound without SSH's own bytes.
const ALL_WINDOWS: u32 = 2 * (WINDOW - WINDOW / 16);
/// The largest SSH packet, in bytes.
pub(super) const PACKET: u32 = 64 * 1024;
/// What a client may send ahead on each of so many channels, in bytes.
pub(super) fn window(channels: usize) -> u32 {
    let channels = u32::try_from(channels).unwrap_or(u32::MAX);
    (ALL_WINDOWS / channels.max(1)).clamp(PACKET, LATER_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_windows_fit_what_is_taken_while_keys_change() {
        assert_eq!(window(1), LATER_WINDOW);
        for channels in 1..=100 {
            // With SSH's own bytes for packets of 32 KiB and more.
            let sum = u64::from(window(channels)) * channels as u64;
            assert!(sum + sum / 100 <= 2 * u64::from(WINDOW), "{channels}");
            assert!(channels > 5 || window(channels) == LATER_WINDOW);
        }
    }
}
