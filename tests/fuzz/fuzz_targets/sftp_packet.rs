//! A client's bytes on an SFTP channel. The first byte selects the size of the chunks.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use lockgate::wire::sftp::{MAX_PACKET, PacketReader, Request, decode_init};

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let (mut reader, mut pushed, mut taken) = (PacketReader::new(MAX_PACKET), 0, 0);
    for chunk in stream.chunks(usize::from(*size).max(1)) {
        reader.push(Bytes::copy_from_slice(chunk));
        pushed += chunk.len();
        loop {
            match reader.next() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(packet)) => {
                    assert!(!packet.is_empty() && packet.len() <= MAX_PACKET);
                    taken += 4 + packet.len();
                    comes_back(packet);
                }
            }
        }
        assert_eq!(reader.held(), pushed - taken);
    }
});

/// A decoded request is the same after encoding and decoding it again.
fn comes_back(packet: Bytes) {
    let _ = decode_init(packet.clone());
    let Ok(request) = Request::decode(packet) else { return };
    let mut out = BytesMut::new();
    request.encode(&mut out);
    let mut reader = PacketReader::new(usize::MAX);
    reader.push(out.freeze());
    let again = reader.next().expect("a packet").expect("a whole one");
    assert_eq!((Request::decode(again), reader.held()), (Ok(request), 0));
}
