//! Absolute, normalised paths of bytes.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The maximum length of a path in bytes; the usual `PATH_MAX` of POSIX.
pub const MAX_PATH: usize = 4096;

/// An absolute, normalised path of raw bytes: starts with `/`, has no empty, `.` or `..` component,
/// no trailing slash (except the root itself) and no NUL. The bytes need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(Vec<u8>);

/// Why bytes are not a valid path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It contains a NUL byte.
    #[error("a path must not contain a NUL byte")]
    Nul,
    /// It is longer than [`MAX_PATH`].
    #[error("the path is longer than {MAX_PATH} bytes")]
    TooLong,
}

/// Bytes of the client or the backend as a path of the standard library, which globs match.
pub fn as_os_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl RemotePath {
    /// The root, `/`.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// The only constructor: `given` relative to `base`. An absolute `given` ignores `base`; `..` is
    /// resolved lexically and stops at the root.
    pub fn resolve(base: &RemotePath, given: &[u8]) -> Result<Self, PathError> {
        if given.contains(&0) {
            return Err(PathError::Nul);
        }
        let mut path = if given.starts_with(b"/") || base.is_root() {
            Vec::with_capacity(given.len() + 1)
        } else {
            base.0.clone()
        };
        for component in given.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                name => {
                    path.push(b'/');
                    path.extend_from_slice(name);
                }
            }
        }
        if path.is_empty() {
            path.push(b'/');
        }
        if path.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        Ok(Self(path))
    }

    /// The bytes of the path, from the first `/` on.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().last()
    }

    /// The parent folder; `None` for the root.
    pub fn parent(&self) -> Option<RemotePath> {
        let cut = self.0.iter().rposition(|b| *b == b'/')?;
        match (self.is_root(), cut) {
            (true, _) => None,
            (false, 0) => Some(Self::root()),
            (false, cut) => Some(Self(self.0[..cut].to_vec())),
        }
    }

    /// The components from the root down; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// Whether a relative symlink target in this folder leads out of the root, by its names alone:
    /// symlinks among its components are not followed.
    pub fn is_left_by(&self, target: &[u8]) -> bool {
        let depth =
            target.split(|b| *b == b'/').try_fold(self.components().count(), |depth, name| {
                match name {
                    b".." => depth.checked_sub(1),
                    b"" | b"." => Some(depth),
                    _ => Some(depth + 1),
                }
            });
        depth.is_none()
    }

    /// This path below `root`: the backend's path for a client's path.
    pub fn below(&self, root: &RemotePath) -> Result<RemotePath, PathError> {
        let mut relative = b"./".to_vec();
        relative.extend_from_slice(&self.0[1..]);
        Self::resolve(root, &relative)
    }

    /// The client's path of this backend path on a route with `root`; `None` if it is outside.
    pub fn strip_root(&self, root: &RemotePath) -> Option<RemotePath> {
        if root.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(root.as_bytes())? {
            b"" => Some(Self::root()),
            rest if rest.starts_with(b"/") => Some(Self(rest.to_vec())),
            _ => None,
        }
    }
}

/// For sentences: non-printable characters are escaped. Fields of log lines get the bytes.
impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", super::escape::printable(&self.0))
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", super::escape::quoted(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(given: &[u8]) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), given).unwrap()
    }

    #[test]
    fn resolves_like_a_shell_and_stops_at_the_root() {
        let base = path(b"/a/b");
        for (given, expected) in [
            (&b"c"[..], &b"/a/b/c"[..]),
            (b"", b"/a/b"),
            (b"../c", b"/a/c"),
            (b"../../../..", b"/"),
            (b"/x//y/./z/", b"/x/y/z"),
            (b"..", b"/a"),
            (b" lead", b"/a/b/ lead"),
            (b"\xe9\xff", b"/a/b/\xe9\xff"),
        ] {
            assert_eq!(RemotePath::resolve(&base, given).unwrap().as_bytes(), expected);
        }
    }

    #[test]
    fn refuses_nul_and_overlong() {
        assert_eq!(RemotePath::resolve(&RemotePath::root(), b"a\0b"), Err(PathError::Nul));
        assert_eq!(
            RemotePath::resolve(&RemotePath::root(), &[b'a'; 5000]),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn root_is_put_before_and_taken_off() {
        let root = path(b"/srv/exchange");
        assert_eq!(path(b"/in/x").below(&root).unwrap(), path(b"/srv/exchange/in/x"));
        assert_eq!(RemotePath::root().below(&root).unwrap(), root);
        assert_eq!(path(b"/srv/exchange/in").strip_root(&root), Some(path(b"/in")));
        assert_eq!(path(b"/srv/exchange").strip_root(&root), Some(RemotePath::root()));
        assert_eq!(path(b"/srv/exchangeable").strip_root(&root), None);
    }

    #[test]
    fn a_path_has_a_parent_and_a_name_except_the_root() {
        assert_eq!(path(b"/a/b").parent(), Some(path(b"/a")));
        assert_eq!(path(b"/a").parent(), Some(RemotePath::root()));
        assert_eq!(RemotePath::root().parent(), None);
        assert_eq!(path(b"/a/b").name(), Some(&b"b"[..]));
        assert_eq!(RemotePath::root().name(), None);
    }

    #[test]
    fn unprintable_bytes_are_escaped_when_shown() {
        assert_eq!(path("/é\r\n\x07".as_bytes()).to_string(), "/é\\r\\n\\u{7}");
        assert_eq!(path(b"/\xe9x").to_string(), "/\\xe9x");
    }

    proptest::proptest! {
        #[test]
        fn a_resolved_path_is_absolute_and_normalised(base: Vec<u8>, given: Vec<u8>) {
            let clean = |v: Vec<u8>| v.into_iter().filter(|b| *b != 0).collect::<Vec<_>>();
            let base = path(&clean(base));
            let resolved = RemotePath::resolve(&base, &clean(given)).unwrap();
            assert!(resolved.as_bytes().starts_with(b"/"));
            assert!(resolved.components().all(|c| !c.is_empty() && c != b"." && c != b".."));
            assert_eq!(path(resolved.as_bytes()), resolved);
        }
    }
}
