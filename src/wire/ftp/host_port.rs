//! Addresses of data connections: PORT and PASV (RFC 959), EPRT and EPSV (RFC 2428).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Why an argument names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    #[error("not an address and port")]
    Syntax,
    /// RFC 2428: answered 522 with the protocols that are known.
    #[error("network protocol not supported, use (1,2)")]
    Protocol,
}

/// EPSV's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    Any,
    V4,
    V6,
    /// A protocol that nobody knows.
    Other,
    All,
}

/// `h1,h2,h3,h4,p1,p2`.
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, HostPortError> {
    let text = std::str::from_utf8(argument).map_err(|_| HostPortError::Syntax)?;
    let mut numbers = [0u8; 6];
    let mut parts = text.trim().split(',');
    for number in &mut numbers {
        *number = digits(parts.next()).ok_or(HostPortError::Syntax)?;
    }
    if parts.next().is_some() {
        return Err(HostPortError::Syntax);
    }
    let [a, b, c, d, high, low] = numbers;
    Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

/// The argument of PORT, and what stands in a 227 reply's parentheses.
pub fn format_port(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// Finds the six numbers in a 227 reply's text; servers differ in what stands around them.
pub fn parse_pasv_reply(text: &[u8]) -> Result<SocketAddrV4, HostPortError> {
    let allowed = |b: &u8| b.is_ascii_digit() || *b == b',';
    text.split(|b| !allowed(b))
        .find_map(|run| parse_port(run.strip_suffix(b",").unwrap_or(run)).ok())
        .ok_or(HostPortError::Syntax)
}

/// `|1|132.235.1.2|6275|` or `|2|1080::8:800:200C:417A|5282|`, any delimiter.
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, HostPortError> {
    let text = std::str::from_utf8(argument).map_err(|_| HostPortError::Syntax)?.trim();
    let delimiter = delimiter(text)?;
    let fields: Vec<&str> = text.split(delimiter).collect();
    let ["", protocol, address, port, ""] = fields[..] else {
        return Err(HostPortError::Syntax);
    };
    let port = digits(Some(port)).ok_or(HostPortError::Syntax)?;
    let address: IpAddr = match protocol {
        "1" => address.parse::<Ipv4Addr>().map_err(|_| HostPortError::Syntax)?.into(),
        "2" => address.parse::<Ipv6Addr>().map_err(|_| HostPortError::Syntax)?.into(),
        _ => return Err(HostPortError::Protocol),
    };
    Ok(SocketAddr::new(address, port))
}

pub fn format_eprt(address: SocketAddr) -> String {
    let protocol = if address.is_ipv4() { 1 } else { 2 };
    format!("|{protocol}|{}|{}|", address.ip(), address.port())
}

/// EPSV's argument: nothing, a protocol's number, or `ALL`.
pub fn parse_epsv(argument: &[u8]) -> Result<Epsv, HostPortError> {
    match argument.trim_ascii() {
        b"" => Ok(Epsv::Any),
        b"1" => Ok(Epsv::V4),
        b"2" => Ok(Epsv::V6),
        all if all.eq_ignore_ascii_case(b"ALL") => Ok(Epsv::All),
        other if other.iter().all(u8::is_ascii_digit) => Ok(Epsv::Other),
        _ => Err(HostPortError::Syntax),
    }
}

/// The port in a 229 reply: `(|||6446|)`.
pub fn parse_epsv_reply(text: &[u8]) -> Result<u16, HostPortError> {
    let text = std::str::from_utf8(text).map_err(|_| HostPortError::Syntax)?;
    let (_, inner) = text.rsplit_once('(').ok_or(HostPortError::Syntax)?;
    let (inner, _) = inner.split_once(')').ok_or(HostPortError::Syntax)?;
    let delimiter = delimiter(inner)?;
    let fields: Vec<&str> = inner.split(delimiter).collect();
    match fields[..] {
        ["", _, _, port, ""] => digits(Some(port)).filter(|p| *p != 0).ok_or(HostPortError::Syntax),
        _ => Err(HostPortError::Syntax),
    }
}

fn delimiter(text: &str) -> Result<char, HostPortError> {
    text.chars().next().filter(|c| matches!(c, '!'..='~')).ok_or(HostPortError::Syntax)
}

/// A number of digits only: `parse` alone would take `+5`.
fn digits<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text.filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_pasv() {
        let address: SocketAddrV4 = "132.235.1.2:6275".parse().unwrap();
        assert_eq!(parse_port(b"132,235,1,2,24,131"), Ok(address));
        assert_eq!(format_port(address), "132,235,1,2,24,131");
        for bad in ["", "1,2,3,4,5", "1,2,3,4,5,6,7", "256,1,1,1,1,1", "+1,2,3,4,5,6", "a"] {
            assert_eq!(parse_port(bad.as_bytes()), Err(HostPortError::Syntax), "{bad}");
        }
        for reply in [
            "Entering Passive Mode (132,235,1,2,24,131).",
            "Entering Passive Mode 132,235,1,2,24,131",
            "=132,235,1,2,24,131",
        ] {
            assert_eq!(parse_pasv_reply(reply.as_bytes()), Ok(address), "{reply}");
        }
        assert!(parse_pasv_reply(b"Entering Passive Mode").is_err());
    }

    #[test]
    fn eprt() {
        assert_eq!(parse_eprt(b"|1|132.235.1.2|6275|"), Ok("132.235.1.2:6275".parse().unwrap()));
        let v6: SocketAddr = "[1080::8:800:200C:417A]:5282".parse().unwrap();
        assert_eq!(parse_eprt(b"!2!1080::8:800:200C:417A!5282!"), Ok(v6));
        assert_eq!(parse_eprt(format_eprt(v6).as_bytes()), Ok(v6));
        assert_eq!(parse_eprt(b"|3|x|1|"), Err(HostPortError::Protocol));
        for bad in ["", "|1|1.2.3.4|", "|1|1.2.3.4|99999|", "|1|::1|5|", "|1|1.2.3.4|5", "1"] {
            assert_eq!(parse_eprt(bad.as_bytes()), Err(HostPortError::Syntax), "{bad}");
        }
    }

    #[test]
    fn epsv() {
        assert_eq!(parse_epsv(b""), Ok(Epsv::Any));
        assert_eq!(parse_epsv(b"2"), Ok(Epsv::V6));
        assert_eq!(parse_epsv(b"all"), Ok(Epsv::All));
        assert_eq!(parse_epsv(b"3"), Ok(Epsv::Other));
        assert_eq!(parse_epsv(b"x"), Err(HostPortError::Syntax));
        assert_eq!(parse_epsv_reply(b"Entering Extended Passive Mode (|||6446|)"), Ok(6446));
        assert!(parse_epsv_reply(b"Entering Extended Passive Mode (|||0|)").is_err());
        assert!(parse_epsv_reply(b"Extended (||6446|)").is_err());
        assert!(parse_epsv_reply(b"(").is_err());
    }
}
