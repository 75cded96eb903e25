//! Addresses of data connections: PORT and PASV (RFC 959), EPRT and EPSV (RFC 2428).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Why an address is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// The argument or reply does not have the syntax of its command.
    #[error("not an address and port")]
    Syntax,
    /// RFC 2428: the reply is 522 with the supported protocols.
    #[error("network protocol not supported, use (1,2)")]
    Protocol,
}

/// EPSV's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    /// No argument: the server chooses the protocol (RFC 2428 section 3).
    Any,
    /// Protocol 1, IPv4 (RFC 2428 section 2).
    V4,
    /// Protocol 2, IPv6 (RFC 2428 section 2).
    V6,
    /// An unknown protocol.
    Other,
    /// `ALL`: from now on EPSV is the only command for data connections (RFC 2428 section 4).
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

/// The argument of PORT and of a 227 reply.
pub fn format_port(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// Scans the lines of a 227 reply for the six numbers (RFC 1123 section 4.1.2.6): servers differ in the
/// text around them, in blanks between them and in the line.
pub fn parse_pasv_reply(lines: &[impl AsRef<[u8]>]) -> Result<SocketAddrV4, HostPortError> {
    let found = lines.iter().find_map(|line| {
        let line = line.as_ref();
        let is_start = |at: &usize| {
            line[*at].is_ascii_digit() && (*at == 0 || !line[*at - 1].is_ascii_digit())
        };
        (0..line.len()).filter(is_start).find_map(|at| six_numbers(&line[at..]))
    });
    found.ok_or(HostPortError::Syntax)
}

/// Six numbers separated by commas, followed by any text.
fn six_numbers(text: &[u8]) -> Option<SocketAddrV4> {
    let mut numbers = [0u8; 6];
    let mut rest = text;
    for (i, number) in numbers.iter_mut().enumerate() {
        if i > 0 {
            rest = rest.trim_ascii_start().strip_prefix(b",")?.trim_ascii_start();
        }
        let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        *number = digits(std::str::from_utf8(&rest[..end]).ok())?;
        rest = &rest[end..];
    }
    let [a, b, c, d, high, low] = numbers;
    let port = u16::from_be_bytes([high, low]);
    (port != 0).then(|| SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
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

/// EPRT's argument: `|1|132.235.1.2|6275|`, or `|2|…|…|` for IPv6 (RFC 2428 section 2).
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

/// Scans the lines of a 229 reply for the port: `(|||6446|)`, any delimiter; `|||6446|` is enough.
pub fn parse_epsv_reply(lines: &[impl AsRef<[u8]>]) -> Result<u16, HostPortError> {
    let found = lines.iter().find_map(|line| {
        let line = line.as_ref();
        let is_start = |at: &usize| line[*at] == b'(' || line[*at..].starts_with(b"|||");
        (0..line.len()).filter(is_start).find_map(|at| {
            let inner = line[at..].strip_prefix(b"(").unwrap_or(&line[at..]);
            delimited_port(inner)
        })
    });
    found.ok_or(HostPortError::Syntax)
}

/// The third field, followed by any text.
fn delimited_port(text: &[u8]) -> Option<u16> {
    let delimiter = *text.first().filter(|b| matches!(b, b'!'..=b'~') && !b.is_ascii_digit())?;
    let mut fields = text.split(|b| *b == delimiter).skip(3);
    let port = fields.next()?;
    // The port is complete only if a delimiter follows.
    fields.next()?;
    digits(std::str::from_utf8(port).ok()).filter(|port| *port != 0)
}

fn delimiter(text: &str) -> Result<char, HostPortError> {
    text.chars().next().filter(|c| matches!(c, '!'..='~')).ok_or(HostPortError::Syntax)
}

/// A number of digits only: `parse` alone would accept `+5`.
fn digits<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text.filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_argument_of_port_and_the_reply_to_pasv_are_parsed() {
        let address: SocketAddrV4 = "132.235.1.2:6275".parse().unwrap();
        assert_eq!(parse_port(b"132,235,1,2,24,131"), Ok(address));
        assert_eq!(format_port(address), "132,235,1,2,24,131");
        for bad in ["", "1,2,3,4,5", "1,2,3,4,5,6,7", "256,1,1,1,1,1", "+1,2,3,4,5,6", "a"] {
            assert_eq!(parse_port(bad.as_bytes()), Err(HostPortError::Syntax), "{bad}");
        }
        for reply in [
            &["Entering Passive Mode (132,235,1,2,24,131)."][..],
            &["Entering Passive Mode 132,235,1,2,24,131"],
            &["=132,235,1,2,24,131"],
            &["Entering Passive Mode (132, 235, 1, 2, 24, 131)"],
            &["Entering Passive Mode (132 ,235 ,1 ,2 ,24 ,131)"],
            &["(132,235,1,2,24,131,0)"],
            &["4 of 10,000 ports: 132,235,1,2,24,131"],
            &["Entering Passive Mode (132,235,1,2,24,131)", "that is all"],
            &["132,235,1,2,24,131", "1,2"],
            &["Entering Passive Mode", "(132,235,1,2,24,131)"],
        ] {
            assert_eq!(parse_pasv_reply(reply), Ok(address), "{reply:?}");
        }
        for bad in ["", "Entering Passive Mode", "(1,2,3,4,5)", "(1,2,3,4,0,0)", "(256,1,1,1,1,1)"]
        {
            assert!(parse_pasv_reply(&[bad]).is_err(), "{bad}");
        }
        // Numbers do not continue in the next line.
        assert!(parse_pasv_reply(&["(1,2,3,4,5,", "6)"]).is_err());
    }

    #[test]
    fn the_argument_of_eprt_is_parsed() {
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
    fn the_argument_of_epsv_is_parsed() {
        assert_eq!(parse_epsv(b""), Ok(Epsv::Any));
        assert_eq!(parse_epsv(b"2"), Ok(Epsv::V6));
        assert_eq!(parse_epsv(b"all"), Ok(Epsv::All));
        assert_eq!(parse_epsv(b"3"), Ok(Epsv::Other));
        assert_eq!(parse_epsv(b"x"), Err(HostPortError::Syntax));
    }

    #[test]
    fn the_port_in_a_229_reply_is_parsed() {
        for reply in [
            &["Entering Extended Passive Mode (|||6446|)"][..],
            &["Entering Extended Passive Mode (!!!6446!)"],
            &["(|1|132.235.1.2|6446|)"],
            &["Entering Extended Passive Mode (|||6446|"],
            &["Entering Extended Passive Mode |||6446|"],
            &["Passive (extended) (|||6446|) (ok)"],
            &["Entering Extended Passive Mode (|||6446|)", "(that is all)"],
            &["Entering Extended Passive Mode", "(|||6446|)"],
        ] {
            assert_eq!(parse_epsv_reply(reply), Ok(6446), "{reply:?}");
        }
        for bad in [
            "",
            "(",
            "Extended (|||0|)",
            "Extended (||6446|)",
            "(|||99999|)",
            "(|||6446",
            "(|||+5|)",
        ] {
            assert!(parse_epsv_reply(&[bad]).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_formatted_address_is_found_in_any_text(
            port in 1u16..,
            ip: [u8; 4],
            before in "[ -/:-~]{0,20}",
            after in "[ -/:-~]{0,20}",
        ) {
            let address = SocketAddrV4::new(ip.into(), port);
            let line = format!("{before}{}{after}", format_port(address));
            prop_assert_eq!(parse_pasv_reply(&["first", &line]), Ok(address));
        }

        #[test]
        fn arbitrary_replies_do_not_panic(lines: Vec<Vec<u8>>, line in "[(|,0-9 !]{0,40}") {
            let _ = (parse_pasv_reply(&lines), parse_epsv_reply(&lines));
            let _ = (parse_pasv_reply(&[&line]), parse_epsv_reply(&[&line]));
        }
    }
}
