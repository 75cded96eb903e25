//! Path patterns of which one must match, for conditions outside of the rules.

use globset::Error;

use super::names::Names;
use super::path_pattern::PathPattern;

/// Path patterns of which one must match.
#[derive(Debug, Clone, Default)]
pub struct PathPatterns {
    exact: Vec<PathPattern>,
    /// In lower case, for names of Windows.
    folded: Vec<PathPattern>,
}

impl PathPatterns {
    /// Compiles them for both kinds of names.
    pub fn new(exact: Vec<PathPattern>) -> Result<Self, Error> {
        let folded = exact.iter().map(PathPattern::folded).collect::<Result<_, _>>()?;
        Ok(Self { exact, folded })
    }

    /// Whether one matches a path that [`Names::spelled`] has returned.
    pub fn is_match(&self, names: Names, spelled: &[u8]) -> bool {
        let patterns = match names {
            Names::Exact => &self.exact,
            Names::Windows => &self.folded,
        };
        let names: Vec<&[u8]> = spelled.split(|b| *b == b'/').filter(|it| !it.is_empty()).collect();
        patterns.iter().any(|pattern| pattern.is_match(&names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::RemotePath;

    #[test]
    fn paths_match_as_the_server_reads_names() {
        let pattern = |text: &str| PathPattern::new(text).unwrap();
        let patterns = PathPatterns::new(vec![pattern("/In/*.csv"), pattern("/x")]).unwrap();
        for (given, exact, windows) in [
            ("/In/a.csv", true, true),
            ("/in/A.CSV", false, true),
            ("/In/a.csv. ", false, true),
            ("/In/b/a.csv", false, false),
            ("/In/a.csv.tmp", false, false),
            ("/x", true, true),
            ("/", false, false),
        ] {
            let path = RemotePath::resolve(&RemotePath::root(), given.as_bytes()).unwrap();
            for (names, expected) in [(Names::Exact, exact), (Names::Windows, windows)] {
                let spelled = names.spelled(&path);
                assert_eq!(patterns.is_match(names, spelled.as_bytes()), expected, "{given}");
            }
        }
    }
}
