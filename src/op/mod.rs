//! The neutral model: what a client asks for, said without any protocol's name and without I/O.
//!
//! Fronts translate their protocol into an [`Operation`] on [`RemotePath`]s; backends translate it
//! onwards. What comes back is an [`Entry`], a list of them, a stream (see `backend`), or a [`Failure`].

mod answer;
mod effects;
mod entry;
pub mod escape;
mod failure;
mod file;
mod operation;
mod outage;
mod path;

pub use answer::{Abilities, Answer};
pub use effects::{Effect, Effects};
pub use entry::{Attributes, Entry, EntryKind, Precision, Timestamp};
pub use failure::{Failure, FailureKind, Fault, PeerReply, Status};
pub use file::{Changes, FileSystem, OpenMode};
pub use operation::{Onto, Operation, Representation, WriteMode};
pub use outage::Outage;
pub use path::{MAX_PATH, PathError, RemotePath};
