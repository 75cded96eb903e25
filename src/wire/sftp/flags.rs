//! Flags of OPEN (draft-ietf-secsh-filexfer-02 section 6.3).

/// `pflags` of OPEN. Keeps unknown bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Open for reading.
    pub const READ: Self = Self(1);
    /// Open for writing.
    pub const WRITE: Self = Self(2);
    /// Writes append to the file, whatever their offset.
    pub const APPEND: Self = Self(4);
    /// Create the file if it does not exist.
    pub const CREATE: Self = Self(8);
    /// With CREATE: truncate an existing file to 0 bytes.
    pub const TRUNCATE: Self = Self(16);
    /// With CREATE: fail if the file exists.
    pub const EXCLUSIVE: Self = Self(32);

    /// Whether all of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// All flags of both.
    pub const fn union(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl std::ops::BitOr for OpenFlags {
    type Output = Self;

    fn bitor(self, flags: Self) -> Self {
        self.union(flags)
    }
}
