//! Packets as OpenSSH 9 sends them.

use super::*;

fn attributes() -> Attributes {
    Attributes {
        size: Some(4096),
        owner: Some((0, 0)),
        permissions: Some(0o40755),
        times: Some((1_767_323_045, 1_767_323_045)),
        extended: vec![],
    }
}

#[test]
fn init_and_version_are_decoded_and_encoded() {
    assert_eq!(body(encode_init), "\x01\0\0\0\x03");
    assert_eq!(decode_init(held(b"\x01\0\0\0\x03")), Ok(3));
    assert_eq!(decode_init(held(b"\x01\0\0\0\x06\0\0\0\x01a\0\0\0\x01b")), Ok(6));
    assert_eq!(decode_init(held(b"\x01\0\0\0")), Err(DecodeError::Broken { id: None }));
    let stat = DecodeError::UnknownType { kind: 17, id: 1 };
    assert_eq!(decode_init(held(b"\x11\0\0\0\x01\0\0\0\0")), Err(stat));

    let hello = b"\x02\0\0\0\x03\0\0\0\x18posix-rename@openssh.com\0\0\0\x011\0\0\0\x13statvfs@openssh.com\0\0\0\x012\0\0\0\x14fstatvfs@openssh.com\0\0\0\x012\0\0\0\x14hardlink@openssh.com\0\0\0\x011\0\0\0\x11fsync@openssh.com\0\0\0\x011\0\0\0\x14lsetstat@openssh.com\0\0\0\x011\0\0\0\x12limits@openssh.com\0\0\0\x011\0\0\0\x17expand-path@openssh.com\0\0\0\x011\0\0\0\x09copy-data\0\0\0\x011\0\0\0\x0ehome-directory\0\0\0\x011\0\0\0\x1eusers-groups-by-id@openssh.com\0\0\0\x011";
    let version = Version::decode(held(hello)).unwrap();
    assert_eq!(version.version, VERSION);
    for (name, value) in extension::ANNOUNCED {
        assert!(version.offers(name.as_bytes(), value.as_bytes()), "{name}");
        assert!(!version.offers(name.as_bytes(), b"9"));
    }
    assert_eq!(body(|out| version.encode(out)), &hello[..]);
    let cut = held(&hello[..hello.len() - 1]);
    assert_eq!(Version::decode(cut), Err(DecodeError::Broken { id: None }));
}

#[test]
fn requests_are_decoded_and_encoded() {
    let name = || held(b"a\xff");
    for (packet, expected) in [
        (
            &b"\x03\0\0\0\x05\0\0\0\x02a\xff\0\0\0\x1a\0\0\0\x04\0\0\x81\xa4"[..],
            RequestBody::Open {
                path: name(),
                flags: OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE,
                attributes: Attributes { permissions: Some(0o100_644), ..Default::default() },
            },
        ),
        (
            b"\x06\0\0\0\x05\0\0\0\x02a\xff\0\0\0\x01\0\0\0\x02\0\0\0\x03abc",
            RequestBody::Write { handle: name(), offset: (1 << 32) + 2, data: held(b"abc") },
        ),
        (
            b"\x14\0\0\0\x05\0\0\0\x06target\0\0\0\x02a\xff",
            RequestBody::Symlink { target: held(b"target"), link: name() },
        ),
        (
            b"\xc8\0\0\0\x05\0\0\0\x18posix-rename@openssh.com\0\0\0\x02a\xff\0\0\0\x01b",
            RequestBody::Extended(Extension::PosixRename { from: name(), to: held(b"b") }),
        ),
        (
            b"\xc8\0\0\0\x05\0\0\0\x1eusers-groups-by-id@openssh.com\0\0\0\x08\0\0\0\0\0\0\x03\xe8\0\0\0\0",
            RequestBody::Extended(Extension::UsersGroupsById {
                users: vec![0, 1000],
                groups: vec![],
            }),
        ),
        (
            b"\xc8\0\0\0\x05\0\0\0\x0ehome-directory\0\0\0\0",
            RequestBody::Extended(Extension::Unknown {
                name: held(b"home-directory"),
                data: held(b"\0\0\0\0"),
            }),
        ),
    ] {
        let request = Request::decode(held(packet)).unwrap();
        assert_eq!(request, Request { id: 5, body: expected });
        assert_eq!(body(|out| request.encode(out)), packet);
    }
}

#[test]
fn responses_are_decoded_and_encoded() {
    for (packet, expected) in [
        (
            &b"\x65\0\0\0\x03\0\0\0\x02\0\0\0\x0cNo such file\0\0\0\0"[..],
            ResponseBody::Status {
                code: StatusCode::NO_SUCH_FILE,
                message: held(b"No such file"),
            },
        ),
        (b"\x66\0\0\0\x03\0\0\0\x04\0\0\0\0", ResponseBody::Handle(held(&[0; 4]))),
        (b"\x67\0\0\0\x03\0\0\0\x03abc", ResponseBody::Data(held(b"abc"))),
        (
            b"\x68\0\0\0\x03\0\0\0\x01\0\0\0\x02/d\0\0\0\x02/d\0\0\0\0",
            ResponseBody::Names(vec![Name {
                name: held(b"/d"),
                longname: held(b"/d"),
                attributes: Attributes::default(),
            }]),
        ),
        (
            b"\x69\0\0\0\x03\0\0\0\x0f\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0A\xed\x69\x57\x35\xa5\x69\x57\x35\xa5",
            ResponseBody::Attributes(attributes()),
        ),
    ] {
        let response = Response::decode(held(packet)).unwrap();
        assert_eq!(response, Response { id: 3, body: expected });
        assert_eq!(body(|out| response.encode(out)), packet);
    }
}

#[test]
fn a_status_may_end_after_its_code() {
    let status = ResponseBody::Status { code: StatusCode::EOF, message: Bytes::new() };
    for packet in [&b"\x65\0\0\0\x03\0\0\0\x01"[..], b"\x65\0\0\0\x03\0\0\0\x01\0\0\0\0"] {
        assert_eq!(Response::decode(held(packet)), Ok(Response { id: 3, body: status.clone() }));
    }
    let cut = held(b"\x65\0\0\0\x03\0\0\0\x01\0\0\0\x05ab");
    assert_eq!(Response::decode(cut), Err(DecodeError::Broken { id: Some(3) }));
}

#[test]
fn extended_replies_are_decoded_and_encoded() {
    let limits = b"\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\xfc\0\0\0\0\0\0\x03\xfc\0\0\0\0\0\0\0\x4e\x1b";
    let expected =
        Limits { packet: 256 * 1024, read: 255 * 1024, write: 255 * 1024, open_handles: 19995 };
    assert_eq!(Limits::decode(held(limits)), Some(expected));
    assert_eq!(expected.encode(), &limits[..]);
    assert_eq!(Limits::decode(held(&limits[1..])), None);

    let names = b"\0\0\0\x0c\0\0\0\x04root\0\0\0\0\0\0\0\x08\0\0\0\x04root";
    let expected =
        UsersGroups { users: vec![held(b"root"), Bytes::new()], groups: vec![held(b"root")] };
    assert_eq!(UsersGroups::decode(held(names)), Some(expected.clone()));
    assert_eq!(expected.encode(), &names[..]);

    let file_system = b"\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x10\0\0\0\0\0\x03\xef\xe3\x9d\0\0\0\0\x03\x7f\x12\xf1\0\0\0\0\0\xfa\xab\xf4\0\0\0\0\x01\0\0\0\0\0\0\0\0\xf9\x10L\0\0\0\0\0\xf9\x10M\xe4\x80\x93\x88[\x0b\xdc\x0a\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\xff";
    let expected = FileSystem {
        f_bsize: 4096,
        f_frsize: 4096,
        f_blocks: 66_053_021,
        f_bfree: 58_659_569,
        f_bavail: 16_428_020,
        f_files: 16_777_216,
        f_ffree: 16_322_636,
        f_favail: 16_322_637,
        f_fsid: 0xe480_9388_5b0b_dc0a,
        f_flag: 2,
        f_namemax: 255,
    };
    assert_eq!(FileSystem::decode(held(file_system)), Some(expected));
    assert_eq!(expected.encode(), &file_system[..]);
}
