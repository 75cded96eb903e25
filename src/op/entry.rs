/// One name in a listing, or what a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bare name, without a path; raw bytes.
    pub name: Vec<u8>,
    pub kind: EntryKind,
    pub attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// With the target's bytes, where the peer told them.
    Symlink(Option<Vec<u8>>),
    /// Devices, sockets, pipes.
    Other,
}

/// What a peer told about an entry; `None` where it told nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    pub modified: Option<Timestamp>,
    /// The low twelve bits of a Unix mode.
    pub permissions: Option<u32>,
    pub owner: Option<Vec<u8>>,
    pub group: Option<Vec<u8>>,
    pub links: Option<u64>,
    /// Numeric user and group.
    pub ids: Option<(u32, u32)>,
    /// Of the last access; seconds since the epoch, UTC.
    pub accessed: Option<i64>,
    /// The type bits of a Unix mode (`S_IFMT`), where the peer told them: they tell the kinds of
    /// [`EntryKind::Other`] apart.
    pub type_bits: Option<u32>,
}

/// A point in time, UTC. Listings of the `ls -l` shape tell no zone; they are read as UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub seconds: i64,
    /// How much of it the peer really told.
    pub precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    Second,
    Minute,
    Day,
}

impl Timestamp {
    /// The clock's seconds since the epoch.
    pub fn now() -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// A time known to the second.
    pub fn exact(seconds: i64) -> Self {
        Self { seconds, precision: Precision::Second }
    }
}

impl Entry {
    pub fn new(name: impl Into<Vec<u8>>, kind: EntryKind) -> Self {
        Self { name: name.into(), kind, attributes: Attributes::default() }
    }
}
