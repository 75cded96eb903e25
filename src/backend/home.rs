//! Where a login put the user, and how the paths of the session are told to the server then.

use std::borrow::Cow;

use crate::op::RemotePath;

/// Bytes of a server's answer that are logged.
const SHOWN: usize = 300;

/// Where a login put the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    At(RemotePath),
    /// The server does not tell. The folder is the `/` of the session, and the server is told every
    /// path relative to it.
    Unknown,
}

impl Home {
    /// As paths of the session have it.
    pub fn path(&self) -> RemotePath {
        match self {
            Self::At(path) => path.clone(),
            Self::Unknown => RemotePath::root(),
        }
    }

    pub(super) fn is_known(&self) -> bool {
        *self != Self::Unknown
    }

    /// What is configured counts, then what the server told (or its words, where they are no path). A
    /// session that is `rooted` needs none. Logs where nothing is known.
    pub(super) fn decide(
        configured: Option<&RemotePath>,
        told: Result<RemotePath, Vec<u8>>,
        rooted: bool,
        (backend, question): (&str, &str),
    ) -> Self {
        match (configured, told) {
            (Some(path), _) => Self::At(path.clone()),
            (None, Ok(path)) => Self::At(path),
            (None, Err(_)) if rooted => Self::At(RemotePath::root()),
            (None, Err(words)) => {
                tracing::warn!(
                    backend,
                    question,
                    answer = &words[..words.len().min(SHOWN)],
                    "the backend does not tell where the login put the user: that folder is the \
                     session's /, and paths go to the backend relative to it; set login_folder to \
                     name the folder"
                );
                Self::Unknown
            }
        }
    }

    /// The path as the server is to be told it. `None`: the login's own folder, for which there is no
    /// relative name.
    pub(super) fn name<'a>(&self, path: &'a RemotePath) -> Option<Cow<'a, [u8]>> {
        let absolute = path.as_bytes();
        if self.is_known() {
            return Some(absolute.into());
        }
        match absolute.strip_prefix(b"/")? {
            b"" => None,
            // Servers take these for something else than a name: an option, somebody's home, a drive,
            // the begin of an absolute path; and some leave out the blank.
            odd @ ([b' ' | b'\t' | b'-' | b'~' | b'\\', ..] | [_, b':', ..]) => {
                Some([b"./", odd].concat().into())
            }
            plain => Some(plain.into()),
        }
    }
}

/// What a server told of its login's folder, where that is an absolute path and means the same without
/// its empty parts: `//` at the begin names something else at some servers, and `..` may follow a link.
pub(super) fn absolute(told: &[u8]) -> Option<RemotePath> {
    let is_odd = !told.starts_with(b"/")
        || told.starts_with(b"//")
        || told.split(|b| *b == b'/').any(|part| part == b"..");
    if is_odd { None } else { RemotePath::resolve(&RemotePath::root(), told).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::escape::quoted;

    fn path(text: &[u8]) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), text).unwrap()
    }

    #[test]
    fn absolute_paths_are_taken_as_they_are_or_not_at_all() {
        for (told, taken) in [
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
            let found = absolute(told);
            assert_eq!(found.as_ref().map(RemotePath::as_bytes), taken, "{}", quoted(told));
        }
    }

    #[test]
    fn relative_names_have_no_leading_slash() {
        for (given, told) in [
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
            assert_eq!(Home::Unknown.name(&path(given)).as_deref(), told, "{}", quoted(given));
            let home = Home::At(path(b"/home/x"));
            assert_eq!(home.name(&path(given)).as_deref(), Some(given));
        }
    }

    #[test]
    fn what_is_configured_counts_before_what_is_told() {
        let set = path(b"/set");
        let decide = |configured, told: Result<RemotePath, Vec<u8>>, rooted| {
            Home::decide(configured, told, rooted, ("b", "PWD"))
        };
        assert_eq!(decide(Some(&set), Ok(path(b"/told")), false), Home::At(set.clone()));
        assert_eq!(decide(Some(&set), Err(b"502".to_vec()), false), Home::At(set.clone()));
        assert_eq!(decide(None, Ok(path(b"/told")), false), Home::At(path(b"/told")));
        assert_eq!(decide(None, Err(b"502".to_vec()), false), Home::Unknown);
        assert_eq!(decide(None, Err(b"502".to_vec()), true), Home::At(RemotePath::root()));
    }
}
