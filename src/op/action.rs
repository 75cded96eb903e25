//! The requests of clients: operations with a plain answer, and those that open a file or a folder.

use super::{Effect, Effects, OpenMode, RemotePath};

/// A client's request. Policy checks it, a record names it, and a route maps its paths; they are the
/// client's paths until it becomes a `Target`.
pub trait Action: Sized {
    /// All possible effects. A write without append creates or overwrites, which is not known
    /// beforehand.
    fn effects(&self) -> Effects;

    /// The name in logs and metric labels.
    fn name(&self) -> &'static str;

    /// The main path, for records (the old one of a rename or copy, the new one of a link).
    fn path(&self) -> &[u8];

    /// The second path, or the target of a symlink.
    fn other_path(&self) -> Option<&[u8]> {
        None
    }

    /// The direction of file data; `None` without data.
    fn direction(&self) -> Option<Direction> {
        None
    }

    /// What the moved bytes are of the file; of no meaning without file data.
    fn extent(&self) -> Extent {
        Extent::Part
    }

    /// How a file arrives if it succeeds; `None` if none does.
    fn arrival(&self) -> Option<Arrival> {
        None
    }

    /// Whether lines are converted (TYPE A).
    fn is_text(&self) -> bool {
        false
    }

    /// Whether it shows the names in a folder.
    fn is_listing(&self) -> bool {
        false
    }

    /// Replaces every path with the result of `map`.
    fn map_paths<E>(self, map: impl FnMut(RemotePath) -> Result<RemotePath, E>) -> Result<Self, E>;
}

/// The direction of file data, from the client's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the backend to the client.
    Download,
    /// From the client to the backend.
    Upload,
    /// From file to file, within the backend.
    Copy,
}

/// What the bytes of a transfer are of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it, if the transfer succeeds.
    Whole,
    /// A part, as after REST and with APPE.
    Part,
    /// The requests for an open file decide.
    Unknown,
}

/// How an action puts a file under a path, once it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Stored under the main path.
    Stored,
    /// Moved from the main path to the second one.
    Renamed,
}

impl Direction {
    /// The name in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Copy => "copy",
        }
    }
}

/// Reads a file from `offset` (bytes) to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// The file.
    pub path: RemotePath,
    /// In bytes of the representation.
    pub offset: u64,
    /// How the bytes travel.
    pub representation: Representation,
}

/// Writes a file as a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFile {
    /// The file, or for [`WriteMode::Unique`] its folder.
    pub path: RemotePath,
    /// Where the bytes go in the file.
    pub mode: WriteMode,
    /// How the bytes travel.
    pub representation: Representation,
}

/// Lists a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListDirectory {
    /// The folder.
    pub path: RemotePath,
}

/// Opens a file for reads and writes at any offset, if the backend supports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHandle {
    /// The file.
    pub path: RemotePath,
    /// The access, and whether the file is created.
    pub mode: OpenMode,
}

/// Copies data from one open file to another, within the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyData {
    /// The file that is read.
    pub from: RemotePath,
    /// The file that is written.
    pub to: RemotePath,
    /// Whether `to` was opened for appending.
    pub append: bool,
}

/// Where the bytes of a write go in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Writes from `offset` and truncates the file there; 0 replaces the file.
    From {
        /// In bytes.
        offset: u64,
    },
    /// At the end of the file, which is created if it does not exist.
    Append,
    /// A new file. One that exists is an error where the backend can check that while it creates the file;
    /// other backends replace it.
    New,
    /// A new name in the folder `path`, chosen by the backend (STOU).
    Unique,
}

/// The representation of data: RFC 959's TYPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// TYPE I and L 8: unchanged bytes.
    Image,
    /// TYPE A: lines end in CRLF on the wire.
    Ascii,
}

impl Action for ReadFile {
    fn effects(&self) -> Effects {
        Effects::of(&[Effect::Read])
    }

    fn name(&self) -> &'static str {
        "read"
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn direction(&self) -> Option<Direction> {
        Some(Direction::Download)
    }

    fn extent(&self) -> Extent {
        if self.offset == 0 { Extent::Whole } else { Extent::Part }
    }

    fn is_text(&self) -> bool {
        self.representation == Representation::Ascii
    }

    fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(Self { path: map(self.path)?, ..self })
    }
}

impl Action for WriteFile {
    fn arrival(&self) -> Option<Arrival> {
        Some(Arrival::Stored)
    }

    fn effects(&self) -> Effects {
        match self.mode {
            WriteMode::From { .. } => Effects::of(&[Effect::Create, Effect::Overwrite]),
            WriteMode::Append => Effects::of(&[Effect::Create, Effect::Append]),
            WriteMode::New | WriteMode::Unique => Effects::of(&[Effect::Create]),
        }
    }

    fn name(&self) -> &'static str {
        match self.mode {
            WriteMode::Append => "append",
            WriteMode::From { .. } | WriteMode::New | WriteMode::Unique => "write",
        }
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn direction(&self) -> Option<Direction> {
        Some(Direction::Upload)
    }

    fn extent(&self) -> Extent {
        match self.mode {
            WriteMode::From { offset: 0 } | WriteMode::New | WriteMode::Unique => Extent::Whole,
            WriteMode::From { .. } | WriteMode::Append => Extent::Part,
        }
    }

    fn is_text(&self) -> bool {
        self.representation == Representation::Ascii
    }

    fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(Self { path: map(self.path)?, ..self })
    }
}

impl Action for ListDirectory {
    fn effects(&self) -> Effects {
        Effects::of(&[Effect::List])
    }

    fn name(&self) -> &'static str {
        "list"
    }

    fn is_listing(&self) -> bool {
        true
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(Self { path: map(self.path)? })
    }
}

impl Action for OpenHandle {
    fn effects(&self) -> Effects {
        self.mode.effects()
    }

    fn name(&self) -> &'static str {
        self.mode.name()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn direction(&self) -> Option<Direction> {
        Some(if self.mode.writes() { Direction::Upload } else { Direction::Download })
    }

    fn arrival(&self) -> Option<Arrival> {
        self.mode.writes().then_some(Arrival::Stored)
    }

    fn extent(&self) -> Extent {
        match self.mode {
            OpenMode { append: true, .. } => Extent::Part,
            OpenMode { truncate: true, .. } | OpenMode { exclusive: true, .. } => Extent::Whole,
            _ => Extent::Unknown,
        }
    }

    fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(Self { path: map(self.path)?, ..self })
    }
}

impl Action for CopyData {
    fn effects(&self) -> Effects {
        let write = if self.append { Effect::Append } else { Effect::Overwrite };
        Effects::of(&[Effect::Read, write])
    }

    fn name(&self) -> &'static str {
        "copy"
    }

    fn path(&self) -> &[u8] {
        self.from.as_bytes()
    }

    fn other_path(&self) -> Option<&[u8]> {
        Some(self.to.as_bytes())
    }

    fn direction(&self) -> Option<Direction> {
        Some(Direction::Copy)
    }

    fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(Self { from: map(self.from)?, to: map(self.to)?, append: self.append })
    }
}
