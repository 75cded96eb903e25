//! Recognizes a client's protocol by its first bytes: clients of other protocols connect to every open
//! port.

/// The most bytes that are needed to recognize a protocol.
pub const MAX_FIRST_BYTES: usize = 256;

/// HTTP's (RFC 9110 section 9); none is an FTP command. HTTP/2 starts with PRI.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PRI"];

/// A protocol that is recognized by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A record with a ClientHello (RFC 8446 section 5.1).
    Tls,
    /// The identification string (RFC 4253 section 4.2).
    Ssh,
    /// A request line (RFC 9112 section 3).
    Http,
}

/// The protocol of a client that sent these bytes first; `None` if unknown.
pub fn protocol(first: &[u8]) -> Option<Protocol> {
    if matches!(first, [22, 3, 0..=4, ..]) {
        return Some(Protocol::Tls);
    }
    if first.starts_with(b"SSH-") {
        return Some(Protocol::Ssh);
    }
    let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_http = METHODS.contains(&method) && line.windows(6).any(|part| part == b" HTTP/");
    is_http.then_some(Protocol::Http)
}

/// The highest version that a ClientHello offers, if that is older than TLS 1.2 (RFC 5246 section 7.4.1.2).
pub fn old_tls_version(first: &[u8]) -> Option<&'static str> {
    match first {
        [22, 3, _, _, _, 1, _, _, _, 3, minor, ..] => match minor {
            0 => Some("SSL 3.0"),
            1 => Some("TLS 1.0"),
            2 => Some("TLS 1.1"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_recognized_by_their_first_bytes() {
        use Protocol::{Http, Ssh, Tls};
        for (first, expected) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Some(Ssh)),
            (b"SSH-", Some(Ssh)),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some(Http)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Http)),
            (b"\x16\x03\x01\x02\x00\x01", Some(Tls)),
            (b"GET file\r\n", None),
            (b"USER a HTTP/1.1\r\n", None),
            (b"USER anonymous\r\nGET / HTTP/1.1\r\n", None),
            (b"\x16", None),
            (b"", None),
        ] {
            assert_eq!(protocol(first), expected, "{}", first.escape_ascii());
        }
    }

    #[test]
    fn the_version_of_an_old_client_hello_is_read() {
        let hello = |minor| [22, 3, 1, 0, 100, 1, 0, 0, 96, 3, minor, 7];
        assert_eq!(old_tls_version(&hello(2)), Some("TLS 1.1"));
        assert_eq!(old_tls_version(&hello(3)), None);
        assert_eq!(old_tls_version(&hello(0)), Some("SSL 3.0"));
        assert_eq!(old_tls_version(b"\x16\x03\x01"), None);
    }
}
