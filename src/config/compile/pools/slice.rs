//! `slice`: each replica uses the ports of its index, so that a load balancer can forward each data port to
//! its replica.

use std::ops::RangeInclusive;

use crate::config::machine::Machine;
use crate::config::report::Problems;
use crate::config::schema::Slice;

/// This replica's part of the range; the whole range if the index is unknown and the configuration is only
/// checked.
pub(super) fn cut(
    slice: &Slice,
    range: &RangeInclusive<u16>,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<RangeInclusive<u16>> {
    let (of_leaf, env_leaf) = (slice.of.as_ref()?, slice.index_env.as_ref()?);
    let (of, name) = (of_leaf.value.as_ref()?.0, &env_leaf.value.as_ref()?.0);
    let ports = range.len();
    if of as usize > ports {
        let message = format!(
            "divides {ports} port{} into {of} slices: some would have none",
            if ports == 1 { "" } else { "s" }
        );
        problems.error(&of_leaf.at, message);
        return None;
    }
    let Some(text) = (machine.variable)(name) else {
        let message = format!("the environment variable {name} is not set");
        if machine.runs_here {
            problems.error(&env_leaf.at, format!("{message}: it selects this replica's slice"));
        } else {
            let message = format!("{message} here; `run` needs it to select its slice");
            problems.warning(&env_leaf.at, message);
        }
        return (!machine.runs_here).then(|| range.clone());
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

/// This replica's index, if it is known and has a slice; otherwise [`cut`] reports that.
pub(super) fn replica(slice: &Slice, machine: &Machine) -> Option<u32> {
    let (of, name) =
        (slice.of.as_ref()?.value.as_ref()?.0, slice.index_env.as_ref()?.value.as_ref()?);
    index(&(machine.variable)(&name.0)?).filter(|index| *index < of)
}

/// `2`, or a StatefulSet's pod name, `lockgate-2`.
fn index(text: &str) -> Option<u32> {
    let digits = text.rsplit_once('-').map_or(text, |(_, digits)| digits);
    let digits = Some(digits).filter(|it| it.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Slices are adjacent, in the order of their index; the first ones have one port more if the range does
/// not divide evenly. `index` is below `of`, and `of` at most the number of ports.
fn part(range: &RangeInclusive<u16>, index: u32, of: u32) -> RangeInclusive<u16> {
    let ports = range.len() as u32;
    let (each, more) = (ports / of, ports % of);
    let first = u32::from(*range.start()) + index * each + index.min(more);
    let last = first + each + u32::from(index < more) - 1;
    // Both are in the range.
    first as u16..=last as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_the_range_without_overlap() {
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
                let (min, max) = (lengths.clone().min(), lengths.max());
                assert!(min > Some(0) && max.zip(min).is_some_and(|(max, min)| max - min <= 1));
            }
        }
    }

    #[test]
    fn an_index_is_a_number_or_the_end_of_a_name() {
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
        // The hyphen is the end of a name, not a sign.
        assert_eq!(index("-3"), Some(3));
    }
}
