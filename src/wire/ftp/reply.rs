//! Replies (RFC 959 section 4.2): encoded for clients, read from servers.

use crate::op::PeerReply;

/// The longest line of a reply that is read, in bytes.
pub const MAX_LINE: usize = 8192;
/// The most lines of one reply that are kept: the first ones and the last.
pub const MAX_LINES_KEPT: usize = 512;
/// The most lines of one reply that are read.
pub const MAX_LINES_READ: usize = 65_536;

/// Appends a reply to `out`. Control characters except the tab become `?`, so that a name cannot forge a
/// line; 0xFF is doubled (RFC 854).
pub fn encode(code: u16, lines: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    let last = lines.len().saturating_sub(1);
    let code = format!("{code:03}");
    if lines.is_empty() {
        out.extend_from_slice(code.as_bytes());
        out.extend_from_slice(b" \r\n");
    }
    for (i, line) in lines.iter().enumerate() {
        let line = line.as_ref();
        if i == last {
            out.extend_from_slice(code.as_bytes());
            out.push(b' ');
        } else if i == 0 {
            out.extend_from_slice(code.as_bytes());
            out.push(b'-');
        } else if line.first().is_some_and(u8::is_ascii_digit) {
            // A line in the middle that starts with a digit could be taken for the last.
            out.push(b' ');
        }
        for &byte in line {
            match byte {
                0..=8 | 10..=31 | 127 => out.push(b'?'),
                255 => out.extend_from_slice(&[255, 255]),
                byte => out.push(byte),
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a server's reply to `out` as [`ReplyReader::verbatim`] has read it. Only what would end a line early
/// becomes `?`; 0xFF is doubled (RFC 854).
pub fn encode_verbatim(reply: &PeerReply, out: &mut Vec<u8>) {
    let last = reply.lines.len().saturating_sub(1);
    let code = format!("{:03}", reply.code);
    for (i, line) in reply.lines.iter().enumerate() {
        if i == 0 || i == last {
            out.extend_from_slice(code.as_bytes());
            out.push(if i == last { b' ' } else { b'-' });
        }
        for &byte in line {
            match byte {
                0 | b'\r' | b'\n' => out.push(b'?'),
                255 => out.extend_from_slice(&[255, 255]),
                byte => out.push(byte),
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Assembles lines into replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    partial: Option<PeerReply>,
    /// Lines between the first and the last keep a code at their start.
    verbatim: bool,
    /// Lines that were not kept.
    skipped: usize,
}

/// An invalid reply, after which the connection is out of sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The first line has no code from 100 to 699 before a space or `-` (RFC 959 section 4.2).
    #[error("a line that is not an FTP reply")]
    NotAReply,
    /// The reply has more than [`MAX_LINES_READ`] lines.
    #[error("a reply of more than {MAX_LINES_READ} lines")]
    TooManyLines,
}

impl ReplyReader {
    /// Keeps the lines between the first and the last as they are, also where they repeat the code.
    pub fn verbatim() -> Self {
        Self { verbatim: true, ..Self::default() }
    }

    /// Whether no reply is incomplete.
    pub fn is_empty(&self) -> bool {
        self.partial.is_none()
    }

    /// Adds a line; returns the reply if this was its last.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<PeerReply>, ReplyError> {
        let head = code_of(line);
        let Some(partial) = &mut self.partial else {
            let (code, more) = head.ok_or(ReplyError::NotAReply)?;
            let reply = PeerReply { code, lines: vec![text_of(line)] };
            if more {
                self.partial = Some(reply);
                return Ok(None);
            }
            return Ok(Some(reply));
        };
        let is_last = matches!(head, Some((code, false)) if code == partial.code);
        if partial.lines.len() >= MAX_LINES_KEPT - usize::from(!is_last) {
            self.skipped += 1;
            return if self.skipped + MAX_LINES_KEPT > MAX_LINES_READ {
                Err(ReplyError::TooManyLines)
            } else {
                Ok(None)
            };
        }
        match head {
            Some((code, false)) if code == partial.code => {
                partial.lines.push(text_of(line));
                self.skipped = 0;
                Ok(self.partial.take())
            }
            // Some servers repeat the code on every line.
            Some((code, true)) if code == partial.code && !self.verbatim => {
                partial.lines.push(text_of(line));
                Ok(None)
            }
            _ => {
                partial.lines.push(line.to_vec());
                Ok(None)
            }
        }
    }
}

/// The code, and whether more lines follow.
fn code_of(line: &[u8]) -> Option<(u16, bool)> {
    let digits = line.first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'1'..=b'6').contains(&digits[0]) {
        return None;
    }
    let code = digits.iter().fold(0, |code, d| code * 10 + u16::from(d - b'0'));
    match line.get(3) {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

fn text_of(line: &[u8]) -> Vec<u8> {
    line.get(4..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<PeerReply>, ReplyError> {
        let mut reader = ReplyReader::default();
        let mut last = Ok(None);
        for line in lines {
            last = reader.line(line.as_bytes());
        }
        last
    }

    fn reply(code: u16, lines: &[&str]) -> PeerReply {
        PeerReply { code, lines: lines.iter().map(|l| l.as_bytes().to_vec()).collect() }
    }

    #[test]
    fn single_and_multi_line_replies_are_read() {
        assert_eq!(read(&["220 hello"]), Ok(Some(reply(220, &["hello"]))));
        assert_eq!(read(&["230"]), Ok(Some(reply(230, &[""]))));
        assert_eq!(read(&["220-a", "220 b"]), Ok(Some(reply(220, &["a", "b"]))));
        assert_eq!(
            read(&["211-Features:", " MDTM", "213 no end", "211 End"]),
            Ok(Some(reply(211, &["Features:", " MDTM", "213 no end", "End"])))
        );
        assert_eq!(read(&["220-a", "220-b", "220 c"]), Ok(Some(reply(220, &["a", "b", "c"]))));
        assert_eq!(read(&["SSH-2.0-x"]), Err(ReplyError::NotAReply));
        assert_eq!(read(&["999 x"]), Err(ReplyError::NotAReply));
    }

    #[test]
    fn the_first_lines_and_the_last_of_a_long_reply_are_kept() {
        let mut lines = vec!["220-a"];
        lines.resize(MAX_LINES_KEPT + 10, "more");
        lines.push("220 z");
        let reply = read(&lines).unwrap().unwrap();
        assert_eq!(reply.lines.len(), MAX_LINES_KEPT);
        assert_eq!((&*reply.lines[0], &**reply.lines.last().unwrap()), (&b"a"[..], &b"z"[..]));
        lines.pop();
        lines.resize(MAX_LINES_READ + 1, "more");
        assert_eq!(read(&lines), Err(ReplyError::TooManyLines));
    }

    #[test]
    fn text_cannot_forge_a_reply() {
        let mut out = Vec::new();
        encode(257, &["\"/a\r\n230 b\" x"], &mut out);
        assert_eq!(out, b"257 \"/a??230 b\" x\r\n");
        out.clear();
        encode(211, &["Features:", " MDTM", "211 evil", "End"], &mut out);
        assert_eq!(out, b"211-Features:\r\n MDTM\r\n 211 evil\r\n211 End\r\n");
        out.clear();
        encode(200, &[b"\xff"], &mut out);
        assert_eq!(out, b"200 \xff\xff\r\n");
    }

    #[test]
    fn a_relayed_reply_keeps_its_bytes() {
        for reply in [
            "250-It is known to IBM as JOB01234\r\n250 Transfer completed successfully.\r\n",
            "211-a\r\n211-b\r\n 211 c\r\n213 no end\r\n3 files\r\n\tx\x1b\r\n211 end\r\n",
            "200 \r\n",
            "257 \"'USER.\"\"X\"\".'\" is the working directory\r\n",
        ] {
            let mut reader = ReplyReader::verbatim();
            let mut read = None;
            for line in reply.split_terminator("\r\n") {
                assert!(read.is_none());
                read = reader.line(line.as_bytes()).unwrap();
            }
            let mut out = Vec::new();
            encode_verbatim(&read.unwrap(), &mut out);
            assert_eq!(out, reply.as_bytes());
        }
    }

    #[test]
    fn a_relayed_reply_cannot_forge_another() {
        let mut out = Vec::new();
        encode_verbatim(&reply(250, &["a\r\n421 b\0"]), &mut out);
        assert_eq!(out, b"250 a??421 b?\r\n");
    }

    proptest::proptest! {
        #[test]
        fn an_encoded_reply_is_read_as_one(texts in proptest::collection::vec("[ -~]{0,40}", 1..6)) {
            let mut out = Vec::new();
            encode(250, &texts, &mut out);
            let mut reader = ReplyReader::default();
            let lines: Vec<_> = out.strip_suffix(b"\r\n").unwrap().split(|b| *b == b'\n').collect();
            for (i, line) in lines.iter().enumerate() {
                let reply = reader.line(line.strip_suffix(b"\r").unwrap_or(line)).unwrap();
                assert_eq!(reply.is_some(), i == lines.len() - 1);
            }
        }
    }
}
