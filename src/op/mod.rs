//! The neutral model of clients' requests, without protocols and I/O.
//!
//! Fronts translate their protocol into an [`Action`] on [`RemotePath`]s; backends translate it into
//! theirs. The result is an [`Answer`], entries, a stream (see `backend`), or a [`Failure`].

mod action;
mod answer;
mod effects;
mod entry;
pub mod escape;
mod failure;
mod file;
mod greeting;
mod operation;
mod outage;
mod path;
mod text_path;

pub use action::{
    Action, Arrival, CopyData, Direction, Extent, ListDirectory, OpenHandle, ReadFile,
    Representation, WriteFile, WriteMode,
};
pub use answer::{Abilities, Answer};
pub use effects::{Effect, Effects};
pub use entry::{Attributes, Entry, EntryKind, Precision, Timestamp};
pub use failure::{Failure, FailureKind, Fault, PeerReply, Status};
pub use file::{Changes, FileSystem, OpenMode};
pub use greeting::{Greeting, GreetingError, MAX_GREETING, MAX_GREETING_LINE};
pub use operation::{Onto, Operation};
pub use outage::Outage;
pub use path::{MAX_PATH, PathError, RemotePath, as_os_path};
pub use text_path::TextPathError;
