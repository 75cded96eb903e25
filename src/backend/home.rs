//! The login folder at a backend, and the paths of a session as its server sees them.

use std::borrow::Cow;

use crate::op::RemotePath;

/// Bytes of a server's reply that are logged.
const MAX_LOGGED_BYTES: usize = 300;

/// The folder in which a login starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// The absolute path of the login folder.
    At(RemotePath),
    /// The server does not report it. The folder is the session's `/`, and all paths are sent to the server
    /// relative to it.
    Unknown,
}

impl Home {
    /// As a path of the session.
    pub fn path(&self) -> RemotePath {
        match self {
            Self::At(path) => path.clone(),
            Self::Unknown => RemotePath::root(),
        }
    }

    pub(super) fn is_known(&self) -> bool {
        *self != Self::Unknown
    }

    /// The configured folder comes first, then the one that the server reported (`Err`: its reply, where
    /// that is not a path). A session that is `rooted` needs none. Logs a warning if the folder is
    /// unknown.
    pub(super) fn decide(
        configured: Option<&RemotePath>,
        reported: Result<RemotePath, Vec<u8>>,
        rooted: bool,
        request: &str,
    ) -> Self {
        match (configured, reported) {
            (Some(path), _) => Self::At(path.clone()),
            (None, Ok(path)) => Self::At(path),
            (None, Err(_)) if rooted => Self::At(RemotePath::root()),
            (None, Err(reply)) => {
                tracing::warn!(
                    request,
                    reply = &reply[..reply.len().min(MAX_LOGGED_BYTES)],
                    "the backend server does not report the login folder: that folder is the \
                     session's /, and paths are sent relative to it; set login_folder to name it"
                );
                Self::Unknown
            }
        }
    }

    /// The path as it is sent to the server. `None`: the login folder itself, which has no relative name.
    pub(super) fn wire_path<'a>(&self, path: &'a RemotePath) -> Option<Cow<'a, [u8]>> {
        let absolute = path.as_bytes();
        if self.is_known() {
            return Some(absolute.into());
        }
        match absolute.strip_prefix(b"/")? {
            b"" => None,
            // Servers take these for something other than a name: an option, a home directory, a drive, an
            // absolute path. Some drop a leading blank.
            odd @ ([b' ' | b'\t' | b'-' | b'~' | b'\\', ..] | [_, b':', ..]) => {
                Some([b"./", odd].concat().into())
            }
            plain => Some(plain.into()),
        }
    }
}

/// The path that a server reported, if it is absolute and means the same without its empty parts: a leading
/// `//` has a meaning of its own at some servers, and `..` may follow a link.
pub(super) fn absolute(reported: &[u8]) -> Option<RemotePath> {
    let is_ambiguous = !reported.starts_with(b"/")
        || reported.starts_with(b"//")
        || reported.split(|b| *b == b'/').any(|part| part == b"..");
    if is_ambiguous { None } else { RemotePath::resolve(&RemotePath::root(), reported).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::escape::quoted;

    fn path(text: &[u8]) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), text).unwrap()
    }

    #[test]
    fn only_unambiguous_absolute_paths_are_accepted() {
        for (reported, accepted) in [
            (&b"/"[..], Some(&b"/"[..])),
            (b"/home/x", Some(b"/home/x")),
            (b"/home/x/", Some(b"/home/x")),
            (b"/home/m\xfcller", Some(b"/home/m\xfcller")),
            (b"/C:/Users/x", Some(b"/C:/Users/x")),
            (b"//server/share", None),
            (b"/home/../x", None),
            (b"/home/x/.", Some(b"/home/x")),
            (b"/home//x", Some(b"/home/x")),
            (b"C:\\x", None),
            (b"'USER.DATA.'", None),
            (b".", None),
            (b"", None),
            (b"/a\0b", None),
        ] {
            let path = absolute(reported);
            assert_eq!(path.as_ref().map(RemotePath::as_bytes), accepted, "{}", quoted(reported));
        }
    }

    #[test]
    fn relative_paths_have_no_leading_slash_and_ambiguous_ones_begin_with_a_dot() {
        for (given, sent) in [
            (&b"/a"[..], Some(&b"a"[..])),
            (b"/a/b", Some(b"a/b")),
            (b"/", None),
            (b"/ a", Some(b"./ a")),
            (b"/-a", Some(b"./-a")),
            (b"/~a", Some(b"./~a")),
            (b"/C:/x", Some(b"./C:/x")),
            (b"/\\x", Some(b"./\\x")),
            (b"/a-~", Some(b"a-~")),
        ] {
            assert_eq!(Home::Unknown.wire_path(&path(given)).as_deref(), sent, "{}", quoted(given));
            let home = Home::At(path(b"/home/x"));
            assert_eq!(home.wire_path(&path(given)).as_deref(), Some(given));
        }
    }

    #[test]
    fn a_configured_folder_overrides_the_reported_one() {
        let set = path(b"/set");
        let decide = |configured, reported: Result<RemotePath, Vec<u8>>, rooted| {
            Home::decide(configured, reported, rooted, "PWD")
        };
        assert_eq!(decide(Some(&set), Ok(path(b"/reported")), false), Home::At(set.clone()));
        assert_eq!(decide(Some(&set), Err(b"502".to_vec()), false), Home::At(set.clone()));
        assert_eq!(decide(None, Ok(path(b"/reported")), false), Home::At(path(b"/reported")));
        assert_eq!(decide(None, Err(b"502".to_vec()), false), Home::Unknown);
        assert_eq!(decide(None, Err(b"502".to_vec()), true), Home::At(RemotePath::root()));
    }
}
