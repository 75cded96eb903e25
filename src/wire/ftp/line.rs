//! Lines of a control connection (RFC 959 section 5.3, Telnet's IAC of RFC 854), bounded.

/// The longest command line, in bytes without its end.
pub const MAX_COMMAND: usize = 4096;

const LF: u8 = 10;
const CR: u8 = 13;
const IAC: u8 = 255;
/// DM, and from there to IAC: what comes before a verb (RFC 854).
const TELNET_SIGNALS_MIN: u8 = 0xf2;

/// Cuts arriving bytes into lines. Telnet commands (IP, DM, option offers) that begin a line are
/// taken out, `IAC IAC` becomes one 0xFF. A line that is too long is dropped whole, and said so when its end has come.
#[derive(Debug)]
pub struct LineBuffer {
    line: Vec<u8>,
    ready: std::collections::VecDeque<Result<Vec<u8>, TooLong>>,
    limit: usize,
    too_long: bool,
    telnet: Telnet,
}

/// A line longer than the limit; it was dropped.
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
    /// `limit`: bytes a line may have.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            ready: Default::default(),
            limit,
            too_long: false,
            telnet: Telnet::Text,
        }
    }

    /// For lines that are no Telnet, such as a listing's: every byte but the line end is kept.
    pub fn binary(limit: usize) -> Self {
        Self { telnet: Telnet::Off, ..Self::new(limit) }
    }

    /// Takes what arrived. Memory is bounded by the limit and by what one call brings: callers read
    /// on only when no whole line is left.
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
                    // A client that does not double its 0xFF: keep it, so that the name is refused
                    // rather than silently another one. What FTP has of Telnet begins a line.
                    self.push(IAC);
                    self.push(byte)
                }
                // No option is a letter: a verb begins, and the option was left out.
                (Telnet::Option, b'A'..=b'Z' | b'a'..=b'z') => self.push(byte),
                (Telnet::Option, _) => Telnet::Text,
            };
        }
    }

    /// The next whole line, without its end.
    pub fn next_line(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        self.ready.pop_front()
    }

    /// Whether nothing is there, not even a part of a line.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty() && self.ready.is_empty()
    }

    /// Throws away everything, lines and parts: what came in clear before TLS.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    fn push(&mut self, byte: u8) -> Telnet {
        match byte {
            LF => self.end_line(),
            // One more than the limit: the CR of the line's end.
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

/// A command line without what is left of Telnet signals before its verb (RFC 959 section 4.1.3). Old
/// libraries send IAC, IP and DM in any order, with and without urgent data; no verb begins with such a
/// byte.
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
    fn crlf_and_lf_end_a_line_wherever_it_is_cut() {
        assert_eq!(
            lines(&[b"NO", b"OP\r", b"\nPWD\nrest"]),
            [Ok(b"NOOP".into()), Ok(b"PWD".into())]
        );
    }

    #[test]
    fn a_long_line_is_dropped_and_the_next_one_lives() {
        assert_eq!(
            lines(&[b"12345678\r\n123456789\r\nNOOP\r\n"]),
            [Ok(b"12345678".into()), Err(TooLong), Ok(b"NOOP".into())]
        );
        assert_eq!(lines(&[&[b'x'; 5000], b"\r\nNOOP\r\n"]), [Err(TooLong), Ok(b"NOOP".into())]);
    }

    #[test]
    fn telnet_is_taken_out() {
        assert_eq!(lines(&[b"\xff\xf4\xff\xf2ABOR\r\n"]), [Ok(b"ABOR".into())]);
        assert_eq!(lines(&[b"\xff", b"\xfb", b"\nA\xff\xffB\r\n"]), [Ok(b"A\xffB".into())]);
        assert_eq!(lines(&[b"A\xffB\r\n"]), [Ok(b"A\xffB".into())]);
        assert_eq!(lines(&[b"A\xff\xf4B\r\n"]), [Ok(b"A\xff\xf4B".into())]);
    }

    #[test]
    fn signals_in_any_order_hide_no_verb() {
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
