//! The effects of operations, for policy rules.

/// An effect of an operation on names or data; policy rules use these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Effect {
    Read = 1,
    List = 2,
    Create = 4,
    Overwrite = 8,
    Append = 16,
    Delete = 32,
    Rename = 64,
    MakeDirectory = 128,
    SetAttributes = 256,
    /// Creates a symbolic or hard link.
    Link = 512,
}

/// A set of [`Effect`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u16);

impl Effects {
    pub fn of(effects: &[Effect]) -> Self {
        Self(effects.iter().fold(0, |set, e| set | *e as u16))
    }

    /// Whether the operation only reads or lists.
    pub fn read_only(self) -> bool {
        self.0 & !(Effect::Read as u16 | Effect::List as u16) == 0
    }
}
