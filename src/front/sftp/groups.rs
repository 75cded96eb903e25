//! Which group a client gets that asks for one by its size (RFC 4419).

use russh::client::GexParams;
use russh::kex::dh::groups::{DH_GROUP14, DH_GROUP15, DH_GROUP16, DhGroup};

/// From 2048 to 4096 bits (RFC 3526): a larger one would keep a core busy for seconds.
const GROUPS: [&DhGroup; 3] = [&DH_GROUP14, &DH_GROUP15, &DH_GROUP16];

/// The smallest that is as large as the client would like; else the largest that it takes. russh's own
/// choice may be larger than that.
pub(super) fn group(wanted: &GexParams) -> Option<DhGroup> {
    let sizes = wanted.min_group_size()..=wanted.max_group_size();
    let mut taken = GROUPS.into_iter().filter(|group| sizes.contains(&group.bit_size()));
    let largest = taken.clone().next_back();
    let fitting = taken.find(|group| group.bit_size() >= wanted.preferred_group_size());
    fitting.or(largest).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_a_group_between_its_bounds() {
        for (least, wanted, most, bits) in [
            (2048, 2048, 2048, Some(2048)),
            (2048, 2049, 8192, Some(3072)),
            (2048, 3072, 8192, Some(3072)),
            (2048, 8192, 8192, Some(4096)),
            (2048, 4096, 3100, None),
            (4097, 8192, 8192, None),
        ] {
            let Ok(wanted) = GexParams::new(least, wanted, most) else {
                assert_eq!(bits, None);
                continue;
            };
            assert_eq!(group(&wanted).map(|group| group.bit_size()), bits, "{wanted:?}");
        }
    }
}
