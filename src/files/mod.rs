//! Files of the machine that are read and written as a whole: bounded, without partial content.

pub mod small_file;
mod stamp;
pub mod state_file;

pub use stamp::FileStamp;
