//! How a server reads names: rules must not be evaded by another spelling of the same name.

use crate::op::RemotePath;

/// Whether two spellings can name one file (`names` of a backend).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// Other bytes are another name, as on Unix.
    #[default]
    Exact,
    /// As Windows reads names: without case, and without dots and spaces at the end. Names that lead
    /// elsewhere are refused.
    Windows,
}

/// Why a server with Windows' names gets no such name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Windows separates folders with it.
    #[error("the name contains a backslash")]
    Backslash,
    /// It separates a drive or an alternate data stream.
    #[error("the name contains a colon")]
    Colon,
    /// "SECRET~1" is the short name of another file.
    #[error("the name contains \"~\" with a digit, as short names of other files do")]
    ShortName,
    /// Nothing is left of the name without dots and spaces at its end.
    #[error("the name consists of dots and spaces")]
    Empty,
}

impl Names {
    /// Whether a name may be sent to the server.
    pub fn check(self, path: &RemotePath) -> Result<(), NameError> {
        match self {
            Self::Exact => Ok(()),
            Self::Windows => path.components().try_for_each(check_component),
        }
    }

    /// Whether these are spellings of one name.
    pub fn same(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Exact => one == other,
            Self::Windows => lower_case(trimmed(one)) == lower_case(trimmed(other)),
        }
    }

    /// The rest of a path in `folder`, as it is spelled; `None` if it is elsewhere.
    pub fn strip(self, path: &RemotePath, folder: &RemotePath) -> Option<RemotePath> {
        if self == Self::Exact {
            return path.strip_root(folder);
        }
        let mut rest = path.components();
        folder
            .components()
            .all(|name| rest.next().is_some_and(|it| self.same(it, name)))
            .then_some(())?;
        let rest: Vec<_> = rest.collect();
        RemotePath::resolve(&RemotePath::root(), &rest.join(&b'/')).ok()
    }

    /// The path that patterns are matched with: one for all spellings of a name.
    pub fn spelled(self, path: &RemotePath) -> RemotePath {
        self.fold(path).unwrap_or_else(|| path.clone())
    }

    /// The path that rules are matched with: one for all spellings of a name. Patterns are folded alike.
    pub(super) fn fold(self, path: &RemotePath) -> Option<RemotePath> {
        match self {
            Self::Exact => None,
            Self::Windows => {
                let mut folded = Vec::with_capacity(path.as_bytes().len());
                for name in path.components() {
                    folded.push(b'/');
                    folded.extend(lower_case(trimmed(name)));
                }
                RemotePath::resolve(&RemotePath::root(), &folded).ok()
            }
        }
    }
}

fn check_component(name: &[u8]) -> Result<(), NameError> {
    let short = name.windows(2).any(|pair| pair[0] == b'~' && pair[1].is_ascii_digit());
    match name {
        _ if name.contains(&b'\\') => Err(NameError::Backslash),
        _ if name.contains(&b':') => Err(NameError::Colon),
        _ if short => Err(NameError::ShortName),
        _ if trimmed(name).is_empty() => Err(NameError::Empty),
        _ => Ok(()),
    }
}

fn trimmed(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|b| !matches!(b, b'.' | b' ')).map_or(0, |last| last + 1);
    &name[..end]
}

/// Bytes that are not UTF-8 belong to a code page that is not known: only ASCII is folded then.
fn lower_case(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(given: &[u8]) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), given).unwrap()
    }

    #[test]
    fn spellings_of_one_name_are_folded_to_one() {
        for given in ["/secret/x", "/SECRET/X", "/Secret./x ", "/secret . ./x..."] {
            let folded = Names::Windows.fold(&path(given.as_bytes())).unwrap();
            assert_eq!(folded, path(b"/secret/x"), "{given}");
        }
        assert_eq!(
            Names::Windows.fold(&path("/ÄRGER".as_bytes())),
            Some(path("/ärger".as_bytes()))
        );
        assert_eq!(Names::Windows.fold(&path(b"/\xc4RGER")), Some(path(b"/\xc4rger")));
        assert_eq!(Names::Windows.fold(&path(b"/")), Some(path(b"/")));
        assert_eq!(Names::Exact.fold(&path(b"/X")), None);
    }

    #[test]
    fn a_folder_is_found_in_each_spelling() {
        let strip = |given: &str, folder: &str| {
            let rest = Names::Windows.strip(&path(given.as_bytes()), &path(folder.as_bytes()))?;
            Some(rest.to_string())
        };
        assert_eq!(strip("/Data./IN/X.txt", "/data/in"), Some("/X.txt".into()));
        assert_eq!(strip("/DATA", "/data"), Some("/".into()));
        assert_eq!(strip("/data2", "/data"), None);
        assert_eq!(strip("/data", "/data/in"), None);
        assert_eq!(strip("/x", "/"), Some("/x".into()));
        assert_eq!(Names::Exact.strip(&path(b"/DATA"), &path(b"/data")), None);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (given, expected) in [
            (&b"/a\\b"[..], Some(NameError::Backslash)),
            (b"/in/a::$DATA", Some(NameError::Colon)),
            (b"/C:/x", Some(NameError::Colon)),
            (b"/SECRET~1", Some(NameError::ShortName)),
            (b"/a/SECRE~12.TXT/x", Some(NameError::ShortName)),
            (b"/a/.../x", Some(NameError::Empty)),
            (b"/ /x", Some(NameError::Empty)),
            (b"/a~b", None),
            (b"/a~", None),
            (b"/.hidden", None),
            (b"/", None),
            (b"/\xff", None),
        ] {
            assert_eq!(Names::Windows.check(&path(given)).err(), expected, "{}", path(given));
            assert_eq!(Names::Exact.check(&path(given)), Ok(()));
        }
    }
}
