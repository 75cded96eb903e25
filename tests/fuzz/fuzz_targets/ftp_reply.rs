//! What a server sends on the control connection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::wire::ftp::line::LineBuffer;
use lockgate::wire::ftp::reply::{MAX_LINE, MAX_LINES_KEPT, ReplyReader, encode};

fuzz_target!(|stream: &[u8]| {
    let (mut buffer, mut reader) = (LineBuffer::new(MAX_LINE), ReplyReader::default());
    buffer.extend(stream);
    while let Some(line) = buffer.next_line() {
        let Ok(Some(reply)) = line.map(|line| reader.line(&line).unwrap_or(None)) else { continue };
        assert!(reply.lines.len() <= MAX_LINES_KEPT);
        let mut text = Vec::new();
        encode(reply.code, &reply.lines, &mut text);
        assert!(text.ends_with(b"\r\n"));
        assert_eq!(text.iter().filter(|b| **b == b'\n').count(), reply.lines.len());
    }
});
