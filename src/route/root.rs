//! A route's `root`: one folder for all its users, or one for each (`{user}`).

use std::fmt;

use crate::op::{MAX_PATH, RemotePath};

/// What a route's `root` may contain for the user's name.
pub const USER_PLACEHOLDER: &str = "{user}";

/// A route's `root` as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSetting {
    /// The same for all users of the route.
    Same(Root),
    /// A folder for each user.
    EachUser(UserFolder),
}

/// The folder of a backend that a client sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A folder of the backend. `/`, the default, changes no path.
    Path(RemotePath),
    /// `home`: the user's folder after the backend's login.
    Home,
}

/// A path with `{user}`, which stands for the user's name.
#[derive(Clone, PartialEq, Eq)]
pub struct UserFolder(RemotePath);

/// Why a user has no folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserFolderError {
    /// The name would be a part of the parent folder.
    #[error("is empty")]
    Empty,
    /// The name is `.` or `..`, or the folder would be.
    #[error("would lead to the folder itself or its parent (\".\", \"..\")")]
    Dots,
    /// The name would lead to another folder.
    #[error("contains a slash or a backslash, which separate folders")]
    Separator,
    /// The name contains a byte below 0x20 or 0x7f.
    #[error("contains a control character")]
    Control,
    /// The path would be longer than [`MAX_PATH`].
    #[error("makes the path longer than {MAX_PATH} bytes")]
    TooLong,
}

impl RootSetting {
    /// The root for a user's login.
    pub fn of(&self, user: &[u8]) -> Result<Root, UserFolderError> {
        match self {
            Self::Same(root) => Ok(root.clone()),
            Self::EachUser(folder) => folder.of(user).map(Root::Path),
        }
    }
}

/// As configured.
impl fmt::Display for RootSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(Root::Path(path)) => path.fmt(f),
            Self::EachUser(folder) => folder.fmt(f),
            Self::Same(Root::Home) => f.write_str("home"),
        }
    }
}

impl UserFolder {
    /// `None` if the path does not contain `{user}`.
    pub fn new(path: RemotePath) -> Option<Self> {
        let placeholder = USER_PLACEHOLDER.as_bytes();
        let contains = path.as_bytes().windows(placeholder.len()).any(|part| part == placeholder);
        contains.then_some(Self(path))
    }

    /// The folder of this user: a different one for each name.
    pub(super) fn of(&self, user: &[u8]) -> Result<RemotePath, UserFolderError> {
        check_name(user)?;
        let mut bytes = Vec::new();
        let mut rest = self.0.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = if let Some(after) = rest.strip_prefix(USER_PLACEHOLDER.as_bytes()) {
                bytes.extend_from_slice(user);
                after
            } else {
                bytes.push(*first);
                after
            };
        }
        let folder = RemotePath::resolve(&RemotePath::root(), &bytes)
            .map_err(|_| UserFolderError::TooLong)?;
        // Nothing was resolved: every component is the configured one, or has the name in it.
        if folder.as_bytes() == bytes { Ok(folder) } else { Err(UserFolderError::Dots) }
    }
}

/// What the name of no user with a folder may be.
pub(super) fn check_name(user: &[u8]) -> Result<(), UserFolderError> {
    match user {
        b"" => Err(UserFolderError::Empty),
        b"." | b".." => Err(UserFolderError::Dots),
        _ if user.iter().any(|b| matches!(b, b'/' | b'\\')) => Err(UserFolderError::Separator),
        _ if user.iter().any(u8::is_ascii_control) => Err(UserFolderError::Control),
        _ => Ok(()),
    }
}

/// As configured.
impl fmt::Display for UserFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for UserFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folder(path: &str) -> UserFolder {
        let path = RemotePath::resolve(&RemotePath::root(), path.as_bytes()).unwrap();
        UserFolder::new(path).unwrap()
    }

    #[test]
    fn the_name_replaces_the_placeholder_byte_for_byte() {
        for (configured, user, expected) in [
            ("/partners/{user}", &b"acme"[..], &b"/partners/acme"[..]),
            ("/{user}", b"acme", b"/acme"),
            ("/p-{user}/in", b"acme", b"/p-acme/in"),
            ("/{user}/of-{user}", b"acme", b"/acme/of-acme"),
            ("/p/{user}", b"{user}", b"/p/{user}"),
            ("/p/{user}{user}", b"{user", b"/p/{user{user"),
            ("/p/{user}", b"M\xfcller\xff", b"/p/M\xfcller\xff"),
            ("/p/{user}", b"...", b"/p/..."),
            ("/p/{user}", b" a b ", b"/p/ a b "),
            ("/p/{user}", b"a\xc2\x85", b"/p/a\xc2\x85"),
            ("/p/{user}", b"~root", b"/p/~root"),
            ("/p/.{user}", b"a", b"/p/.a"),
        ] {
            assert_eq!(folder(configured).of(user).unwrap().as_bytes(), expected, "{configured}");
        }
    }

    #[test]
    fn names_that_are_no_folder_are_refused() {
        use UserFolderError::{Control, Dots, Empty, Separator, TooLong};
        for configured in ["/p/{user}", "/{user}", "/p-{user}/in", "/.{user}", "/{user}{user}"] {
            for (user, expected) in [
                (&b""[..], Empty),
                (b".", Dots),
                (b"..", Dots),
                (b"/", Separator),
                (b"a/b", Separator),
                (b"../a", Separator),
                (b"a/..", Separator),
                (b"/etc", Separator),
                (b"a\\b", Separator),
                (b"..\\a", Separator),
                (b"a\0", Control),
                (b"a\r\nb", Control),
                (b"\x1f", Control),
                (b"a\x7f", Control),
                (&[b'a'; MAX_PATH], TooLong),
            ] {
                assert_eq!(folder(configured).of(user), Err(expected), "{configured} {user:?}");
            }
        }
    }

    #[test]
    fn a_path_without_the_placeholder_is_the_same_for_all() {
        for path in ["/", "/srv/user", "/srv/{user", "/srv/{user/}"] {
            let path = RemotePath::resolve(&RemotePath::root(), path.as_bytes()).unwrap();
            assert_eq!(UserFolder::new(path.clone()), None);
            let setting = RootSetting::Same(Root::Path(path.clone()));
            assert_eq!(setting.of(b"../x"), Ok(Root::Path(path)));
        }
        assert_eq!(RootSetting::Same(Root::Home).of(b""), Ok(Root::Home));
    }

    const SETTINGS: [&str; 6] = [
        "/{user}",
        "/partners/{user}",
        "/p-{user}/in",
        "/a/{user}.d/{user}",
        "/.{user}",
        "/{user}{user}",
    ];

    /// Mostly bytes that have a meaning in paths.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            8 => prop::sample::select(&b"..a{}user~ \xff"[..]),
            1 => prop::sample::select(&b"/\\\0\n"[..]),
            1 => any::<u8>(),
        ];
        prop::collection::vec(byte, 0..8)
    }

    proptest! {
        #[test]
        fn no_name_leads_out_of_the_folder(setting in prop::sample::select(&SETTINGS[..]), user in name()) {
            let setting = folder(setting);
            let Ok(found) = setting.of(&user) else { return Ok(()) };
            // The same components, except that those with the placeholder have the name.
            prop_assert_eq!(found.components().count(), setting.0.components().count());
            for (given, real) in setting.0.components().zip(found.components()) {
                let given = std::str::from_utf8(given).unwrap();
                let parts: Vec<_> = given.split(USER_PLACEHOLDER).map(str::as_bytes).collect();
                prop_assert_eq!(parts.join(&user[..]), real);
                prop_assert!(real != b"." && real != b"..");
            }
        }

        #[test]
        fn two_names_have_separate_folders(
            setting in prop::sample::select(&SETTINGS[..]),
            one in name(),
            other in name(),
        ) {
            let setting = folder(setting);
            let (Ok(a), Ok(b)) = (setting.of(&one), setting.of(&other)) else { return Ok(()) };
            prop_assert_eq!(a == b, one == other);
            // Nor is one inside of the other.
            prop_assert!(one == other || (a.strip_root(&b).is_none() && b.strip_root(&a).is_none()));
        }
    }
}
