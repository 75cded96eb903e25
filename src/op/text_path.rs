//! Paths that an operator writes, in the configuration or elsewhere.

use super::{PathError, RemotePath};

/// Why a text is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextPathError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// It would not be visible.
    #[error("contains a control character")]
    Control,
    /// It does not start at the root.
    #[error("must be absolute, starting with a slash")]
    Relative,
    /// Nobody can see where it leads.
    #[error("must not contain \"..\"")]
    Parent,
    /// It is too long.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl RemotePath {
    /// An absolute path without `..` and without control characters.
    pub fn from_text(text: &str) -> Result<Self, TextPathError> {
        if text.is_empty() {
            return Err(TextPathError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(TextPathError::Control);
        }
        if !text.starts_with('/') {
            return Err(TextPathError::Relative);
        }
        if text.split('/').any(|part| part == "..") {
            return Err(TextPathError::Parent);
        }
        Ok(Self::resolve(&Self::root(), text.as_bytes())?)
    }
}
