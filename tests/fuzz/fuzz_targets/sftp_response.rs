//! One packet of an SFTP server, without its length.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use lockgate::wire::sftp::{FileSystem, Limits, Response, ResponseBody, UsersGroups, Version};

fuzz_target!(|packet: &[u8]| {
    let packet = Bytes::copy_from_slice(packet);
    if let Ok(version) = Version::decode(packet.clone()) {
        let again = encoded(|out| version.encode(out));
        assert_eq!(again, packet);
    }
    let Ok(response) = Response::decode(packet) else { return };
    let again = encoded(|out| response.encode(out));
    match &response.body {
        ResponseBody::Names(names) => {
            let length: usize = names.iter().map(|name| name.encoded_len()).sum();
            assert_eq!(again.len(), 9 + length);
        }
        ResponseBody::Extended(data) => extended(data),
        _ => {}
    }
    assert_eq!(Response::decode(again), Ok(response));
});

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    let (length, packet) = out.split_first_chunk::<4>().expect("a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, packet.len());
    out.freeze().slice(4..)
}

fn extended(data: &Bytes) {
    if let Some(limits) = Limits::decode(data.clone()) {
        assert!(data.starts_with(&limits.encode()));
    }
    if let Some(file_system) = FileSystem::decode(data.clone()) {
        assert!(data.starts_with(&file_system.encode()));
    }
    if let Some(names) = UsersGroups::decode(data.clone()) {
        assert!(data.starts_with(&names.encode()));
    }
}
