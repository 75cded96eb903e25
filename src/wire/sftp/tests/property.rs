//! Encoded packets are decoded back; decoding never panics; chunks make no difference.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn string() -> BoxedStrategy<Bytes> {
    vec(any::<u8>(), 0..24).prop_map(Bytes::from).boxed()
}

fn attributes() -> BoxedStrategy<Attributes> {
    let fields = (
        option::of(any::<u64>()),
        option::of(any::<(u32, u32)>()),
        option::of(any::<u32>()),
        option::of(any::<(u32, u32)>()),
        vec((string(), string()), 0..3),
    );
    fields
        .prop_map(|(size, owner, permissions, times, extended)| Attributes {
            size,
            owner,
            permissions,
            times,
            extended,
        })
        .boxed()
}

fn extension() -> BoxedStrategy<Extension> {
    use Extension as X;
    prop_oneof![
        (string(), string()).prop_map(|(from, to)| X::PosixRename { from, to }),
        string().prop_map(|path| X::StatVfs { path }),
        string().prop_map(|handle| X::FileStatVfs { handle }),
        (string(), string()).prop_map(|(from, to)| X::HardLink { from, to }),
        string().prop_map(|handle| X::FileSync { handle }),
        (string(), attributes()).prop_map(|(path, attributes)| X::LinkSetStat { path, attributes }),
        Just(X::Limits),
        string().prop_map(|path| X::ExpandPath { path }),
        (string(), any::<(u64, u64, u64)>(), string()).prop_map(
            |(from_handle, (from_offset, length, to_offset), to_handle)| X::CopyData {
                from_handle,
                from_offset,
                length,
                to_handle,
                to_offset
            }
        ),
        any::<(Vec<u32>, Vec<u32>)>()
            .prop_map(|(users, groups)| X::UsersGroupsById { users, groups }),
        (string(), string()).prop_map(|(name, data)| X::Unknown { name, data }),
    ]
    .boxed()
}

fn request() -> impl Strategy<Value = Request> {
    use RequestBody as R;
    let body = prop_oneof![
        (string(), any::<u32>(), attributes()).prop_map(|(path, flags, attributes)| R::Open {
            path,
            flags: OpenFlags(flags),
            attributes
        }),
        string().prop_map(|handle| R::Close { handle }),
        (string(), any::<(u64, u32)>()).prop_map(|(handle, (offset, length))| R::Read {
            handle,
            offset,
            length
        }),
        (string(), any::<u64>(), string()).prop_map(|(handle, offset, data)| R::Write {
            handle,
            offset,
            data
        }),
        string().prop_map(|path| R::LinkStat { path }),
        string().prop_map(|handle| R::FileStat { handle }),
        (string(), attributes()).prop_map(|(path, attributes)| R::SetStat { path, attributes }),
        (string(), attributes())
            .prop_map(|(handle, attributes)| R::FileSetStat { handle, attributes }),
        string().prop_map(|path| R::OpenDir { path }),
        string().prop_map(|handle| R::ReadDir { handle }),
        string().prop_map(|path| R::Remove { path }),
        (string(), attributes()).prop_map(|(path, attributes)| R::MakeDir { path, attributes }),
        string().prop_map(|path| R::RemoveDir { path }),
        string().prop_map(|path| R::RealPath { path }),
        string().prop_map(|path| R::Stat { path }),
        (string(), string()).prop_map(|(from, to)| R::Rename { from, to }),
        string().prop_map(|path| R::ReadLink { path }),
        (string(), string()).prop_map(|(target, link)| R::Symlink { target, link }),
        extension().prop_map(R::Extended),
    ];
    (any::<u32>(), body).prop_map(|(id, body)| Request { id, body })
}

fn name() -> impl Strategy<Value = Name> {
    (string(), string(), attributes()).prop_map(|(name, longname, attributes)| Name {
        name,
        longname,
        attributes,
    })
}

fn response() -> impl Strategy<Value = Response> {
    use ResponseBody as R;
    let body = prop_oneof![
        (any::<u32>(), string())
            .prop_map(|(code, message)| R::Status { code: StatusCode(code), message }),
        string().prop_map(R::Handle),
        string().prop_map(R::Data),
        vec(name(), 0..5).prop_map(R::Names),
        attributes().prop_map(R::Attributes),
        string().prop_map(R::Extended),
    ];
    (any::<u32>(), body).prop_map(|(id, body)| Response { id, body })
}

proptest! {
    #[test]
    fn encoded_requests_are_decoded_back(request in request()) {
        let packet = body(|out| request.encode(out));
        prop_assert_eq!(Request::decode(packet), Ok(request));
    }

    #[test]
    fn encoded_responses_are_decoded_back(response in response()) {
        let packet = body(|out| response.encode(out));
        prop_assert_eq!(Response::decode(packet), Ok(response));
    }

    #[test]
    fn a_header_and_its_data_are_the_encoded_packet(id: u32, offset: u64, handle in string(), data in string()) {
        let (mut parts, mut whole) = (BytesMut::new(), BytesMut::new());
        encode_write_header(id, &handle, offset, data.len(), &mut parts);
        parts.extend_from_slice(&data);
        encode_data_header(id, data.len(), &mut parts);
        parts.extend_from_slice(&data);
        let write = RequestBody::Write { handle, offset, data: data.clone() };
        Request { id, body: write }.encode(&mut whole);
        Response { id, body: ResponseBody::Data(data) }.encode(&mut whole);
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn a_name_has_its_encoded_len(name in name()) {
        let length = name.encoded_len();
        let names = |names| body(|out| Response { id: 1, body: ResponseBody::Names(names) }.encode(out));
        prop_assert_eq!(names(vec![name]).len(), names(vec![]).len() + length);
    }

    #[test]
    fn a_truncated_request_is_an_error_with_its_id(request in request(), cut: prop::sample::Index) {
        let packet = body(|out| request.encode(out));
        let cut = cut.index(packet.len());
        match Request::decode(packet.slice(..cut)) {
            Err(DecodeError::Broken { id }) => prop_assert_eq!(id, (cut >= 5).then_some(request.id)),
            // The data of an unknown extension may have any length.
            Ok(Request { body: RequestBody::Extended(Extension::Unknown { .. }), .. }) => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn arbitrary_packets_do_not_panic(kind: u8, head in prop::bool::ANY, mut packet: Vec<u8>) {
        if head {
            packet.splice(..0, [kind % 24, 0, 0, 0, 1, 0, 0, 0, 1]);
        }
        let packet = Bytes::from(packet);
        let _ = (Request::decode(packet.clone()), Response::decode(packet.clone()));
        let _ = (Version::decode(packet.clone()), decode_init(packet.clone()));
        let _ = (FileSystem::decode(packet.clone()), Limits::decode(packet.clone()));
        let _ = UsersGroups::decode(packet);
    }

    #[test]
    fn chunks_make_no_difference(
        packets in vec(vec(any::<u8>(), 1..40), 0..8),
        chunks in vec(0usize..30, 1..40),
        eager: bool,
    ) {
        let mut stream = BytesMut::new();
        for packet in &packets {
            stream.extend_from_slice(&(packet.len() as u32).to_be_bytes());
            stream.extend_from_slice(packet);
        }
        let (mut reader, mut found) = (PacketReader::new(40), Vec::new());
        let mut rest = stream.freeze();
        let mut sizes = chunks.into_iter();
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(usize::MAX).min(rest.len());
            reader.push(rest.split_to(size));
            while let Some(packet) = eager.then(|| reader.next().unwrap()).flatten() {
                found.push(packet);
            }
        }
        while let Some(packet) = reader.next().unwrap() {
            found.push(packet);
        }
        prop_assert_eq!(reader.held(), 0);
        prop_assert_eq!(found, packets);
    }
}
