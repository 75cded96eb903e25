//! Lines of a control connection (RFC 959 section 5.3, Telnet's IAC of RFC 854), bounded.

/// The longest command line, in bytes without its end.
pub const MAX_COMMAND_LINE: usize = 4096;

const LF: u8 = 10;
const CR: u8 = 13;
const IAC: u8 = 255;
/// Bytes from DM to IAC are Telnet's (RFC 854).
const TELNET_SIGNALS_MIN: u8 = 0xf2;

/// Splits received bytes into lines. Removes Telnet commands (IP, DM, option offers) at the start of a
/// line; `IAC IAC` becomes one 0xFF. A line that is too long is dropped and reported once it has ended.
#[derive(Debug)]
pub struct LineBuffer {
    line: Vec<u8>,
    ready: std::collections::VecDeque<Result<Vec<u8>, TooLong>>,
    limit: usize,
    too_long: bool,
    telnet: Telnet,
}

/// A line longer than the limit, which was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telnet {
    Off,
    Text,
    Iac,
    Option,
}

impl LineBuffer {
    /// `limit`: of a line, in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            ready: Default::default(),
            limit,
            too_long: false,
            telnet: Telnet::Text,
        }
    }

    /// For lines without Telnet, such as a listing's: keeps every byte but the line end.
    pub fn binary(limit: usize) -> Self {
        Self { telnet: Telnet::Off, ..Self::new(limit) }
    }

    /// Adds received bytes. Memory is bounded by the limit and the size of one call: callers read on only
    /// when no complete line is left.
    pub fn extend(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.telnet = match (self.telnet, byte) {
                (Telnet::Text, IAC) => Telnet::Iac,
                (Telnet::Off, byte) => {
                    self.push(byte);
                    Telnet::Off
                }
                (Telnet::Text, byte) => self.push(byte),
                (Telnet::Iac, 251..=254) if self.line.is_empty() => Telnet::Option,
                (Telnet::Iac, 240..=250) if self.line.is_empty() => Telnet::Text,
                (Telnet::Iac, IAC) => self.push(IAC),
                (Telnet::Iac, byte) => {
                    // A client that does not double its 0xFF. Keep it, so that the name is refused and
                    // not silently changed. FTP uses Telnet commands at the start of a line only.
                    self.push(IAC);
                    self.push(byte)
                }
                // Not an option: the client left it out, and this is the verb.
                (Telnet::Option, b'A'..=b'Z' | b'a'..=b'z') => self.push(byte),
                (Telnet::Option, _) => Telnet::Text,
            };
        }
    }

    /// The next complete line, without its end.
    pub fn next_line(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        self.ready.pop_front()
    }

    /// Whether it holds no line and no part of one.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty() && self.ready.is_empty()
    }

    /// Discards all lines and parts, which came in clear before TLS.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    fn push(&mut self, byte: u8) -> Telnet {
        match byte {
            LF => self.end_line(),
            // The limit does not count the CR of the line end.
            _ if self.line.len() > self.limit => self.too_long = true,
            _ if !self.too_long => self.line.push(byte),
            _ => {}
        }
        Telnet::Text
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&CR) {
            line.pop();
        }
        let too_long = std::mem::take(&mut self.too_long) || line.len() > self.limit;
        self.ready.push_back(if too_long { Err(TooLong) } else { Ok(line) });
    }
}

/// Removes remains of Telnet signals before the verb of a command line (RFC 959 section 4.1.3). Old
/// libraries send IAC, IP and DM in any order, with and without urgent data; no verb starts with one of
/// these bytes.
pub fn strip_telnet_signals(mut line: Vec<u8>) -> Vec<u8> {
    let signals = line.iter().take_while(|byte| **byte >= TELNET_SIGNALS_MIN).count();
    line.drain(..signals);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, TooLong>> {
        let mut buffer = LineBuffer::new(8);
        chunks.iter().for_each(|chunk| buffer.extend(chunk));
        std::iter::from_fn(|| buffer.next_line()).collect()
    }

    #[test]
    fn crlf_and_lf_end_a_line_in_any_chunks() {
        assert_eq!(
            lines(&[b"NO", b"OP\r", b"\nPWD\nrest"]),
            [Ok(b"NOOP".into()), Ok(b"PWD".into())]
        );
    }

    #[test]
    fn a_long_line_is_dropped_and_the_next_one_is_read() {
        assert_eq!(
            lines(&[b"12345678\r\n123456789\r\nNOOP\r\n"]),
            [Ok(b"12345678".into()), Err(TooLong), Ok(b"NOOP".into())]
        );
        assert_eq!(lines(&[&[b'x'; 5000], b"\r\nNOOP\r\n"]), [Err(TooLong), Ok(b"NOOP".into())]);
    }

    #[test]
    fn telnet_commands_are_removed() {
        assert_eq!(lines(&[b"\xff\xf4\xff\xf2ABOR\r\n"]), [Ok(b"ABOR".into())]);
        assert_eq!(lines(&[b"\xff", b"\xfb", b"\nA\xff\xffB\r\n"]), [Ok(b"A\xffB".into())]);
        assert_eq!(lines(&[b"A\xffB\r\n"]), [Ok(b"A\xffB".into())]);
        assert_eq!(lines(&[b"A\xff\xf4B\r\n"]), [Ok(b"A\xff\xf4B".into())]);
    }

    #[test]
    fn telnet_signals_in_any_order_are_stripped() {
        for signals in [
            &b""[..],
            b"\xff\xf4\xff\xf2",
            b"\xff\xf4\xf2",
            b"\xf4\xff",
            b"\xf2",
            b"\xf4\xff\xf2\xff",
            b"\xf2\xff\xf4\xff",
            b"\xff\xff\xf4",
            b"\xff\xfd",
            b"\xff\xfd\x06",
        ] {
            let sent = [signals, b"ABOR\r\n"].concat();
            let line = lines(&[&sent]).remove(0).unwrap();
            assert_eq!(strip_telnet_signals(line), b"ABOR", "{}", signals.escape_ascii());
        }
        assert_eq!(strip_telnet_signals(b"RETR \xf6".to_vec()), b"RETR \xf6");
    }
}
