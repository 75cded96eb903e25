//! The project's pages of Markdown: links, and the names of settings, metrics and commands in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A page without HTML comments.
pub(crate) struct Page {
    /// Relative to the project's folder.
    pub(crate) file: PathBuf,
    pub(crate) text: String,
}

impl Page {
    /// `text` and `#anchor` of each relative link: `[…](file#anchor)`.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets
            .filter(|target| !target.contains("://") && !target.contains(' '))
            .map(|target| {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                (file.to_owned(), anchor.to_owned())
            })
            .collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|heading| {
                let text = heading.trim_start_matches('#').trim().to_lowercase();
                let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
                text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }

    /// What is between backquotes on one line.
    pub(crate) fn code(&self) -> Vec<String> {
        let prose = self.prose();
        prose
            .lines()
            .flat_map(|line| {
                line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The lines of blocks.
    pub(crate) fn block_lines(&self) -> Vec<&str> {
        let blocks = self.text.split("\n```").skip(1).step_by(2);
        blocks.flat_map(|block| block.lines().skip(1)).collect()
    }

    /// Without blocks.
    fn prose(&self) -> String {
        self.text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
    }
}

/// All pages, by the folders that have some.
pub(crate) fn all() -> Vec<Page> {
    let folders = [".", "docs", "deploy", "deploy/prometheus", "tests", "tests/bench"];
    let mut pages = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(super::root().join(folder)).expect("a folder").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == "md") {
                let text = fs::read_to_string(&path).expect("a page");
                let file = Path::new(folder).join(entry.file_name());
                pages.push(Page { file, text: without_comments(&text) });
            }
        }
    }
    assert!(pages.len() > 20, "{} pages only", pages.len());
    pages
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once("-->").map_or("", |(_, after)| after));
    }
    kept
}

/// The words of a text that consist of lower-case letters, digits, `_` and `.`, and have the prefix.
pub(crate) fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    text.split(move |c| !is_part(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(move |word| word.starts_with(prefix))
}
