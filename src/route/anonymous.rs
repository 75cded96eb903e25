//! The user names of anonymous FTP (RFC 1635).

/// Whether servers take the name for an anonymous user's. Many ignore its case.
pub fn is_anonymous(name: &[u8]) -> bool {
    [&b"anonymous"[..], b"ftp"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What all of them are for rules, limits, paths and records.
pub(super) const ANONYMOUS: &[u8] = b"anonymous";
