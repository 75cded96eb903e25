//! All rules of a configuration, and the search for the one that decides.

use std::sync::Arc;

use globset::{GlobSet, GlobSetBuilder};

use super::counts::{KnownRules, RuleCount, RuleCounts};
use super::facts::SessionFacts;
use super::path_index::PathIndex;
use super::path_pattern::PathPattern;
use super::rule::{Rule, Scope, UploadRule};
use crate::op::{RemotePath, as_os_path};

/// The compiled `policy` section.
pub struct RuleSet {
    rules: Vec<Rule>,
    uploads: Vec<UploadRule>,
    /// Whether nothing is refused: what would be is logged.
    dry_run: bool,
    counts: RuleCounts,
    exact: PathMatcher,
    /// For names of Windows: everything in lower case.
    folded: PathMatcher,
}

/// The path patterns of all rules together, so that a path is matched once.
struct PathMatcher {
    /// Of each scope.
    patterns: Vec<Vec<PathPattern>>,
    index: PathIndex,
    /// The patterns without a name, such as `/**/*.csv`.
    set: GlobSet,
    /// By the index of the glob.
    owners: Vec<Owner>,
}

struct Owner {
    scope: usize,
    /// The folder of a pattern for everything below it.
    is_folder: bool,
}

/// How the scopes match a path. One bit for each scope.
pub(super) struct PathMatches {
    matched: Bits,
    folders: Bits,
}

#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }
}

impl PathMatches {
    /// Whether a pattern of the scope matches.
    pub(super) fn contains(&self, scope: usize) -> bool {
        self.matched.contains(scope)
    }

    /// Whether the path is the folder of a scope's pattern for everything below it.
    pub(super) fn is_folder_of(&self, scope: usize) -> bool {
        self.folders.contains(scope)
    }
}

impl PathMatcher {
    fn new<'a>(
        scopes: impl Iterator<Item = &'a Scope>,
        fold: bool,
    ) -> Result<Self, globset::Error> {
        let spelled = |pattern: &PathPattern| {
            if fold { pattern.folded() } else { Ok(pattern.clone()) }
        };
        let of_scope = |scope: &Scope| scope.paths.iter().flatten().map(spelled).collect();
        let patterns = scopes.map(of_scope).collect::<Result<Vec<Vec<_>>, _>>()?;
        let with_scope = patterns
            .iter()
            .enumerate()
            .flat_map(|(scope, own)| own.iter().map(move |pattern| (pattern.clone(), scope)));
        let (index, rest) = PathIndex::new(with_scope);
        let (mut set, mut owners) = (GlobSetBuilder::new(), Vec::new());
        for (pattern, scope) in rest {
            set.add(pattern.glob()?);
            owners.push(Owner { scope, is_folder: false });
            if let Some(folder) = pattern.folder() {
                set.add(folder?);
                owners.push(Owner { scope, is_folder: true });
            }
        }
        Ok(Self { patterns, index, set: set.build()?, owners })
    }

    fn is_empty(&self) -> bool {
        self.index.is_empty() && self.owners.is_empty()
    }

    fn matches(&self, path: &RemotePath, scopes: usize) -> PathMatches {
        let (mut matched, mut folders) = (Bits::new(scopes), Bits::new(scopes));
        let mut found = |scope, is_folder| {
            if is_folder { folders.insert(scope) } else { matched.insert(scope) }
        };
        let names: Vec<&[u8]> = path.components().collect();
        self.index.find(&names, &mut found);
        if !self.owners.is_empty() {
            for index in self.set.matches(as_os_path(path.as_bytes())) {
                let Owner { scope, is_folder } = self.owners[index];
                found(scope, is_folder);
            }
        }
        PathMatches { matched, folders }
    }
}

impl RuleSet {
    /// Compiles the patterns of all rules together.
    pub fn new(
        rules: Vec<Rule>,
        uploads: Vec<UploadRule>,
        dry_run: bool,
    ) -> Result<Self, globset::Error> {
        let scopes =
            || rules.iter().map(|rule| &rule.scope).chain(uploads.iter().map(|it| &it.scope));
        let exact = PathMatcher::new(scopes(), false)?;
        let folded = PathMatcher::new(scopes(), true)?;
        Ok(Self { rules, uploads, dry_run, counts: RuleCounts::default(), exact, folded })
    }

    /// Counts what its rules deny, and goes on with the counts of another configuration.
    pub fn counted(self, known: &KnownRules) -> Self {
        let names = self.rules.iter().map(|rule| rule.name.clone());
        let entries = self.uploads.iter().map(|entry| entry.name.clone());
        let counts = known.counts(names.chain(entries));
        Self { counts, ..self }
    }

    /// What each rule has denied, by name.
    pub fn denials(&self) -> impl Iterator<Item = RuleCount> {
        self.counts.all()
    }

    pub(super) fn counts(&self) -> &RuleCounts {
        &self.counts
    }

    /// In order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// In order.
    pub fn uploads(&self) -> &[UploadRule] {
        &self.uploads
    }

    /// Whether nothing is refused.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether a rule depends on paths.
    pub fn has_paths(&self) -> bool {
        !self.exact.is_empty()
    }

    /// `folded`: the path in the spelling for Windows, if the server reads names so.
    pub(super) fn matches(&self, path: &RemotePath, folded: Option<&RemotePath>) -> PathMatches {
        let scopes = self.rules.len() + self.uploads.len();
        match folded {
            None => self.exact.matches(path, scopes),
            Some(folded) => self.folded.matches(folded, scopes),
        }
    }

    /// The patterns of a scope; `folded`: as for names of Windows.
    pub(super) fn patterns(&self, scope: usize, folded: bool) -> &[PathPattern] {
        let matcher = if folded { &self.folded } else { &self.exact };
        &matcher.patterns[scope]
    }

    /// The scope of an upload rule follows those of the rules.
    pub(super) fn upload_scope(&self, upload: usize) -> usize {
        self.rules.len() + upload
    }

    /// The rules whose conditions on the session hold.
    pub(super) fn applicable(&self, facts: &SessionFacts) -> Applicable {
        let indices = |scopes: &mut dyn Iterator<Item = &Scope>| {
            let covered = scopes.enumerate().filter(|(_, scope)| scope.session.covers(facts));
            covered.map(|(index, _)| index as u32).collect()
        };
        Applicable {
            rules: indices(&mut self.rules.iter().map(|rule| &rule.scope)),
            uploads: indices(&mut self.uploads.iter().map(|upload| &upload.scope)),
        }
    }
}

/// The indices of the rules that can apply in a session.
#[derive(Debug)]
pub(super) struct Applicable {
    pub(super) rules: Arc<[u32]>,
    pub(super) uploads: Arc<[u32]>,
}
