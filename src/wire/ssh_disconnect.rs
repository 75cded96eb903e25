//! The refusal of an SSH client before the key exchange: an identification string and SSH_MSG_DISCONNECT
//! (RFC 4253 sections 4.2, 6 and 11.1).

const DISCONNECT: u8 = 1;
/// SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT.
const NOT_ALLOWED: u32 = 1;
/// Before keys are exchanged, packets are multiples of this, in bytes.
const BLOCK_SIZE: usize = 8;
const PADDING_MIN: usize = 4;

/// The bytes for a client that may not connect, in clear. `identification`: without the line's end.
pub fn disconnection(identification: &str, reason: &str) -> Vec<u8> {
    let mut payload = vec![DISCONNECT];
    payload.extend(NOT_ALLOWED.to_be_bytes());
    for text in [reason, "en"] {
        payload.extend((text.len() as u32).to_be_bytes());
        payload.extend(text.as_bytes());
    }
    // The length's four bytes and the padding length's one are part of the blocks.
    let unpadded = 4 + 1 + payload.len();
    let padding = PADDING_MIN + (BLOCK_SIZE - (unpadded + PADDING_MIN) % BLOCK_SIZE) % BLOCK_SIZE;
    let mut bytes = format!("{identification}\r\n").into_bytes();
    bytes.extend(((1 + payload.len() + padding) as u32).to_be_bytes());
    bytes.push(padding as u8);
    bytes.extend(payload);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_whole_blocks() {
        for length in 0..20 {
            let reason = "x".repeat(length);
            let bytes = disconnection("SSH-2.0-x", &reason);
            let packet = bytes.strip_prefix(b"SSH-2.0-x\r\n").unwrap();
            assert_eq!(packet.len() % BLOCK_SIZE, 0);
            let (size, rest) = packet.split_at(4);
            assert_eq!(u32::from_be_bytes(size.try_into().unwrap()) as usize, rest.len());
            let padding = usize::from(rest[0]);
            assert!((PADDING_MIN..PADDING_MIN + BLOCK_SIZE).contains(&padding));
            let payload = &rest[1..rest.len() - padding];
            assert_eq!(payload[..5], [1, 0, 0, 0, 1]);
            assert_eq!(payload[9..9 + length], *reason.as_bytes());
            assert_eq!(payload[9 + length..], [0, 0, 0, 2, b'e', b'n']);
        }
    }
}
