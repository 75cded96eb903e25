//! A root as an operator writes it: `home`, or a path, perhaps with `{user}`.

use super::{Root, RootSetting, USER_PLACEHOLDER, UserFolder};
use crate::op::{RemotePath, TextPathError};

const HOME: &str = "home";

/// Why a text is not a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootTextError {
    /// With the first brace that is not part of `{user}`, and the placeholder that it seems to belong to.
    #[error(
        "`{0}` is not replaced: only `{USER_PLACEHOLDER}` is, by the user's name; no other brace is possible \
         in a root"
    )]
    Braces(String),
    /// No path.
    #[error(transparent)]
    Path(#[from] TextPathError),
}

impl RootSetting {
    /// `home`, or an absolute path without `..`, in which `{user}` stands for the user's name.
    pub fn from_text(text: &str) -> Result<Self, RootTextError> {
        if text == HOME {
            return Ok(Self::Same(Root::Home));
        }
        if let Some(wrong) = other_braces(text) {
            return Err(RootTextError::Braces(wrong.to_owned()));
        }
        let path = RemotePath::from_text(text)?;
        Ok(match UserFolder::new(path.clone()) {
            Some(folder) => Self::EachUser(folder),
            None => Self::Same(Root::Path(path)),
        })
    }
}

/// The first brace that is not part of `{user}`, with the placeholder that it seems to belong to;
/// `${user}` and `%{user}` are those of other programs.
pub(super) fn other_braces(text: &str) -> Option<&str> {
    let mut at = 0;
    loop {
        let start = at + text[at..].find(['{', '}'])?;
        let before = text[..start].chars().next_back().filter(|c| matches!(c, '$' | '%'));
        let rest = &text[start..];
        if rest.starts_with(USER_PLACEHOLDER) && before.is_none() {
            at = start + USER_PLACEHOLDER.len();
            continue;
        }
        let component = &rest[..rest.find('/').unwrap_or(rest.len())];
        let length = component.find('}').map_or(1, |end| {
            // `{{user}}`
            component[end..].find(|c| c != '}').unwrap_or(component.len() - end) + end
        });
        return Some(&text[start - before.map_or(0, char::len_utf8)..start + length]);
    }
}
