//! Many path patterns, by a name that each contains: only those that contain a name of the path are tried.

use std::collections::HashMap;

use super::path_pattern::PathPattern;

/// Patterns that contain at least one name without wildcards.
#[derive(Default)]
pub(super) struct PathIndex {
    /// With what each belongs to.
    patterns: Vec<(PathPattern, usize)>,
    /// By the name at each place of a path.
    at: Vec<HashMap<Box<[u8]>, Vec<u32>>>,
    /// By a name at any place.
    anywhere: HashMap<Box<[u8]>, Vec<u32>>,
}

impl PathIndex {
    /// Returns the patterns that contain no name.
    pub(super) fn new(
        given: impl Iterator<Item = (PathPattern, usize)>,
    ) -> (Self, Vec<(PathPattern, usize)>) {
        let (patterns, rest): (Vec<_>, Vec<_>) =
            given.partition(|(pattern, _)| pattern.names().next().is_some());
        // The rarest of its names tells most.
        let mut counts: HashMap<(Option<usize>, Box<[u8]>), usize> = HashMap::new();
        for (place, name) in patterns.iter().flat_map(|(pattern, _)| pattern.names()) {
            *counts.entry((place, name.into())).or_default() += 1;
        }
        let mut index = Self::default();
        for (number, (pattern, _)) in patterns.iter().enumerate() {
            let count = |(place, name): &(Option<usize>, &[u8])| counts[&(*place, (*name).into())];
            let Some((place, name)) = pattern.names().min_by_key(count) else { continue };
            index.names_at(place).entry(name.into()).or_default().push(number as u32);
        }
        (Self { patterns, ..index }, rest)
    }

    fn names_at(&mut self, place: Option<usize>) -> &mut HashMap<Box<[u8]>, Vec<u32>> {
        let Some(place) = place else { return &mut self.anywhere };
        if self.at.len() <= place {
            self.at.resize_with(place + 1, HashMap::new);
        }
        &mut self.at[place]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Calls `found` with what each matching pattern belongs to, and whether the path is only the folder of
    /// a pattern for everything below it.
    pub(super) fn find(&self, names: &[&[u8]], mut found: impl FnMut(usize, bool)) {
        for (place, name) in names.iter().enumerate() {
            let here = self.at.get(place).and_then(|names| names.get(*name));
            let anywhere = self.anywhere.get(*name);
            for number in here.into_iter().chain(anywhere).flatten() {
                let (pattern, owner) = &self.patterns[*number as usize];
                if pattern.is_match(names) {
                    found(*owner, false);
                }
                if pattern.is_match_of_folder(names) {
                    found(*owner, true);
                }
            }
        }
    }
}
