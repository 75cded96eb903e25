//! What SSH peers send in clear before anything else: a server's lines before its identification string
//! and that string (RFC 4253 section 4.2), and a client's SSH_MSG_KEXINIT (section 7.1).

/// The longest identification string, its end included, in bytes.
const IDENTIFICATION_MAX: usize = 255;
const KEXINIT: u8 = 20;
const COOKIE: usize = 16;

/// What a server may say before its identification string, in bytes.
const BEFORE_MAX: usize = 1024 * 1024;
const SSH: &[u8] = b"SSH-";

/// Takes out the lines that a server sends before its identification string. The limit on the length of
/// that string is none for them.
#[derive(Debug, Default)]
pub struct BeforeIdentification {
    /// The begin of a line that may be the identification string.
    begin: Vec<u8>,
    in_line: bool,
    skipped: usize,
}

/// A server that says too much before its identification string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {BEFORE_MAX} bytes came before the server's identification string")]
pub struct TooMuch;

impl BeforeIdentification {
    /// What is left of `bytes`, the next of the stream, from the identification string on; `None` as long
    /// as it has not come.
    ///
    /// # Errors
    /// When the lines before it are longer together than is allowed.
    pub fn skip(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, TooMuch> {
        for (at, byte) in bytes.iter().enumerate() {
            self.skipped += 1;
            if self.skipped > BEFORE_MAX {
                return Err(TooMuch);
            }
            if *byte == b'\n' {
                (self.in_line, self.begin) = (false, Vec::new());
            } else if !self.in_line {
                self.begin.push(*byte);
                if self.begin == SSH {
                    return Ok(Some([SSH, &bytes[at + 1..]].concat()));
                }
                self.in_line = !SSH.starts_with(&self.begin);
            }
        }
        Ok(None)
    }
}

/// The lines of `stream` before the identification string, for the log.
pub fn before_identification(stream: &[u8]) -> &[u8] {
    let lines = stream.split_inclusive(|byte| *byte == b'\n');
    let length = lines.take_while(|line| !line.starts_with(SSH)).map(<[u8]>::len).sum();
    stream[..length].trim_ascii_end()
}

/// The client's half of the negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOffer {
    /// `SSH-2.0-…`, without the line end; bytes as the client sent them.
    pub identification: Vec<u8>,
    pub key_exchanges: Vec<String>,
    pub host_keys: Vec<String>,
    /// Client to server.
    pub ciphers: Vec<String>,
}

/// Reads a stream's begin; `None` where the offer is not whole, or is none.
pub fn client_offer(stream: &[u8]) -> Option<ClientOffer> {
    let end = stream.iter().take(IDENTIFICATION_MAX).position(|byte| *byte == b'\n')?;
    let (line, mut rest) = (&stream[..end], &stream[end + 1..]);
    let identification = line.strip_suffix(b"\r").unwrap_or(line);
    identification.starts_with(b"SSH-").then_some(())?;
    // Its length, the length of its padding, its type.
    take(&mut rest, 4 + 1)?;
    (take(&mut rest, 1)? == [KEXINIT]).then_some(())?;
    take(&mut rest, COOKIE)?;
    Some(ClientOffer {
        identification: identification.to_vec(),
        key_exchanges: name_list(&mut rest)?,
        host_keys: name_list(&mut rest)?,
        ciphers: name_list(&mut rest)?,
    })
}

/// The algorithm that both use: the client's first that the server has, too.
pub fn chosen<'a>(client: &'a [String], server: &[&str]) -> Option<&'a str> {
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
            &[7; COOKIE][..],
            &list("old,curve25519-sha256"),
            &list("ssh-ed25519"),
            &list("aes128-ctr,aes256-ctr"),
        ]
        .concat()
    }

    #[test]
    fn an_offer_is_read_and_the_first_common_name_is_chosen() {
        let offer = client_offer(&stream()).unwrap();
        assert_eq!(offer.identification, b"SSH-2.0-client 1");
        let server = ["curve25519-sha256", "other"];
        assert_eq!(chosen(&offer.key_exchanges, &server), Some("curve25519-sha256"));
        assert_eq!(chosen(&offer.ciphers, &server), None);
        assert_eq!(client_offer(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn lines_before_the_identification_string_are_taken_out_however_they_are_cut() {
        let long = [&b"x".repeat(5000)[..], b"\r\n"].concat();
        for before in [&b""[..], b"hello\r\n", b"\n\n", b"SS\nSSX-\r\n not SSH-2.0\n", &long] {
            let stream = [before, b"SSH-2.0-x\r\nSSH-\n\0\0"].concat();
            for piece in [1, 2, 3, 7, stream.len()] {
                let mut filter = BeforeIdentification::default();
                let mut rest = Vec::new();
                let mut begun = false;
                for bytes in stream.chunks(piece) {
                    if begun {
                        rest.extend_from_slice(bytes);
                    } else if let Some(first) = filter.skip(bytes).unwrap() {
                        (begun, rest) = (true, first);
                    }
                }
                assert_eq!(rest, b"SSH-2.0-x\r\nSSH-\n\0\0");
            }
            assert_eq!(before_identification(&stream), before.trim_ascii_end());
        }
        let mut filter = BeforeIdentification::default();
        assert_eq!(filter.skip(&vec![b'x'; BEFORE_MAX]), Ok(None));
        assert_eq!(filter.skip(b"x"), Err(TooMuch));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(cut in 0usize..200, noise: Vec<u8>) {
            let stream = stream();
            client_offer(&noise);
            client_offer(&[b"SSH-2.0-x\r\n", &noise[..]].concat());
            prop_assert_eq!(client_offer(&stream[..cut.min(stream.len() - 1)]), None);
        }
    }
}
