//! The problems of a configuration, with the lines of the file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::secret;
use crate::op::escape::printable;

/// All errors of a configuration, in the order of the file; without errors, its warnings.
#[derive(Clone)]
pub struct Report {
    file: String,
    /// Without secrets.
    lines: Vec<String>,
    problems: Vec<Problem>,
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it prevents the start.
    pub severity: Severity,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The key's path: `listeners.public.tls.mode`, `routes[0].backend`.
    pub path: String,
    /// What is wrong. It may quote the file, unescaped.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    width: usize,
}

/// How serious a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The gateway does not start.
    Error,
    /// It starts, but a setting has no effect, or another one than expected; or it will not start on this
    /// machine at present.
    Warning,
}

impl Report {
    /// `lines`: of the file, without secrets.
    pub(super) fn new(file: &str, lines: Vec<String>, problems: Problems) -> Self {
        let mut problems = problems.found;
        // Warnings are often consequences of an error elsewhere.
        if problems.iter().any(|p| p.severity == Severity::Error) {
            problems.retain(|p| p.severity == Severity::Error);
        }
        problems.sort_by_key(|p| (p.line, p.column));
        problems.dedup();
        Self { file: file.into(), lines, problems }
    }

    /// In the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there are neither errors nor warnings.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }

    fn write_problem(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| printable(text.as_bytes()).to_string();
        f.write_str(&shown(&self.file))?;
        if problem.line > 0 {
            write!(f, ":{}:{}", problem.line, problem.column)?;
        }
        if problem.severity == Severity::Warning {
            write!(f, ": warning")?;
        }
        if !problem.path.is_empty() {
            write!(f, ": {}", shown(&problem.path))?;
        }
        write!(f, ": {}", shown(&problem.message))?;
        if let Some(suggestion) = &problem.suggestion {
            write!(f, " (did you mean \"{}\"?)", shown(suggestion))?;
        }
        writeln!(f)?;
        self.write_source(problem, f)
    }

    fn write_source(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(line) = problem.line.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return Ok(());
        };
        let line = secret::masked(line, &problem.path, problem.column);
        let part = |from, length| shown(&line.chars().skip(from).take(length).collect::<String>());
        let before = part(0, problem.column - 1);
        let pad: String = before.chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
        // A masked value keeps its width.
        let masked = (problem.column - 1 + problem.width).saturating_sub(line.chars().count());
        let width =
            part(problem.column - 1, problem.width).chars().count() + masked.min(problem.width);
        let carets = "^".repeat(width.max(1));
        writeln!(f, "{:5} | {}", problem.line, shown(&line))?;
        writeln!(f, "      | {pad}{carets}")
    }
}

/// Escapes control characters, except tabs.
fn shown(text: &str) -> String {
    let pieces = text.split('\t').map(|piece| printable(piece.as_bytes()).to_string());
    pieces.collect::<Vec<_>>().join("\t")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            self.write_problem(problem, f)?;
        }
        let noun = if self.has_errors() { "problem" } else { "warning" };
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        write!(f, "{} {noun}{plural}", self.problems.len())
    }
}

/// Without the file's text.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Report {}

/// The location of a key or value: its position in the file and its path.
#[derive(Debug, Clone, Default)]
pub(super) struct Location {
    pub mark: Mark,
    pub path: String,
}

/// A position in the text; line and column from 1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

impl Location {
    /// The location of the absent key `key` of this section.
    pub(super) fn absent(&self, key: &str) -> Location {
        self.key(key, self.mark)
    }

    pub(super) fn key(&self, key: &str, mark: Mark) -> Location {
        let dot = if self.path.is_empty() { "" } else { "." };
        Location { mark, path: format!("{}{dot}{key}", self.path) }
    }

    pub(super) fn item(&self, index: usize, mark: Mark) -> Location {
        Location { mark, path: format!("{}[{index}]", self.path) }
    }

    /// The location in another file than the report's.
    pub(super) fn in_file(&self, file: &str) -> Location {
        let Mark { line, column, .. } = self.mark;
        let path = match (line, self.path.as_str()) {
            (0, "") => file.to_owned(),
            (0, path) => format!("{file}: {path}"),
            (_, "") => format!("{file}:{line}:{column}"),
            (_, path) => format!("{file}:{line}:{column}: {path}"),
        };
        Location { mark: Mark::default(), path }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mark.line {
            0 => f.write_str(&self.path),
            line => write!(f, "{} in line {line}", self.path),
        }
    }
}

/// The problems found so far, and the files that the configuration is made of.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    files: Vec<(Location, PathBuf)>,
}

impl Problems {
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Notes a file that is read with the configuration, as written there.
    pub(super) fn note_file(&mut self, at: &Location, file: &Path) {
        self.files.push((at.clone(), file.to_owned()));
    }

    /// The noted files.
    pub(super) fn files(&self) -> &[(Location, PathBuf)] {
        &self.files
    }

    /// Adds these, of another file, to the problems of a report.
    pub(super) fn move_to(self, report: &mut Problems, file: &str) {
        for Problem { severity, line, column, path, message, suggestion, width } in self.found {
            let at = Location { mark: Mark { line, column, width }, path }.in_file(file);
            report.push(severity, &at, message, suggestion);
        }
    }

    /// Whether there is an error at this path.
    pub(super) fn has_error_at(&self, at: &Location) -> bool {
        self.found.iter().any(|it| it.severity == Severity::Error && it.path == at.path)
    }

    /// Adds a possible reason to the error at this path; a warning if there is none.
    pub(super) fn hint(&mut self, at: &Location, hint: impl std::fmt::Display) {
        let is_here = |it: &&mut Problem| it.severity == Severity::Error && it.path == at.path;
        match self.found.iter_mut().find(is_here) {
            Some(error) => error.message = format!("{}; {hint}", error.message),
            None => self.warning(at, hint.to_string()),
        }
    }

    pub(super) fn error(&mut self, at: &Location, message: impl Into<String>) {
        self.error_with_suggestion(at, message, None);
    }

    pub(super) fn error_with_suggestion(
        &mut self,
        at: &Location,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.push(Severity::Error, at, message.into(), suggestion);
    }

    pub(super) fn warning(&mut self, at: &Location, message: impl Into<String>) {
        self.push(Severity::Warning, at, message.into(), None);
    }

    fn push(
        &mut self,
        severity: Severity,
        at: &Location,
        message: String,
        suggestion: Option<String>,
    ) {
        let Mark { line, column, width } = at.mark;
        let path = at.path.clone();
        self.found.push(Problem { severity, line, column, path, message, suggestion, width });
    }
}
