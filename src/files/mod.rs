//! Files of the machine that are read and written as a whole: bounded, without partial content.

pub mod small_file;
mod stamp;
mod state_file;

pub use stamp::FileStamp;
pub use state_file::{SavedState, StateFile};
