//! Tests of the SFTP codec.

mod bytes;
mod property;

use ::bytes::{Bytes, BytesMut};

use super::*;

fn held(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

/// What `encode` wrote, without its length, which is checked.
fn body(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    // Not at the front: a length is written where the packet begins.
    let mut out = BytesMut::from(&b"before"[..]);
    encode(&mut out);
    let mut reader = PacketReader::new(MAX_PACKET);
    reader.push(out.freeze().slice(6..));
    let packet = reader.next().unwrap().unwrap();
    assert_eq!(reader.held(), 0);
    packet
}

#[test]
fn a_packet_in_one_chunk_is_not_copied() {
    let chunk = held(b"\0\0\0\x02ab\0\0\0\x01c\0\0");
    let at = chunk.as_ptr();
    let mut reader = PacketReader::new(2);
    reader.push(chunk);
    let first = reader.next().unwrap().unwrap();
    assert_eq!(first, "ab");
    assert_eq!(first.as_ptr(), at.wrapping_add(4));
    assert_eq!(reader.next(), Ok(Some(held(b"c"))));
    assert_eq!(reader.next(), Ok(None));
    assert_eq!(reader.held(), 2);
    // The length in one chunk, the packet in the next.
    reader.push(held(b"\0\x02"));
    assert_eq!(reader.next(), Ok(None));
    let chunk = held(b"de");
    let at = chunk.as_ptr();
    reader.push(chunk);
    assert_eq!(reader.next().unwrap().unwrap().as_ptr(), at);
    assert_eq!(reader.held(), 0);
}

#[test]
fn an_invalid_length_is_a_permanent_error() {
    for (stream, error, text) in [
        (&b"\0\0\0\0\0\0\0\x01a"[..], PacketError::Empty, "an empty SFTP packet"),
        (
            b"\0\0\0\x03abc",
            PacketError::TooLong { length: 3, max: 2 },
            "an SFTP packet of 3 bytes; the limit is 2",
        ),
        (
            // An HTTP client, or a login script that prints.
            b"GET ",
            PacketError::TooLong { length: 0x4745_5420, max: 2 },
            "an SFTP packet of 1195725856 bytes; the limit is 2",
        ),
    ] {
        let mut reader = PacketReader::new(2);
        reader.push(Bytes::copy_from_slice(stream));
        assert_eq!(reader.next(), Err(error));
        assert_eq!(reader.next(), Err(error));
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn malformed_and_unknown_requests_are_different_errors() {
    const BROKEN: DecodeError = DecodeError::Broken { id: None };
    let broken = DecodeError::Broken { id: Some(7) };
    for (packet, error) in [
        (&b""[..], BROKEN),
        (b"\x03", BROKEN),
        (b"\x63\0\0\0", BROKEN),
        (b"\x01\0\0\0\x03", BROKEN),
        (b"\x63\0\0\0\x07", DecodeError::UnknownType { kind: 99, id: 7 }),
        (b"\x15\0\0\0\x07", DecodeError::UnknownType { kind: 21, id: 7 }),
        (b"\x02\0\0\0\x07", DecodeError::UnknownType { kind: 2, id: 7 }),
        (b"\x04\0\0\0\x07", broken),
        (b"\x04\0\0\0\x07\0\0\0\x02a", broken),
        (b"\x04\0\0\0\x07\xff\xff\xff\xffa", broken),
        (b"\x05\0\0\0\x07\0\0\0\x01a\0\0\0\0\0\0\0\0\0\0\0", broken),
        // Attributes announce more extended pairs than there is room for.
        (b"\x0e\0\0\0\x07\0\0\0\x01a\x80\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0", broken),
        (b"\xc8\0\0\0\x07\0\0\0\x11fsync@openssh.com", broken),
    ] {
        let packet = Bytes::copy_from_slice(packet);
        assert_eq!(Request::decode(packet.clone()), Err(error), "{}", packet.escape_ascii());
    }
}

#[test]
fn bytes_after_a_packets_last_field_are_ignored() {
    let stat = Request { id: 1, body: RequestBody::Stat { path: held(b"a") } };
    assert_eq!(Request::decode(held(b"\x11\0\0\0\x01\0\0\0\x01a trailing")), Ok(stat));
    let handle = Response { id: 1, body: ResponseBody::Handle(held(b"a")) };
    assert_eq!(Response::decode(held(b"\x66\0\0\0\x01\0\0\0\x01a trailing")), Ok(handle));
}

#[test]
fn a_count_of_names_beyond_the_packet_is_an_error() {
    let broken = Err(DecodeError::Broken { id: Some(1) });
    assert_eq!(Response::decode(held(b"\x68\0\0\0\x01\xff\xff\xff\xff")), broken);
    let two_announced = b"\x68\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(Response::decode(held(two_announced)), broken);
}

#[test]
fn ids_and_extensions_are_bounded() {
    let requested = |count: usize| {
        let body = RequestBody::Extended(Extension::UsersGroupsById {
            users: vec![1; count],
            groups: Vec::new(),
        });
        Request::decode(self::body(|out| Request { id: 1, body }.encode(out)))
    };
    assert!(requested(extension::MAX_IDS_PER_REQUEST).is_ok());
    assert_eq!(
        requested(extension::MAX_IDS_PER_REQUEST + 1),
        Err(DecodeError::Broken { id: Some(1) })
    );
    let uneven = b"\xc8\0\0\0\x01\0\0\0\x1eusers-groups-by-id@openssh.com\0\0\0\x01a\0\0\0\0";
    assert_eq!(Request::decode(held(uneven)), Err(DecodeError::Broken { id: Some(1) }));

    let announced = |count: usize| {
        let extensions = vec![(Bytes::new(), Bytes::new()); count];
        let version = Version { version: VERSION, extensions };
        Version::decode(self::body(|out| version.encode(out)))
    };
    assert!(announced(version::MAX_EXTENSIONS).is_ok());
    assert_eq!(announced(version::MAX_EXTENSIONS + 1), Err(DecodeError::Broken { id: None }));

    let named = |count: usize| {
        UsersGroups::decode(
            UsersGroups { users: vec![Bytes::new(); count], groups: vec![] }.encode(),
        )
    };
    assert!(named(extension::MAX_IDS_PER_REQUEST).is_some());
    assert_eq!(named(extension::MAX_IDS_PER_REQUEST + 1), None);
}

#[test]
fn flags_are_combined_and_codes_have_names() {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    assert!(flags.contains(OpenFlags::WRITE) && flags.contains(flags));
    assert!(!flags.contains(OpenFlags::READ) && !flags.contains(flags | OpenFlags::EXCLUSIVE));
    assert_eq!(StatusCode::NO_SUCH_FILE.to_string(), "NO_SUCH_FILE (2)");
    assert_eq!(StatusCode(31).to_string(), "unknown status (31)");
}
