//! The neutral model: what a client asks for, said without any protocol's name and without I/O.
//!
//! Fronts translate their protocol into an [`Operation`] on [`RemotePath`]s; backends translate it
//! onwards. What comes back is an [`Entry`], a list of them, a stream (see `backend`), or a [`Failure`].

mod entry;
mod failure;
mod operation;
mod path;

pub use entry::{Attributes, Entry, EntryKind, Precision, Timestamp};
pub use failure::{Failure, FailureKind, Fault, Words};
pub use operation::{Effect, Effects, Operation, Representation, WriteMode};
pub use path::{PathError, RemotePath};
