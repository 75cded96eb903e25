//! `slice`: every replica has the ports of its own index, so that a load balancer can send each data
//! port to its owner.

use std::ops::RangeInclusive;

use crate::config::report::Problems;
use crate::config::schema::Slice;
use crate::config::surroundings::Surroundings;

/// This replica's part of the range; the whole range where the index is not known and the
/// configuration is only looked at.
pub(super) fn cut(
    slice: &Slice,
    range: &RangeInclusive<u16>,
    surroundings: &Surroundings,
    problems: &mut Problems,
) -> Option<RangeInclusive<u16>> {
    let (of_leaf, env_leaf) = (slice.of.as_ref()?, slice.index_env.as_ref()?);
    let (of, name) = (of_leaf.value.as_ref()?.0, &env_leaf.value.as_ref()?.0);
    let ports = range.len();
    if of as usize > ports {
        let message = format!(
            "cuts {ports} port{} into {of} slices: some would have none",
            if ports == 1 { "" } else { "s" }
        );
        problems.error(&of_leaf.at, message);
        return None;
    }
    let Some(text) = (surroundings.variable)(name) else {
        let message = format!("the environment variable {name} is not set");
        match surroundings.runs_here {
            true => problems
                .error(&env_leaf.at, format!("{message}: it tells which slice is this replica's")),
            false => {
                let message = format!("{message} here; `run` needs it, to know its slice");
                problems.warning(&env_leaf.at, message);
            }
        }
        return (!surroundings.runs_here).then(|| range.clone());
    };
    match index(&text) {
        Some(index) if index < of => Some(part(range, index, of)),
        Some(index) => {
            let message = format!(
                "{name} is {text:?}, which is slice {index}; `of: {of}` has slices 0 to {}",
                of - 1
            );
            problems.error(&env_leaf.at, message);
            None
        }
        None => {
            let message = format!(
                "{name} is {text:?}, which is neither a number from 0 nor a name that ends in -N"
            );
            problems.error(&env_leaf.at, message);
            None
        }
    }
}

/// `2`, or a StatefulSet's pod name, `lockgate-2`.
fn index(text: &str) -> Option<u32> {
    let digits = text.rsplit_once('-').map_or(text, |(_, digits)| digits);
    let digits = Some(digits).filter(|it| it.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Slices lie side by side in the order of their index. What does not divide evenly goes to the first
/// ones, a port each: none is left over, none is shared. `index` is below `of`, and `of` at most the
/// number of ports.
fn part(range: &RangeInclusive<u16>, index: u32, of: u32) -> RangeInclusive<u16> {
    let ports = range.len() as u32;
    let (each, more) = (ports / of, ports % of);
    let first = u32::from(*range.start()) + index * each + index.min(more);
    let last = first + each + u32::from(index < more) - 1;
    // Both lie in the range.
    first as u16..=last as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_nothing_and_leave_nothing_over() {
        assert_eq!(part(&(50000..=50009), 0, 3), 50000..=50003);
        assert_eq!(part(&(50000..=50009), 1, 3), 50004..=50006);
        assert_eq!(part(&(50000..=50009), 2, 3), 50007..=50009);
        for range in [1..=65535, 65535..=65535, 40000..=40098, 50000..=50099] {
            for of in [1, 2, 3, 7, 64, range.len() as u32] {
                if of as usize > range.len() {
                    continue;
                }
                let all: Vec<u16> = (0..of).flat_map(|index| part(&range, index, of)).collect();
                assert_eq!(all, range.clone().collect::<Vec<_>>(), "{range:?} of {of}");
                let lengths = (0..of).map(|index| part(&range, index, of).len());
                let (least, most) = (lengths.clone().min(), lengths.max());
                assert!(least > Some(0) && most.zip(least).is_some_and(|(m, l)| m - l <= 1));
            }
        }
    }

    #[test]
    fn an_index_is_a_number_or_ends_a_name() {
        for (text, expected) in [
            ("0", Some(0)),
            ("lockgate-12", Some(12)),
            ("ftp-edge-3", Some(3)),
            ("", None),
            ("lockgate-", None),
            ("lockgate3", None),
            ("lockgate-x3", None),
            ("+3", None),
            ("99999999999", None),
        ] {
            assert_eq!(index(text), expected, "{text}");
        }
        // What looks like a sign is the end of a name.
        assert_eq!(index("-3"), Some(3));
    }
}
