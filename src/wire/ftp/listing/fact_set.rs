//! Which facts a client wants: OPTS MLST and the feature line, RFC 3659 sections 7.8 and 7.9.

use std::fmt;

/// A fact that lockgate can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fact {
    Type = 1,
    Size = 2,
    Modify = 4,
    UnixMode = 8,
    UnixOwner = 16,
    UnixGroup = 32,
}

/// A set of [`Fact`]s. By default those that clients read: not owner and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactSet(u8);

impl Fact {
    /// All, in the order in which lines tell them.
    pub const ALL: [Fact; 6] =
        [Fact::Type, Fact::Size, Fact::Modify, Fact::UnixMode, Fact::UnixOwner, Fact::UnixGroup];

    /// The name on the wire.
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
    pub fn of(facts: &[Fact]) -> Self {
        Self(facts.iter().fold(0, |set, fact| set | *fact as u8))
    }

    /// What `OPTS MLST` asks for, given what stands after `MLST ` (`type;size;`). Unknown facts are
    /// passed over, as the RFC wants; nothing at all asks for no facts.
    pub fn parse(wanted: &[u8]) -> Self {
        let named = |fact: &Fact| {
            let mut names = wanted.split(|b| *b == b';');
            names.any(|name| name.trim_ascii().eq_ignore_ascii_case(fact.name().as_bytes()))
        };
        Self(Fact::ALL.iter().filter(|fact| named(fact)).fold(0, |set, fact| set | *fact as u8))
    }

    pub fn contains(self, fact: Fact) -> bool {
        self.0 & fact as u8 != 0
    }

    /// The feature line without the space before it: `MLST type*;size*;…`, a star after what is on.
    pub fn feature(self) -> String {
        let facts = Fact::ALL.map(|fact| match self.contains(fact) {
            true => format!("{}*;", fact.name()),
            false => format!("{};", fact.name()),
        });
        format!("MLST {}", facts.concat())
    }
}

impl Default for FactSet {
    fn default() -> Self {
        Self::of(&[Fact::Type, Fact::Size, Fact::Modify, Fact::UnixMode])
    }
}

/// What is on, as the reply to `OPTS MLST` tells it after `MLST OPTS `: `type;size;`.
impl fmt::Display for FactSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = Fact::ALL.into_iter().filter(|fact| self.contains(*fact));
        on.map(Fact::name).try_for_each(|name| write!(f, "{name};"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        for (wanted, on) in [
            ("type;size;", "type;size;"),
            ("SIZE;unix.MODE", "size;UNIX.mode;"),
            ("modify;perm;media-type;charset;type;", "type;modify;"),
            ("UNIX.owner;UNIX.group;", "UNIX.owner;UNIX.group;"),
            ("", ""),
            (";;", ""),
        ] {
            assert_eq!(FactSet::parse(wanted.as_bytes()).to_string(), on, "{wanted}");
        }
    }

    #[test]
    fn the_feature_line_marks_what_is_on() {
        let expected = "MLST type*;size*;modify*;UNIX.mode*;UNIX.owner;UNIX.group;";
        assert_eq!(FactSet::default().feature(), expected);
        let expected = "MLST type*;size;modify;UNIX.mode;UNIX.owner;UNIX.group;";
        assert_eq!(FactSet::of(&[Fact::Type]).feature(), expected);
    }
}
