//! A folder of this machine as a backend, sandboxed with cap-std: no path, `..` or symlink leaves it.

use std::path::PathBuf;

use super::PartialUploads;

/// A `local` backend as configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder. It must exist at start.
    pub folder: PathBuf,
    pub partial_uploads: PartialUploads,
}
