//! Path patterns of rules: globs over the client's paths.

use std::collections::BTreeSet;

use globset::{Glob, GlobBuilder, GlobMatcher};

use crate::op::{RemotePath, as_os_path};

/// Matches everything below a folder.
const BELOW: &str = "/**";
const SPECIAL: [char; 6] = ['*', '?', '[', ']', '{', '\\'];

/// A glob over whole paths: `*` and `?` do not match a slash, `**` does. It matches bytes.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    components: Vec<Component>,
    /// In braces or brackets.
    has_inner_slash: bool,
}

#[derive(Debug, Clone)]
enum Component {
    /// `**`: any number of components.
    Any,
    Name(Box<[u8]>),
    One(GlobMatcher),
}

impl Component {
    fn is_match(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => **own == *name,
            Self::One(glob) => glob.is_match(as_os_path(name)),
        }
    }
}

impl PathPattern {
    /// `pattern` starts with a slash.
    pub fn new(pattern: &str) -> Result<Self, globset::Error> {
        glob(pattern)?;
        let split = split(pattern);
        let has_inner_slash = split.iter().any(|component| component.contains('/'));
        let components = split.into_iter().map(|component| match component {
            "**" => Ok(Component::Any),
            name if !name.contains(SPECIAL) => Ok(Component::Name(name.as_bytes().into())),
            component => Ok(Component::One(glob(component)?.compile_matcher())),
        });
        let components = components.collect::<Result<_, _>>()?;
        Ok(Self { text: pattern.to_owned(), components, has_inner_slash })
    }

    /// As configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As a lower-case pattern, for paths in lower case.
    pub(super) fn folded(&self) -> Result<Self, globset::Error> {
        Self::new(&self.text.to_lowercase())
    }

    pub(super) fn glob(&self) -> Result<Glob, globset::Error> {
        glob(&self.text)
    }

    /// The folder of a pattern for everything below it ("/in" of "/in/**"): to list it is to see what is
    /// below.
    pub(super) fn folder(&self) -> Option<Result<Glob, globset::Error>> {
        match self.text.strip_suffix(BELOW)? {
            "" => Some(glob("/")),
            folder => Some(glob(folder)),
        }
    }

    /// The names without wildcards that it contains, each with its place in matching paths; `None` behind a
    /// `**`. None if it cannot be matched name by name.
    pub(super) fn names(&self) -> impl Iterator<Item = (Option<usize>, &[u8])> {
        let mut is_fixed = true;
        let by_name = !self.has_inner_slash;
        self.components.iter().enumerate().filter_map(move |(place, component)| match component {
            Component::Any => {
                is_fixed = false;
                None
            }
            Component::Name(name) if by_name => Some((is_fixed.then_some(place), &**name)),
            _ => None,
        })
    }

    /// Whether it matches a path of these names.
    pub(super) fn is_match(&self, names: &[&[u8]]) -> bool {
        is_match(&self.components, names)
    }

    /// Whether the path of these names is the folder of a pattern for everything below it.
    pub(super) fn is_match_of_folder(&self, names: &[&[u8]]) -> bool {
        match self.components.split_last() {
            Some((Component::Any, above)) => is_match(above, names),
            _ => false,
        }
    }

    /// Whether it could match something below `folder` that it no longer matches once the folder has another
    /// name. What follows a `**` at the start matches below any folder, unless the folder's own name is a
    /// part of it.
    pub(super) fn is_at_or_below(&self, folder: &RemotePath) -> bool {
        let free = self.components.iter().take_while(|it| matches!(it, Component::Any)).count();
        let is_bound = |place: &usize| free == 0 || *place > free;
        self.places(folder).iter().any(|place| is_bound(place) && *place < self.components.len())
    }

    /// Whether it certainly matches everything below `folder`.
    pub(super) fn includes_all_below(&self, folder: &RemotePath) -> bool {
        let last = self.components.len().saturating_sub(1);
        let ends_in_any = matches!(self.components.last(), Some(Component::Any));
        ends_in_any && self.places(folder).contains(&last)
    }

    /// The components that may come next in what is below `folder`, by their indices.
    fn places(&self, folder: &RemotePath) -> BTreeSet<usize> {
        let mut places = BTreeSet::from([0]);
        for name in folder.components() {
            places = self
                .with_skipped(places)
                .into_iter()
                .filter_map(|place| match self.components.get(place)? {
                    Component::Any => Some(place),
                    one => one.is_match(name).then_some(place + 1),
                })
                .collect();
        }
        places
    }

    /// `**` also stands for no component.
    fn with_skipped(&self, mut places: BTreeSet<usize>) -> BTreeSet<usize> {
        for (place, component) in self.components.iter().enumerate() {
            if places.contains(&place) && matches!(component, Component::Any) {
                places.insert(place + 1);
            }
        }
        places
    }

    /// Whether every path that `other` matches is certainly matched by this pattern, too.
    pub fn includes(&self, other: &Self) -> bool {
        let Some(folder) = self.text.strip_suffix(BELOW) else { return self.text == other.text };
        let literal = !folder.contains(['*', '?', '[', '{', '\\']);
        let below =
            |text: &str| text.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.text == other.text || (literal && below(&other.text))
    }
}

fn is_match(components: &[Component], names: &[&[u8]]) -> bool {
    match (components.last(), names) {
        // It matches what is below a folder, not the folder.
        (Some(Component::Any), [above @ .., _]) => is_match_or_above(components, above),
        (Some(Component::Any), []) => false,
        _ => is_match_or_above(components, names),
    }
}

/// Each `**` stands for as few names as possible, and for more where the rest does not match.
fn is_match_or_above(components: &[Component], names: &[&[u8]]) -> bool {
    let (mut next, mut name) = (0, 0);
    // The last `**`, and the first name that it does not stand for.
    let mut any: Option<(usize, usize)> = None;
    while name < names.len() {
        match components.get(next) {
            Some(Component::Any) => {
                any = Some((next, name));
                next += 1;
            }
            Some(one) if one.is_match(names[name]) => (next, name) = (next + 1, name + 1),
            _ => {
                let Some((place, end)) = any else { return false };
                any = Some((place, end + 1));
                (next, name) = (place + 1, end + 1);
            }
        }
    }
    components[next..].iter().all(|component| matches!(component, Component::Any))
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()
}

/// The components of a pattern; a slash within braces or brackets separates none.
fn split(pattern: &str) -> Vec<&str> {
    let (mut depth, mut escaped, mut start) = (0_u32, false, 0);
    let mut components = Vec::new();
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => {
                components.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    components.push(&pattern[start..]);
    components.retain(|component| !component.is_empty());
    components
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap()
    }

    #[test]
    fn a_pattern_lies_at_or_below_the_folders_on_its_way() {
        for (pattern, folder, expected) in [
            ("/a/secret/**", "/a", true),
            ("/a/secret/**", "/a/secret", true),
            ("/a/secret/**", "/", true),
            ("/a/secret/**", "/b", false),
            ("/a/secret/**", "/a/secrets", false),
            ("/a/secret", "/a/secret", false),
            ("/a/secret", "/a", true),
            ("/*/secret/**", "/b", true),
            ("/a/**/x", "/a/b/c", true),
            ("/**/*.exe", "/a", false),
            ("/**/finance/*.csv", "/finance", true),
            ("/**/finance/*.csv", "/a/finance", true),
            ("/**/finance/*.csv", "/a", false),
            ("/**/finance/*.csv", "/finance/b", false),
            ("/**/a/b/**", "/x/a", true),
            ("/**/a/b/**", "/x/a/b", true),
            ("/**/a/b/**", "/x/b", false),
            ("/a/**/b/c", "/a", true),
            ("/a/**/b/c", "/a/x/b", true),
            ("/**", "/a", false),
            ("/{a,b}/x", "/b", true),
            ("/{a,b/c}/x", "/b", false),
        ] {
            let found = PathPattern::new(pattern).unwrap().is_at_or_below(&path(folder));
            assert_eq!(found, expected, "{pattern} {folder}");
        }
    }

    proptest::proptest! {
        /// As globset matches the whole path.
        #[test]
        fn names_are_matched_as_a_glob_matches_the_path(
            pattern in proptest::collection::vec(
                proptest::sample::select(vec!["a", "b", "*", "?", "**", "a*", "{a,b}", "[ab]", "*.c", "\\*"]),
                1..5,
            ),
            names in proptest::collection::vec(
                proptest::sample::select(vec!["a", "b", "ab", "a.c", ".c", "*", "\u{e4}"]),
                0..6,
            ),
        ) {
            let text = pattern.iter().map(|it| format!("/{it}")).collect::<Vec<_>>().concat();
            let path = path(&format!("/{}", names.join("/")));
            let names: Vec<&[u8]> = path.components().collect();
            let pattern = PathPattern::new(&text).unwrap();
            let is_match = |glob: Glob| glob.compile_matcher().is_match(as_os_path(path.as_bytes()));
            if !names.is_empty() {
                proptest::prop_assert_eq!(
                    pattern.is_match(&names), is_match(pattern.glob().unwrap()), "{} {}", text, path
                );
                if let Some(folder) = pattern.folder() {
                    proptest::prop_assert_eq!(
                        pattern.is_match_of_folder(&names), is_match(folder.unwrap()), "{} {}", text, path
                    );
                }
            }
        }
    }

    #[test]
    fn a_pattern_may_include_all_that_is_below_a_folder() {
        for (pattern, folder, expected) in [
            ("/**", "/", true),
            ("/**", "/a", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/b", false),
            ("/a/**", "/", false),
            ("/a/*", "/a", false),
            ("/**/a/**", "/x/a/b", true),
            ("/**/a/**", "/x", false),
            ("/*/a", "/x", false),
        ] {
            let found = PathPattern::new(pattern).unwrap().includes_all_below(&path(folder));
            assert_eq!(found, expected, "{pattern} {folder}");
        }
    }

    #[test]
    fn a_pattern_for_a_folder_includes_those_below_it() {
        for (wide, narrow, expected) in [
            ("/**", "/a/*.csv", true),
            ("/in/**", "/in/**", true),
            ("/in/**", "/in/a/*", true),
            ("/in/**", "/inner/a", false),
            ("/in/**", "/in", false),
            ("/in/*", "/in/a", false),
            ("/i?/**", "/in/a", false),
            ("/in/a", "/in/a", true),
        ] {
            let [wide, narrow] = [wide, narrow].map(|text| PathPattern::new(text).unwrap());
            assert_eq!(wide.includes(&narrow), expected, "{wide:?} {narrow:?}");
        }
    }
}
