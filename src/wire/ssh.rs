//! The unencrypted start of SSH connections: lines before a server's identification string, that string
//! (RFC 4253 section 4.2), and the packets up to SSH_MSG_NEWKEYS (sections 6 and 7).

/// The longest identification string, its end included, in bytes.
const IDENTIFICATION_MAX: usize = 255;
/// The longest packet that every implementation must accept, in bytes (RFC 4253 section 6.1).
const PACKET_MAX: usize = 35_000;
/// The size of a packet's length, padding length and type, in bytes.
const HEADER_SIZE: usize = 4 + 1 + 1;
const DISCONNECT: u8 = 1;
const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
const COOKIE_SIZE: usize = 16;

/// The most bytes that a server may send before its identification string.
const PREAMBLE_MAX: usize = 1024 * 1024;
const SSH: &[u8] = b"SSH-";

/// Removes the lines that a server sends before its identification string. These have no length limit of
/// their own.
#[derive(Debug, Default)]
pub struct PreambleFilter {
    /// The start of a line that may be the identification string.
    line_start: Vec<u8>,
    in_line: bool,
    skipped: usize,
}

/// A server that sends too much before its identification string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent more than {PREAMBLE_MAX} bytes before its identification string")]
pub struct PreambleTooLong;

impl PreambleFilter {
    /// Takes the next `bytes` of the stream and returns those from the identification string on; `None`
    /// until it arrives.
    ///
    /// # Errors
    /// When the lines before it are too long.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, PreambleTooLong> {
        for (at, byte) in bytes.iter().enumerate() {
            self.skipped += 1;
            if self.skipped > PREAMBLE_MAX {
                return Err(PreambleTooLong);
            }
            if *byte == b'\n' {
                (self.in_line, self.line_start) = (false, Vec::new());
            } else if !self.in_line {
                self.line_start.push(*byte);
                if self.line_start == SSH {
                    return Ok(Some([SSH, &bytes[at + 1..]].concat()));
                }
                self.in_line = !SSH.starts_with(&self.line_start);
            }
        }
        Ok(None)
    }
}

/// The lines of `stream` before the identification string, for the log.
pub fn preamble(stream: &[u8]) -> &[u8] {
    let lines = stream.split_inclusive(|byte| *byte == b'\n');
    let length = lines.take_while(|line| !line.starts_with(SSH)).map(<[u8]>::len).sum();
    stream[..length].trim_ascii_end()
}

/// The client's offer in the algorithm negotiation (RFC 4253 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOffer {
    /// `SSH-2.0-…`, raw, without the line end.
    pub identification: Vec<u8>,
    /// `kex_algorithms`, the client's favourite first.
    pub key_exchanges: Vec<String>,
    /// `server_host_key_algorithms`, the client's favourite first.
    pub host_keys: Vec<String>,
    /// Client to server.
    pub ciphers: Vec<String>,
}

/// Parses the start of a client's stream; `None` if the offer is incomplete or malformed.
pub fn client_offer(stream: &[u8]) -> Option<ClientOffer> {
    let end = stream.iter().take(IDENTIFICATION_MAX).position(|byte| *byte == b'\n')?;
    let (line, mut rest) = (&stream[..end], &stream[end + 1..]);
    let identification = line.strip_suffix(b"\r").unwrap_or(line);
    identification.starts_with(b"SSH-").then_some(())?;
    // The packet's length, padding length and type.
    take(&mut rest, 4 + 1)?;
    (take(&mut rest, 1)? == [KEXINIT]).then_some(())?;
    take(&mut rest, COOKIE_SIZE)?;
    Some(ClientOffer {
        identification: identification.to_vec(),
        key_exchanges: name_list(&mut rest)?,
        host_keys: name_list(&mut rest)?,
        ciphers: name_list(&mut rest)?,
    })
}

/// The start of a client's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientStart {
    /// The first packet is incomplete.
    Incomplete,
    /// The first packet is a KEXINIT.
    Offer(ClientOffer),
    /// The first packet is another one, or too long.
    Other,
}

/// Parses a client's stream up to the end of its first packet.
pub fn client_start(stream: &[u8]) -> ClientStart {
    let line = &stream[..stream.len().min(IDENTIFICATION_MAX)];
    let is_line_possible = line.starts_with(SSH) || SSH.starts_with(line);
    let packet = match line.iter().position(|byte| *byte == b'\n') {
        Some(end) if is_line_possible => &stream[end + 1..],
        None if is_line_possible && line.len() < IDENTIFICATION_MAX => {
            return ClientStart::Incomplete;
        }
        _ => return ClientStart::Other,
    };
    let Some((length, body)) = packet.split_first_chunk() else { return ClientStart::Incomplete };
    match usize::try_from(u32::from_be_bytes(*length)) {
        Ok(length @ ..=PACKET_MAX) if body.len() < length => ClientStart::Incomplete,
        Ok(..=PACKET_MAX) => client_offer(stream).map_or(ClientStart::Other, ClientStart::Offer),
        _ => ClientStart::Other,
    }
}

/// Tracks where a server's stream becomes encrypted: after its SSH_MSG_NEWKEYS.
#[derive(Debug, Default)]
pub struct EncryptionTracker(ServerStart);

#[derive(Debug, Default)]
enum ServerStart {
    #[default]
    Identification,
    /// A packet's length, padding length and type, possibly incomplete.
    Header(Vec<u8>),
    /// The remaining bytes of a packet.
    Packet(usize),
    /// The remaining bytes of NEWKEYS.
    NewKeys(usize),
}

impl EncryptionTracker {
    /// Takes the next `bytes` of the stream and returns how many of them are encrypted.
    pub fn encrypted(&mut self, mut bytes: &[u8]) -> usize {
        while !bytes.is_empty() {
            match &mut self.0 {
                ServerStart::Identification => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return 0 };
                    bytes = &bytes[end + 1..];
                    self.0 = ServerStart::Header(Vec::new());
                }
                ServerStart::Header(header) => {
                    let (taken, left) = bytes.split_at(bytes.len().min(HEADER_SIZE - header.len()));
                    header.extend_from_slice(taken);
                    bytes = left;
                    if let [a, b, c, d, _, kind] = header[..] {
                        let length = u32::from_be_bytes([a, b, c, d]) as usize;
                        let rest = length.saturating_sub(2);
                        self.0 = match kind {
                            NEWKEYS => ServerStart::NewKeys(rest),
                            _ => ServerStart::Packet(rest),
                        };
                    }
                }
                ServerStart::Packet(rest) => {
                    let skipped = bytes.len().min(*rest);
                    bytes = &bytes[skipped..];
                    *rest -= skipped;
                    if *rest == 0 {
                        self.0 = ServerStart::Header(Vec::new());
                    }
                }
                ServerStart::NewKeys(rest) => {
                    let skipped = bytes.len().min(*rest);
                    *rest -= skipped;
                    return bytes.len() - skipped;
                }
            }
        }
        0
    }
}

/// An unencrypted packet with SSH_MSG_DISCONNECT (RFC 4253 sections 6 and 11.1).
pub fn disconnect(reason: u32, description: &str) -> Vec<u8> {
    const BLOCK: usize = 8;
    const PADDING_MIN: usize = 4;
    let string = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let payload =
        [&[DISCONNECT][..], &reason.to_be_bytes(), &string(description), &string("")].concat();
    let short = BLOCK - (HEADER_SIZE - 1 + payload.len()) % BLOCK;
    let padding = if short < PADDING_MIN { short + BLOCK } else { short };
    let length = 1 + payload.len() + padding;
    [&(length as u32).to_be_bytes()[..], &[padding as u8], &payload, &vec![0; padding]].concat()
}

/// The negotiated algorithm: the client's first that the server supports (RFC 4253 section 7.1).
pub fn negotiated<'a>(client: &'a [String], server: &[&str]) -> Option<&'a str> {
    client.iter().find(|name| server.contains(&name.as_str())).map(String::as_str)
}

fn name_list(rest: &mut &[u8]) -> Option<Vec<String>> {
    let length = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
    let names = take(rest, usize::try_from(length).ok()?)?;
    let names = names.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    Some(names.map(|name| name.escape_ascii().to_string()).collect())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Vec<u8> {
        let list =
            |names: &str| [&(names.len() as u32).to_be_bytes()[..], names.as_bytes()].concat();
        [
            b"SSH-2.0-client 1\r\n\0\0\x01\0\x08\x14",
            &[7; COOKIE_SIZE][..],
            &list("old,curve25519-sha256"),
            &list("ssh-ed25519"),
            &list("aes128-ctr,aes256-ctr"),
        ]
        .concat()
    }

    #[test]
    fn the_first_common_algorithm_of_an_offer_is_negotiated() {
        let offer = client_offer(&stream()).unwrap();
        assert_eq!(offer.identification, b"SSH-2.0-client 1");
        let server = ["curve25519-sha256", "other"];
        assert_eq!(negotiated(&offer.key_exchanges, &server), Some("curve25519-sha256"));
        assert_eq!(negotiated(&offer.ciphers, &server), None);
        assert_eq!(client_offer(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn lines_before_the_identification_string_are_removed_in_any_chunks() {
        let long = [&b"x".repeat(5000)[..], b"\r\n"].concat();
        for before in [&b""[..], b"hello\r\n", b"\n\n", b"SS\nSSX-\r\n not SSH-2.0\n", &long] {
            let stream = [before, b"SSH-2.0-x\r\nSSH-\n\0\0"].concat();
            for piece in [1, 2, 3, 7, stream.len()] {
                let mut filter = PreambleFilter::default();
                let mut rest = Vec::new();
                let mut started = false;
                for bytes in stream.chunks(piece) {
                    if started {
                        rest.extend_from_slice(bytes);
                    } else if let Some(first) = filter.skip(bytes).unwrap() {
                        (started, rest) = (true, first);
                    }
                }
                assert_eq!(rest, b"SSH-2.0-x\r\nSSH-\n\0\0");
            }
            assert_eq!(preamble(&stream), before.trim_ascii_end());
        }
        let mut filter = PreambleFilter::default();
        assert_eq!(filter.skip(&vec![b'x'; PREAMBLE_MAX]), Ok(None));
        assert_eq!(filter.skip(b"x"), Err(PreambleTooLong));
    }

    /// A client's packet of this type.
    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (1 + 1 + body.len() + 4) as u32;
        [&length.to_be_bytes()[..], &[4, kind], body, &[0; 4]].concat()
    }

    #[test]
    fn a_clients_start_is_incomplete_until_its_first_packet_ends() {
        let list =
            |names: &str| [&(names.len() as u32).to_be_bytes()[..], names.as_bytes()].concat();
        let lists = [&[7; COOKIE_SIZE][..], &list("a,b"), &list("c"), &list("d")].concat();
        let line = b"SSH-2.0-client\r\n";
        let whole = [&line[..], &packet(KEXINIT, &lists)].concat();
        for cut in 0..whole.len() {
            assert_eq!(client_start(&whole[..cut]), ClientStart::Incomplete, "{cut}");
        }
        for start in [whole.clone(), [&whole[..], b"more"].concat()] {
            let ClientStart::Offer(offer) = client_start(&start) else { panic!() };
            assert_eq!(offer.key_exchanges, ["a", "b"]);
        }
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\nSSH-2.0-client\r\n",
            &b"SSH-2.0-".repeat(40),
            &[&line[..], &packet(2, b"\0\0\0\0")].concat(),
            &[&line[..], &packet(KEXINIT, b"short")].concat(),
            &[&line[..], &100_000u32.to_be_bytes()].concat(),
        ] {
            assert_eq!(client_start(other), ClientStart::Other, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn encrypted_bytes_are_counted_in_any_chunks() {
        let clear = [
            b"SSH-2.0-server\r\n",
            &packet(KEXINIT, &[21; 90])[..],
            &packet(31, b""),
            &packet(NEWKEYS, b""),
        ]
        .concat();
        let stream = [&clear[..], b"encrypted\n"].concat();
        for piece in [1, 2, 5, 7, 64, stream.len()] {
            let mut keys = EncryptionTracker::default();
            let encrypted: usize = stream.chunks(piece).map(|bytes| keys.encrypted(bytes)).sum();
            assert_eq!(encrypted, 10, "{piece}");
        }
        assert_eq!(EncryptionTracker::default().encrypted(&clear), 0);
    }

    #[test]
    fn a_disconnect_packet_is_a_multiple_of_the_block_size() {
        for length in 0..20 {
            let description = "x".repeat(length);
            let bytes = disconnect(12, &description);
            assert_eq!(bytes.len() % 8, 0);
            let packet_length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            assert_eq!(packet_length + 4, bytes.len());
            let padding = usize::from(bytes[4]);
            assert!((4..12).contains(&padding), "{padding}");
            let payload = &bytes[5..bytes.len() - padding];
            assert_eq!((payload[0], payload[4]), (DISCONNECT, 12));
            assert_eq!(&payload[9..9 + length], description.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(cut in 0usize..200, noise: Vec<u8>) {
            let stream = stream();
            client_offer(&noise);
            client_start(&noise);
            EncryptionTracker::default().encrypted(&noise);
            client_offer(&[b"SSH-2.0-x\r\n", &noise[..]].concat());
            prop_assert_eq!(client_offer(&stream[..cut.min(stream.len() - 1)]), None);
        }
    }
}
