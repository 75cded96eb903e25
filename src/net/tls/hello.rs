//! The sessions that a ClientHello offers to resume (RFC 8446 section 4.1.2, RFC 5077 section 3.2). They
//! assign a data connection to a control session before the handshake; the handshake then verifies it.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The most bytes of a first flight, and the most tickets in it that are read.
const FIRST_FLIGHT_MAX: usize = 32 * 1024;
const TICKETS_MAX: usize = 4;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;

/// The sessions that a ClientHello offers to resume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfferedSessions {
    pub(super) tickets: Vec<Vec<u8>>,
    /// Of TLS 1.2; meaningless in TLS 1.3. May be empty.
    pub(super) session_id: Vec<u8>,
}

/// A client's first flight; the handshake still needs its bytes.
#[derive(Debug)]
pub struct FirstFlight {
    /// All bytes read so far, at most 32 KiB and one read.
    pub bytes: Vec<u8>,
    /// `None`: not TLS.
    pub offered: Option<OfferedSessions>,
}

impl FirstFlight {
    /// Reads as far as needed, without a timeout. `None` when the client closes before that.
    pub async fn read(tcp: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::with_capacity(2048);
        loop {
            match offered(&bytes) {
                Parsed::Incomplete if bytes.len() < FIRST_FLIGHT_MAX => {}
                Parsed::Offers(offered) => return Some(Self { bytes, offered: Some(offered) }),
                _ => return Some(Self { bytes, offered: None }),
            }
            if tcp.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Incomplete,
    Offers(OfferedSessions),
    NotTls,
}

fn offered(bytes: &[u8]) -> Parsed {
    let message = match handshake_message(bytes) {
        Ok(message) => message,
        Err(parsed) => return parsed,
    };
    client_hello(&message).map_or(Parsed::NotTls, Parsed::Offers)
}

/// The first handshake message, reassembled from its records.
fn handshake_message(mut bytes: &[u8]) -> Result<Vec<u8>, Parsed> {
    let mut message = Vec::new();
    loop {
        let [kind, major, _, high, low, ..] = *bytes else {
            // The first byte is enough to reject most other protocols.
            let wrong = bytes.first().is_some_and(|kind| *kind != HANDSHAKE);
            return Err(if wrong { Parsed::NotTls } else { Parsed::Incomplete });
        };
        if kind != HANDSHAKE || major != 3 {
            return Err(Parsed::NotTls);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let record = &bytes[5..];
        message.extend_from_slice(&record[..length.min(record.len())]);
        if let [CLIENT_HELLO, a, b, c, body @ ..] = &*message {
            let whole = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if body.len() >= whole {
                return Ok(body[..whole].to_vec());
            }
        } else if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Parsed::NotTls);
        }
        if record.len() <= length {
            return Err(Parsed::Incomplete);
        }
        if length == 0 {
            return Err(Parsed::NotTls);
        }
        bytes = &record[length..];
    }
}

fn client_hello(body: &[u8]) -> Option<OfferedSessions> {
    let mut rest = body;
    take(&mut rest, 2 + 32)?;
    let session_id = vector(&mut rest, 1)?.to_vec();
    let _cipher_suites = vector(&mut rest, 2)?;
    let _compressions = vector(&mut rest, 1)?;
    let mut tickets = Vec::new();
    let mut extensions = if rest.is_empty() { rest } else { vector(&mut rest, 2)? };
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let mut extension = vector(&mut extensions, 2)?;
        match kind as u16 {
            SESSION_TICKET if !extension.is_empty() => tickets.push(extension.to_vec()),
            PRE_SHARED_KEY => {
                let mut identities = vector(&mut extension, 2)?;
                while !identities.is_empty() && tickets.len() < TICKETS_MAX {
                    tickets.push(vector(&mut identities, 2)?.to_vec());
                    take(&mut identities, 4)?;
                }
            }
            _ => {}
        }
    }
    Some(OfferedSessions { tickets, session_id })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    Some(take(rest, bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// A vector with a length prefix of `length_bytes` (RFC 8446 section 3.4).
fn vector<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = number(rest, length_bytes)?;
    take(rest, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - length_bytes..], content].concat()
    }

    /// A ClientHello with a TLS 1.2 ticket and two PSK identities.
    fn message() -> Vec<u8> {
        let identities =
            [vector(2, b"first"), vec![0; 4], vector(2, b"second"), vec![0; 4]].concat();
        let extensions = [
            &[0, 0][..],
            &vector(2, b"sni"),
            &SESSION_TICKET.to_be_bytes(),
            &vector(2, b"old"),
            &PRE_SHARED_KEY.to_be_bytes(),
            &vector(2, &[vector(2, &identities), vector(2, b"binders")].concat()),
        ]
        .concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, b"session"),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ]
        .concat();
        [&[CLIENT_HELLO][..], &vector(3, &body)].concat()
    }

    fn records(message: &[u8], length: usize) -> Vec<u8> {
        let record = |piece: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector(2, piece)].concat();
        message.chunks(length).flat_map(record).collect()
    }

    #[test]
    fn tickets_and_session_id_are_read_from_any_fragmentation() {
        let expected = OfferedSessions {
            tickets: [&b"old"[..], b"first", b"second"].map(<[u8]>::to_vec).to_vec(),
            session_id: b"session".to_vec(),
        };
        for length in [1, 3, 50, 16_384] {
            let bytes = records(&message(), length);
            assert_eq!(offered(&bytes), Parsed::Offers(expected.clone()));
            for cut in 0..bytes.len() {
                assert_eq!(offered(&bytes[..cut]), Parsed::Incomplete, "{length}, {cut}");
            }
        }
    }

    #[test]
    fn other_protocols_are_rejected_early() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x02\x00\x00\x01\x01",
            b"\x16\x03\x01\0\0\x16\x03\x01\0\0",
        ] {
            assert_eq!(offered(bytes), Parsed::NotTls, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..200usize) {
            offered(&bytes);
            let mut hello = records(&message(), 100);
            hello.truncate(keep);
            hello.extend(&bytes);
            offered(&hello);
            client_hello(&bytes);
        }
    }
}
