//! Window sizes of channels (RFC 4254 section 5.2).

/// The window of a new channel. During a key re-exchange, russh accepts twice as much from all
/// channels together before it ends the connection: more than socket buffers hold of what the
/// client sent before it received the request.
pub(super) const INITIAL_WINDOW_SIZE: u32 = 6 * 1024 * 1024;
/// The window of each channel after the first adjustment, as long as their sum allows it.
const WINDOW_SIZE_MAX: u32 = 2 * 1024 * 1024;
/// The sum of all windows: russh's limit without the overhead of SSH.
const WINDOWS_TOTAL_MAX: u32 = 2 * (INITIAL_WINDOW_SIZE - INITIAL_WINDOW_SIZE / 16);
pub(super) const PACKET_SIZE_MAX: u32 = 64 * 1024;

/// The window of each of `channels`.
pub(super) fn window_size(channels: usize) -> u32 {
    let channels = u32::try_from(channels).unwrap_or(u32::MAX);
    (WINDOWS_TOTAL_MAX / channels.max(1)).clamp(PACKET_SIZE_MAX, WINDOW_SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_windows_stays_below_the_limit_of_a_key_re_exchange() {
        assert_eq!(window_size(1), WINDOW_SIZE_MAX);
        for channels in 1..=100 {
            // With the overhead of SSH for packets of 32 KiB and more.
            let sum = u64::from(window_size(channels)) * channels as u64;
            assert!(sum + sum / 100 <= 2 * u64::from(INITIAL_WINDOW_SIZE), "{channels}");
            assert!(channels > 5 || window_size(channels) == WINDOW_SIZE_MAX);
        }
    }
}
