//! The effects of operations, for policy rules.

/// An effect of an operation on names or data; policy rules use these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Effect {
    /// Reads a file's data.
    Read = 1,
    /// Reads metadata: attributes, the names in a folder, link targets.
    List = 2,
    /// Creates a file.
    Create = 4,
    /// Changes or replaces the data of a file that exists.
    Overwrite = 8,
    /// Adds data to the end of a file.
    Append = 16,
    /// Removes a file or a folder.
    Delete = 32,
    /// Gives a file or a folder another name.
    Rename = 64,
    /// Creates a folder.
    MakeDirectory = 128,
    /// Changes size, owner, permissions or times.
    SetAttributes = 256,
    /// Creates a symbolic or hard link.
    Link = 512,
}

/// A set of [`Effect`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u16);

impl Effects {
    /// The set of these effects.
    pub fn of(effects: &[Effect]) -> Self {
        Self(effects.iter().fold(0, |set, e| set | *e as u16))
    }

    /// Whether the operation only reads or lists.
    pub fn read_only(self) -> bool {
        self.0 & !(Effect::Read as u16 | Effect::List as u16) == 0
    }
}
