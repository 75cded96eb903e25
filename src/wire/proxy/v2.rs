//! Decodes version 2 (section 2.2): binary.

use std::net::{IpAddr, SocketAddr};

use super::{Decoded, Header, HeaderError, MAX_V2_HEADER, canonical};

pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;
pub(super) const UNSPEC: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;

pub(super) fn decode(bytes: &[u8]) -> Result<Option<Decoded>, HeaderError> {
    let Some((first, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let [.., command, family, high, low] = *first;
    let rest_length = usize::from(u16::from_be_bytes([high, low]));
    let length = first.len() + rest_length;
    if !matches!(command, LOCAL | PROXY) {
        return Err(HeaderError::Command);
    }
    if length > MAX_V2_HEADER {
        return Err(HeaderError::TooLong);
    }
    let Some(rest) = rest.get(..rest_length) else { return Ok(None) };
    // LOCAL's family is to be ignored. The TLVs after the addresses are not used.
    let header = if command == LOCAL { Header::Local } else { addresses(family, rest)? };
    Ok(Some(Decoded { header, length }))
}

fn addresses(family: u8, bytes: &[u8]) -> Result<Header, HeaderError> {
    let addresses = match family {
        TCP4 => pair::<4>(bytes),
        TCP6 => pair::<16>(bytes),
        // Unspecified, datagrams and Unix sockets: valid, but not TCP addresses.
        UNSPEC | 0x12 | 0x22 | 0x31 | 0x32 => return Ok(Header::Unknown),
        _ => return Err(HeaderError::Family),
    };
    let (source, destination) = addresses.ok_or(HeaderError::TooShort)?;
    Ok(Header::Proxied { source, destination })
}

/// Both addresses, then both ports.
fn pair<const N: usize>(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    let endpoint = |ip: &[u8; N], port: &[u8; 2]| {
        canonical(SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port)))
    };
    Some((endpoint(source, source_port), endpoint(destination, destination_port)))
}
