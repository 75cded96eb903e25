//! What a client sends on the control connection, cut into packets at 0xFE.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::wire::ftp::command::{Command, is_sendable, parse};
use lockgate::wire::ftp::line::{LineBuffer, MAX_COMMAND_LINE};
use lockgate::wire::ftp::relayed::RelayedCommand;

fuzz_target!(|stream: &[u8]| {
    let mut buffer = LineBuffer::new(MAX_COMMAND_LINE);
    for packet in stream.split(|b| *b == 0xFE) {
        buffer.extend(packet);
        while let Some(line) = buffer.next_line() {
            let Ok(line) = line else { continue };
            assert!(line.len() <= MAX_COMMAND_LINE && !line.contains(&b'\n'));
            if let Ok(Command::Retr(name) | Command::Dele(name) | Command::Rnto(name)) =
                parse(&line)
            {
                assert!(!name.is_empty() && is_sendable(&name));
            }
            if let Ok(Some(relayed)) = RelayedCommand::parse(&line) {
                assert!(relayed.argument().is_none_or(is_sendable) && !relayed.names().is_empty());
            }
        }
    }
});
