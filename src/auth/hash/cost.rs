//! What a check of a password costs, and the most that a hash may ask for.

use std::fmt;

use super::HashError;

/// Bytes of a hash's text.
pub(super) const HASH_MAX: usize = 1024;
/// Bytes of memory of one check. As many checks run at once as there are cores.
pub(super) const MEMORY_MAX: u64 = 1 << 30;
/// Bytes that argon2, scrypt and yescrypt write in all: some seconds.
pub(super) const MEMORY_PASSES_MAX: u64 = 4 << 30;
/// PBKDF2's iterations, for each block of output: some seconds.
pub(super) const ITERATIONS_MAX: u64 = 10_000_000;
/// SHA-crypt's rounds: some seconds.
pub(super) const ROUNDS_MAX: u64 = 5_000_000;
/// bcrypt's cost, a power of two: some seconds.
pub(super) const BCRYPT_COST_MAX: u64 = 15;

/// The work of a password check: hashes with equal costs take the same time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cost(String);

impl Cost {
    pub(super) fn new(text: fmt::Arguments<'_>) -> Self {
        Self(text.to_string())
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses more than `max` of `unit`.
pub(super) fn limit(asked: u64, max: u64, unit: &str) -> Result<(), HashError> {
    if asked <= max {
        return Ok(());
    }
    Err(HashError::TooExpensive { asked: format!("{asked} {unit}"), max: max.to_string() })
}

/// Refuses more than [`MEMORY_MAX`] and [`MEMORY_PASSES_MAX`]. `passes`: how often the memory is written.
pub(super) fn limit_memory(bytes: u64, passes: u64) -> Result<(), HashError> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    limit(mib(bytes), mib(MEMORY_MAX), "MiB of memory")?;
    let written = mib(bytes.saturating_mul(passes));
    limit(written, mib(MEMORY_PASSES_MAX), "MiB of memory in all passes")
}
