//! A step of a case, what is expected of it, and what came of it.

use serde::Deserialize;

/// What new files have in them if a step does not say.
pub const NEW: &str = "NEW";

/// `ACTION -> EXPECTED`.
#[derive(Debug, Clone)]
pub struct Step {
    pub action: String,
    /// A reply code or a word (ok, denied, absent, failure), then one of: `= DATA`, `[NAMES]`, a part of the
    /// text.
    pub expected: String,
}

/// What the client was told.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Outcome {
    /// The reply code or the word.
    pub result: String,
    /// All of the reply or the status.
    #[serde(default)]
    pub text: String,
    /// What was downloaded.
    #[serde(default)]
    pub data: Option<String>,
    /// What was listed, sorted.
    #[serde(default)]
    pub names: Option<Vec<String>>,
}

/// With `N*x` at the end, N times the x.
pub fn expand(data: &str) -> String {
    let repeated = || {
        let (before, letter) = data.rsplit_once('*')?;
        let kept = before.trim_end_matches(|c: char| c.is_ascii_digit());
        let count: usize = before[kept.len()..].parse().ok()?;
        Some(format!("{kept}{}", letter.repeat(count)))
    };
    repeated().unwrap_or_else(|| data.to_owned())
}

impl Step {
    pub fn parse(text: &str) -> Self {
        let (action, expected) =
            text.rsplit_once(" -> ").unwrap_or_else(|| panic!("no \" -> \" in {text:?}"));
        Self { action: action.trim().to_owned(), expected: expected.trim().to_owned() }
    }
}

impl Outcome {
    pub fn fits(&self, expected: &str) -> bool {
        let (result, rest) = expected.split_once(' ').unwrap_or((expected, ""));
        if result != self.result {
            return false;
        }
        let rest = rest.trim();
        if let Some(data) = rest.strip_prefix('=') {
            return self.data.as_deref() == Some(data.trim());
        }
        if let Some(names) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            return self.names.as_ref().is_some_and(|found| found.iter().eq(names));
        }
        self.text.contains(rest)
    }
}
