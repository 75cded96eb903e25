//! Tells one file from another, in a few bytes.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};

use crate::policy::SessionFacts;

/// A hash of the backend, the user and the path: paths are long, and the state has many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileKey([u8; 16]);

impl FileKey {
    /// The same path is another file of another user: `root` and the backend's account may lead elsewhere.
    pub(super) fn new(facts: &SessionFacts, path: &[u8]) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in [facts.backend.as_bytes(), &facts.user, path] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finish();
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        Self(key)
    }

    pub(super) fn to_hex(self) -> String {
        let mut text = String::with_capacity(32);
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let is_key = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_key.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|n| Self(n.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::facts;
    use super::*;

    #[test]
    fn files_of_other_users_and_paths_are_others() {
        let key = |user: &str, path: &str| FileKey::new(&facts(user), path.as_bytes());
        assert_eq!(key("acme", "/in/a"), key("acme", "/in/a"));
        assert_ne!(key("acme", "/in/a"), key("acme", "/in/b"));
        assert_ne!(key("acme", "/in/a"), key("acm", "e/in/a"));
        let hex = key("acme", "/in/a").to_hex();
        assert_eq!(FileKey::from_hex(&hex), Some(key("acme", "/in/a")));
        for wrong in ["", "+0000000000000000000000000000000", &hex[1..], "ä"] {
            assert_eq!(FileKey::from_hex(wrong), None);
        }
    }
}
