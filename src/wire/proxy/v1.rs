//! Decodes version 1 (section 2.1): one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Decoded, Header, HeaderError, MAX_V1_HEADER, canonical};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

pub(super) fn decode(bytes: &[u8]) -> Result<Option<Decoded>, HeaderError> {
    let Some(end) = bytes.iter().take(MAX_V1_HEADER).position(|b| *b == b'\n') else {
        return if bytes.len() < MAX_V1_HEADER { Ok(None) } else { Err(HeaderError::TooLong) };
    };
    let line = bytes.get(SIGNATURE.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let header = line.and_then(parse).ok_or(HeaderError::Line)?;
    Ok(Some(Decoded { header, length: end + 1 }))
}

fn parse(line: &[u8]) -> Option<Header> {
    // Anything after UNKNOWN is to be ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(Header::Unknown);
    }
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = fields[..] else {
        return None;
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let endpoint = |ip, port| Some(canonical(SocketAddr::new(address(ip)?, self::port(port)?)));
    Some(Header::Proxied {
        source: endpoint(source, source_port)?,
        destination: endpoint(destination, destination_port)?,
    })
}

/// Digits only, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_valid =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_valid)
}
