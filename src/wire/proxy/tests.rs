//! Encoded headers are decoded back; malformed ones are refused; chunks make no difference.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn whole(bytes: &[u8]) -> Result<Header, HeaderError> {
    let decoded = decode(bytes)?.expect("a whole header");
    assert_eq!(decoded.length, bytes.len());
    Ok(decoded.header)
}

/// Version 2 with this command, family and rest.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

#[test]
fn version_1_headers_are_decoded() {
    let four = proxied("192.0.2.1:56324", "198.51.100.7:21");
    assert_eq!(whole(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 21\r\n"), Ok(four));
    let six = proxied("[2001:db8::1]:65535", "[2001:db8::2]:0");
    assert_eq!(whole(b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n"), Ok(six));
    assert_eq!(whole(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 21\r\n"), Ok(four));
    assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Ok(Header::Unknown));
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_V1_HEADER - 16));
    assert_eq!(whole(longest.as_bytes()), Ok(Header::Unknown));
    assert_eq!(whole(b"PROXY UNKNOWN \xff \0\r\n"), Ok(Header::Unknown));
}

#[test]
fn version_2_headers_are_decoded() {
    let four: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 4, 0, 21];
    let expected = Ok(proxied("192.0.2.1:56324", "198.51.100.7:21"));
    assert_eq!(whole(&v2(0x21, 0x11, four)), expected);
    // Followed by TLVs, valid or not.
    assert_eq!(whole(&v2(0x21, 0x11, &[four, &[4, 0, 1, 0], &[0xff; 500]].concat())), expected);
    let mut mapped = [0; 36];
    mapped[10..12].fill(0xff);
    mapped[12..16].copy_from_slice(&four[..4]);
    mapped[26..28].fill(0xff);
    mapped[28..].copy_from_slice(&four[4..]);
    assert_eq!(whole(&v2(0x21, 0x21, &mapped)), expected);
    for family in [0, 0x11, 0xff] {
        assert_eq!(whole(&v2(0x20, family, b"")), Ok(Header::Local));
        assert_eq!(whole(&v2(0x20, family, &[7; 2048])), Ok(Header::Local));
    }
    for family in [0, 0x12, 0x22, 0x31, 0x32] {
        assert_eq!(whole(&v2(0x21, family, &[0; 216])), Ok(Header::Unknown));
    }
}

#[test]
fn malformed_headers_are_refused() {
    use HeaderError as E;
    let long_line = [b"PROXY TCP4 ".as_slice(), &[b'1'; 96]].concat();
    let late_end = [long_line.as_slice(), b"\r\n"].concat();
    let cases: &[(&[u8], HeaderError)] = &[
        (b"USER anna\r\n", E::Signature),
        (b"SSH-2.0-x\r\n", E::Signature),
        (b"\x16\x03\x01", E::Signature),
        (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", E::Signature),
        (b"PROXX", E::Signature),
        (b"\r\n\r\n\0\r\nQUIT\r", E::Signature),
        (b"PROXY \n", E::Line),
        (b"PROXY \r\n", E::Line),
        (b"PROXY UNKNOWN\n", E::Line),
        (b"PROXY UNKNOWNS\r\n", E::Line),
        (b"PROXY TCP4\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", E::Line),
        (b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1  1\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n", E::Line),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", E::Line),
        (b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", E::Line),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", E::Line),
        (b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", E::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\xff\r\n", E::Line),
        (&long_line, E::TooLong),
        (&late_end, E::TooLong),
        (&v2(0x22, 0x11, &[0; 12]), E::Command),
        (&v2(0x11, 0x11, &[0; 12]), E::Command),
        (&v2(0x31, 0x11, &[0; 12]), E::Command),
        (&v2(0x21, 0x13, &[0; 12]), E::Family),
        (&v2(0x21, 0x10, &[0; 12]), E::Family),
        (&v2(0x21, 0x41, &[0; 12]), E::Family),
        (&v2(0x21, 0x11, &[0; 11]), E::TooShort),
        (&v2(0x21, 0x21, &[0; 35]), E::TooShort),
        (&v2(0x21, 0x11, b""), E::TooShort),
        // Refused before the rest has arrived.
        (&v2(0x21, 0x11, &[0; 2049])[..16], E::TooLong),
        (&v2(0x20, 0x00, &[0; 65535])[..16], E::TooLong),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes), Err(*error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn different_families_are_encoded_as_ipv6_and_decoded_back() {
    let (four, six) = ("192.0.2.1:5".parse().unwrap(), "[2001:db8::1]:6".parse().unwrap());
    for (source, destination) in [(four, six), (six, four), (four, four), (six, six)] {
        let bytes = encode(source, destination);
        assert_eq!(whole(&bytes), Ok(Header::Proxied { source, destination }));
    }
}

/// The fuzzer's findings and seeds.
#[test]
fn the_fuzzing_corpus_does_not_panic() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/proxy_header");
    let mut read = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let _ = decode(&std::fs::read(file.unwrap().path()).unwrap());
        read += 1;
    }
    assert!(read >= 7);
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(std::net::IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(std::net::IpAddr::from);
    (prop_oneof![v4, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// A header as proxies send it, and its decoded form.
fn header() -> impl Strategy<Value = (Vec<u8>, Header)> {
    let proxied = |source, destination| Header::Proxied {
        source: canonical(source),
        destination: canonical(destination),
    };
    let binary = (address(), address(), vec(any::<u8>(), 0..600)).prop_map(move |(s, d, more)| {
        let mut bytes = encode(s, d);
        let length = u16::from_be_bytes([bytes[14], bytes[15]]) + more.len() as u16;
        bytes[14..16].copy_from_slice(&length.to_be_bytes());
        bytes.extend(more);
        (bytes, proxied(s, d))
    });
    let text = (address(), any::<[u8; 16]>(), any::<u16>()).prop_map(move |(s, bytes, port)| {
        let (family, ip): (_, std::net::IpAddr) = match s {
            SocketAddr::V4(_) => ("TCP4", [bytes[0], bytes[1], bytes[2], bytes[3]].into()),
            SocketAddr::V6(_) => ("TCP6", bytes.into()),
        };
        let line = format!("PROXY {family} {} {ip} {} {port}\r\n", s.ip(), s.port());
        (line.into_bytes(), proxied(s, SocketAddr::new(ip, port)))
    });
    prop_oneof![binary, text]
}

proptest! {
    #[test]
    fn a_header_is_decoded_only_once_complete((bytes, expected) in header(), after in vec(any::<u8>(), 0..50)) {
        for length in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..length]), Ok(None));
        }
        let all = [bytes.as_slice(), &after].concat();
        prop_assert_eq!(decode(&all), Ok(Some(Decoded { header: expected, length: bytes.len() })));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_and_are_bounded(
        start in proptest::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP6 ", v2::SIGNATURE]),
        rest in vec(any::<u8>(), 0..3000),
    ) {
        let bytes = [start, &rest].concat();
        match decode(&bytes) {
            Ok(None) => prop_assert!(bytes.len() < MAX_V2_HEADER),
            Ok(Some(decoded)) => {
                prop_assert!(decoded.length <= MAX_V2_HEADER.min(bytes.len()));
                prop_assert_eq!(decode(&bytes[..decoded.length]), Ok(Some(decoded)));
            }
            Err(_) => {}
        }
    }
}
