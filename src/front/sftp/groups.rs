//! The group of a Diffie-Hellman group exchange (RFC 4419).

use russh::client::GexParams;
use russh::kex::dh::groups::{DH_GROUP14, DH_GROUP15, DH_GROUP16, DhGroup};

/// From 2048 to 4096 bits (RFC 3526): a larger one would keep a core busy for seconds.
const GROUPS: [&DhGroup; 3] = [&DH_GROUP14, &DH_GROUP15, &DH_GROUP16];

/// The smallest group of at least the preferred size, else the largest that the client accepts.
/// russh's own choice may be larger than that.
pub(super) fn group(request: &GexParams) -> Option<DhGroup> {
    let sizes = request.min_group_size()..=request.max_group_size();
    let mut accepted = GROUPS.into_iter().filter(|group| sizes.contains(&group.bit_size()));
    let largest = accepted.clone().next_back();
    let fitting = accepted.find(|group| group.bit_size() >= request.preferred_group_size());
    fitting.or(largest).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_a_group_between_its_bounds() {
        for (min, preferred, max, bits) in [
            (2048, 2048, 2048, Some(2048)),
            (2048, 2049, 8192, Some(3072)),
            (2048, 3072, 8192, Some(3072)),
            (2048, 8192, 8192, Some(4096)),
            (2048, 4096, 3100, None),
            (4097, 8192, 8192, None),
        ] {
            let Ok(request) = GexParams::new(min, preferred, max) else {
                assert_eq!(bits, None);
                continue;
            };
            assert_eq!(group(&request).map(|group| group.bit_size()), bits, "{request:?}");
        }
    }
}
