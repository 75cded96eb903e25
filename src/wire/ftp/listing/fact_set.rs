//! The facts that a client has selected: OPTS MLST and the feature line, RFC 3659 sections 7.8 and 7.9.

use std::fmt;

/// A supported fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fact {
    /// The kind of entry, such as `file` or `dir` (RFC 3659 section 7.5.1).
    Type = 1,
    /// A file's size in bytes (RFC 3659 section 7.5.7).
    Size = 2,
    /// The modification time, `YYYYMMDDhhmmss` in UTC (RFC 3659 section 7.5.2).
    Modify = 4,
    /// The permission bits in octal, a system dependent fact (RFC 3659 section 7.6).
    UnixMode = 8,
    /// The owner as the backend reports it, a system dependent fact (RFC 3659 section 7.6).
    UnixOwner = 16,
    /// The group as the backend reports it, a system dependent fact (RFC 3659 section 7.6).
    UnixGroup = 32,
}

/// A set of [`Fact`]s. The default has those that clients use, without owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactSet(u8);

impl Fact {
    /// All facts, in the order of a line.
    pub const ALL: [Fact; 6] =
        [Fact::Type, Fact::Size, Fact::Modify, Fact::UnixMode, Fact::UnixOwner, Fact::UnixGroup];

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Fact::Type => "type",
            Fact::Size => "size",
            Fact::Modify => "modify",
            Fact::UnixMode => "UNIX.mode",
            Fact::UnixOwner => "UNIX.owner",
            Fact::UnixGroup => "UNIX.group",
        }
    }
}

impl FactSet {
    /// The set that has exactly these facts.
    pub fn of(facts: &[Fact]) -> Self {
        Self(facts.iter().fold(0, |set, fact| set | *fact as u8))
    }

    /// Parses the argument of `OPTS MLST` after `MLST ` (`type;size;`). Unknown facts are ignored, as the
    /// RFC requires; an empty argument selects no facts.
    pub fn parse(selected: &[u8]) -> Self {
        let is_selected = |fact: &Fact| {
            let mut names = selected.split(|b| *b == b';');
            names.any(|name| name.trim_ascii().eq_ignore_ascii_case(fact.name().as_bytes()))
        };
        Self(
            Fact::ALL
                .iter()
                .filter(|fact| is_selected(fact))
                .fold(0, |set, fact| set | *fact as u8),
        )
    }

    /// Whether the set has this fact.
    pub fn contains(self, fact: Fact) -> bool {
        self.0 & fact as u8 != 0
    }

    /// The feature line without its leading space: `MLST type*;size*;…`, with a star after each selected
    /// fact.
    pub fn feature(self) -> String {
        let facts = Fact::ALL.map(|fact| {
            let star = if self.contains(fact) { "*" } else { "" };
            format!("{}{star};", fact.name())
        });
        format!("MLST {}", facts.concat())
    }
}

impl Default for FactSet {
    fn default() -> Self {
        Self::of(&[Fact::Type, Fact::Size, Fact::Modify, Fact::UnixMode])
    }
}

/// The selected facts in a reply to `OPTS MLST`, after `MLST OPTS `: `type;size;`.
impl fmt::Display for FactSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selected = Fact::ALL.into_iter().filter(|fact| self.contains(*fact));
        selected.map(Fact::name).try_for_each(|name| write!(f, "{name};"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_select_facts() {
        for (selected, expected) in [
            ("type;size;", "type;size;"),
            ("SIZE;unix.MODE", "size;UNIX.mode;"),
            ("modify;perm;media-type;charset;type;", "type;modify;"),
            ("UNIX.owner;UNIX.group;", "UNIX.owner;UNIX.group;"),
            ("", ""),
            (";;", ""),
        ] {
            assert_eq!(FactSet::parse(selected.as_bytes()).to_string(), expected, "{selected}");
        }
    }

    #[test]
    fn the_feature_line_marks_selected_facts() {
        let expected = "MLST type*;size*;modify*;UNIX.mode*;UNIX.owner;UNIX.group;";
        assert_eq!(FactSet::default().feature(), expected);
        let expected = "MLST type*;size;modify;UNIX.mode;UNIX.owner;UNIX.group;";
        assert_eq!(FactSet::of(&[Fact::Type]).feature(), expected);
    }
}
