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
    /// Removes a file or a link.
    Delete = 32,
    /// Gives a file or a folder another name.
    Rename = 64,
    /// Creates a folder.
    MakeDirectory = 128,
    /// Changes size, owner, permissions or times.
    SetAttributes = 256,
    /// Creates a symbolic or hard link.
    Link = 512,
    /// Removes a folder.
    RemoveDirectory = 1024,
}

impl Effect {
    /// All effects with their names in the configuration and in logs.
    pub const ALL: [(&'static str, Self); 11] = [
        ("list", Self::List),
        ("read", Self::Read),
        ("create", Self::Create),
        ("overwrite", Self::Overwrite),
        ("append", Self::Append),
        ("delete", Self::Delete),
        ("rename", Self::Rename),
        ("mkdir", Self::MakeDirectory),
        ("rmdir", Self::RemoveDirectory),
        ("attributes", Self::SetAttributes),
        ("link", Self::Link),
    ];

    /// The name in the configuration and in logs.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, effect)| *effect == self).map_or("", |(name, _)| name)
    }
}

/// A set of [`Effect`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u16);

impl Effects {
    /// The set of these effects.
    pub fn of(effects: &[Effect]) -> Self {
        Self(effects.iter().fold(0, |set, e| set | *e as u16))
    }

    /// The set of all effects.
    pub fn all() -> Self {
        Self::of(&Effect::ALL.map(|(_, effect)| effect))
    }

    /// Whether `effect` is one of them.
    pub fn contains(self, effect: Effect) -> bool {
        self.0 & effect as u16 != 0
    }

    /// The effects in the order of [`Effect::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().map(|(_, effect)| effect).filter(move |it| self.contains(*it))
    }

    /// Adds an effect.
    pub fn insert(&mut self, effect: Effect) {
        self.0 |= effect as u16;
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the operation only reads or lists.
    pub fn read_only(self) -> bool {
        self.0 & !(Effect::Read as u16 | Effect::List as u16) == 0
    }
}
