//! The hash whose cost a login with an unknown name pays, so that its time tells nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::{Cost, PasswordHash};

/// The hashes of a table of users by their cost.
#[derive(Default)]
pub(super) struct CostSets(Vec<CostSet>);

/// Hashes that take the same time.
struct CostSet {
    /// One of them.
    hash: Arc<PasswordHash>,
    /// From that hash, a secret.
    key: hmac::Key,
    /// How many there are.
    count: u32,
}

impl CostSets {
    pub(super) fn new<'a>(hashes: impl Iterator<Item = &'a Arc<PasswordHash>>) -> Self {
        let mut sets: BTreeMap<&Cost, (&Arc<PasswordHash>, u32)> = BTreeMap::new();
        for hash in hashes {
            let (first, count) = sets.entry(hash.cost()).or_insert((hash, 0));
            *count += 1;
            // The same in every replica and after a restart.
            if hash.as_str() < first.as_str() {
                *first = hash;
            }
        }
        let set = |(hash, count): (&Arc<PasswordHash>, u32)| CostSet {
            hash: hash.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, hash.as_str().as_bytes()),
            count,
        };
        Self(sets.into_values().map(set).collect())
    }

    /// A hash for an unknown name, always of the same cost for the same name: as often of each cost as known
    /// names are.
    ///
    /// By weighted rendezvous hashing, so that the cost of a name hardly ever changes with the table: a
    /// change would tell that the name is unknown.
    pub(super) fn choose(&self, name: &[u8]) -> Option<&Arc<PasswordHash>> {
        let score = |set: &CostSet| {
            let tag = hmac::sign(&set.key, name);
            let mut first = [0; 8];
            first.copy_from_slice(&tag.as_ref()[..8]);
            // Of 53 bits, between 0 and 1.
            let uniform = ((u64::from_be_bytes(first) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -uniform.ln() / f64::from(set.count)
        };
        let scored = self.0.iter().map(|set| (score(set), &set.hash));
        scored.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, hash)| hash)
    }
}
