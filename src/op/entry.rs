//! Entries of listings, and attributes.

/// One entry of a listing, or the attributes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name without a path; raw bytes.
    pub name: Vec<u8>,
    /// File, folder, link or something else.
    pub kind: EntryKind,
    /// The known attributes.
    pub attributes: Attributes,
}

/// The kind of a directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// With the target's bytes, if the peer sent them.
    Symlink(Option<Vec<u8>>),
    /// Devices, sockets, pipes.
    Other,
}

/// The attributes that a peer sent; `None` for missing ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// The time of the last change of the data.
    pub modified: Option<Timestamp>,
    /// The low twelve bits of a Unix mode.
    pub permissions: Option<u32>,
    /// The name or number of the owning user, as the peer reports it.
    pub owner: Option<Vec<u8>>,
    /// The name or number of the owning group, as the peer reports it.
    pub group: Option<Vec<u8>>,
    /// The number of hard links.
    pub links: Option<u64>,
    /// Numeric user and group.
    pub ids: Option<(u32, u32)>,
    /// The last access, in seconds since the epoch, UTC.
    pub accessed: Option<i64>,
    /// The type bits of a Unix mode (`S_IFMT`), if the peer sent them: they distinguish the kinds of
    /// [`EntryKind::Other`].
    pub type_bits: Option<u32>,
}

/// A point in time, UTC. `ls -l` listings have no time zone and are read as UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub seconds: i64,
    /// The precision of the peer's value.
    pub precision: Precision,
}

/// How exact a timestamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// To the second.
    Second,
    /// To the minute.
    Minute,
    /// To the day.
    Day,
}

impl Timestamp {
    /// The current time of the system clock.
    pub fn now() -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// A time with a precision of seconds.
    pub fn exact(seconds: i64) -> Self {
        Self { seconds, precision: Precision::Second }
    }
}

impl Entry {
    /// An entry without attributes.
    pub fn new(name: impl Into<Vec<u8>>, kind: EntryKind) -> Self {
        Self { name: name.into(), kind, attributes: Attributes::default() }
    }
}
