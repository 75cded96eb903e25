//! Lines of a listing that yield no entry, and the names that may be hidden in them.

use crate::op::{Failure, FailureKind};

/// Lines that were left out of a listing.
#[derive(Default)]
pub(super) struct Omitted {
    /// Lines of unknown shape: the names in them are unknown.
    unknown: usize,
    /// Lines that do not matter next to entries: names that no client can request, paths at some
    /// servers, and pieces of a name that contains a line break.
    minor: usize,
    /// The name that is looked up, if any.
    looked_up: Option<Vec<u8>>,
    /// One of the lines may be about the looked-up name.
    may_name_it: bool,
}

impl Omitted {
    /// Of a listing in which a name is looked up.
    pub(super) fn look_up(&mut self, name: &[u8]) {
        self.looked_up = Some(name.to_vec());
    }

    pub(super) fn reset(&mut self) {
        *self = Self { looked_up: self.looked_up.take(), ..Self::default() };
    }

    pub(super) fn lines(&self) -> usize {
        self.unknown + self.minor
    }

    /// A line that was too long to be read.
    pub(super) fn add_overlong(&mut self) {
        self.unknown += 1;
        self.may_name_it = true;
    }

    pub(super) fn add_unknown(&mut self, line: &[u8]) {
        self.unknown += 1;
        self.search(line);
    }

    pub(super) fn add_minor(&mut self, line: &[u8]) {
        self.minor += 1;
        self.search(line);
    }

    /// Ignores case: some servers do.
    fn search(&mut self, line: &[u8]) {
        let Some(name) = self.looked_up.as_deref().filter(|name| !name.is_empty()) else { return };
        self.may_name_it |= line.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
    }

    /// Fails if entries may be missing: clients would take them for deleted.
    pub(super) fn check_complete(&self, has_entries: bool) -> Result<(), Failure> {
        check_none(if has_entries { self.unknown } else { self.lines() })
    }

    /// Fails if the looked-up name may be among the lines: clients would take it for free.
    pub(super) fn check_absent(&self, has_entries: bool) -> Result<(), Failure> {
        if has_entries && !self.may_name_it { Ok(()) } else { check_none(self.lines()) }
    }
}

fn check_none(lines: usize) -> Result<(), Failure> {
    if lines == 0 {
        return Ok(());
    }
    Err(Failure::backend(
        FailureKind::TransferCut,
        format!(
            "the contents of the folder are uncertain; lines of the backend server's listing that \
             have an unknown format: {lines} (the gateway's log shows them)"
        ),
    ))
}
