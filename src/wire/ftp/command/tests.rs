//! Tests of the parser of commands.

use super::*;

#[test]
fn the_argument_is_everything_after_one_space() {
    assert_eq!(parse(b"RETR  a b "), Ok(C::Retr(b" a b ".into())));
    assert_eq!(parse(b"retr \xe9"), Ok(C::Retr(b"\xe9".into())));
    assert_eq!(parse(b"XPWD"), Ok(C::Pwd));
    assert_eq!(parse(b"RETR"), Err(E::Argument("a name is missing")));
    assert_eq!(parse(b""), Err(E::NotACommand));
    assert_eq!(parse(b"\x16\x03\x01"), Err(E::NotACommand));
    assert_eq!(parse(b"FOO x"), Err(E::Unknown("FOO".into())));
}

#[test]
fn every_verb_with_a_name_refuses_bytes_that_could_start_another_command() {
    for verb in [
        "USER",
        "CWD",
        "XCWD",
        "RETR",
        "STOR",
        "APPE",
        "LIST",
        "NLST",
        "MLSD",
        "MLST",
        "STAT",
        "SIZE",
        "MDTM",
        "MFMT 20260101000000",
        "RNFR",
        "RNTO",
        "DELE",
        "MKD",
        "XMKD",
        "RMD",
        "XRMD",
        "SITE CHMOD 644",
        "MDTM 20260101000000",
        "SITE UTIME 20260101000000",
    ] {
        for bad in [&b"a\rDELE b"[..], b"a\nDELE b", b"a\0b", b"a\xffb"] {
            let line = [verb.as_bytes(), b" ", bad].concat();
            assert_eq!(parse(&line), Err(E::Name), "{verb} {}", bad.escape_ascii());
        }
    }
}

#[test]
fn ls_options_are_removed_from_listings() {
    for (line, expected) in [
        (&b"LIST"[..], None),
        (b"LIST -a", None),
        (b"LIST -la", None),
        (b"LIST -a -l sub dir", Some(&b"sub dir"[..])),
        (b"LIST ./-a", Some(b"./-a")),
        (b"LIST -a.txt", Some(b"-a.txt")),
    ] {
        assert_eq!(parse(line), Ok(C::List(expected.map(<[u8]>::to_vec))));
    }
}

#[test]
fn parameters_of_commands_are_parsed() {
    assert_eq!(parse(b"TYPE a n"), Ok(C::Type(Some(Representation::Ascii))));
    assert_eq!(parse(b"TYPE L 8"), Ok(C::Type(Some(Representation::Image))));
    assert_eq!(parse(b"TYPE E"), Ok(C::Type(None)));
    assert_eq!(parse(b"REST 18446744073709551615"), Ok(C::Rest(u64::MAX)));
    assert!(parse(b"REST 18446744073709551616").is_err());
    assert!(parse(b"REST -1").is_err());
    assert_eq!(parse(b"EPSV 3"), Ok(C::Epsv(Epsv::Other)));
    assert_eq!(parse(b"EPRT |3|x|1|"), Err(E::Protocol));
    assert_eq!(parse(b"SITE chmod 0644 a b"), Ok(C::Chmod { mode: 0o644, path: b"a b".into() }));
    assert!(parse(b"SITE CHMOD 99999 a").is_err());
    assert_eq!(parse(b"SITE EXEC ls"), Err(E::UnknownSite("EXEC".into())));
    assert_eq!(
        parse(b"MFMT 20260102030405 x y"),
        Ok(C::Mfmt { seconds: 1_767_323_045, path: b"x y".into() })
    );
}

#[test]
fn a_time_is_parsed_before_and_after_a_name() {
    let set = |path: &[u8]| C::Utime { seconds: 1_767_323_045, path: path.into() };
    for (line, expected) in [
        (&b"SITE UTIME 20260102030405 x y"[..], set(b"x y")),
        (b"SITE UTIME x y 20200101000000 20260102030405 20210101000000 UTC", set(b"x y")),
        (b"site utime x 20200101000000 20260102030405 20210101000000 utc", set(b"x")),
        (b"SITE UTIME 202601020304 x", C::Utime { seconds: 1_767_323_040, path: b"x".into() }),
        (b"MDTM x y", C::Mdtm(b"x y".into())),
        (b"MDTM 20260102030405", C::Mdtm(b"20260102030405".into())),
        (b"MDTM 20260102030405 ", C::Mdtm(b"20260102030405 ".into())),
        (b"MDTM 20261302030405 x", C::Mdtm(b"20261302030405 x".into())),
        (
            b"MDTM 20260102030405.5 x y",
            C::MdtmWithTime {
                whole: b"20260102030405.5 x y".into(),
                seconds: 1_767_323_045,
                path: b"x y".into(),
            },
        ),
    ] {
        assert_eq!(parse(line), Ok(expected), "{}", line.escape_ascii());
    }
    for line in [
        &b"SITE UTIME"[..],
        b"SITE UTIME x",
        b"SITE UTIME 20260102030405",
        b"SITE UTIME x 20260102030405 UTC",
        b"SITE UTIME 20261302030405 x",
    ] {
        assert!(matches!(parse(line), Err(E::Argument(_))), "{}", line.escape_ascii());
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_lines_do_not_panic(line: Vec<u8>) {
        let _ = parse(&line);
    }
}
