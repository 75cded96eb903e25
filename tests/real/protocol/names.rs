//! Names are bytes; no name is parsed as a second command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Fixture, Plan, check_in_sync};
use crate::support::raw::Raw;

const VERBS: [&str; 24] = [
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
    "MFMT 20260102030405",
    "RNFR",
    "RNTO",
    "DELE",
    "MKD",
    "XMKD",
    "RMD",
    "XRMD",
    "SITE CHMOD 600",
    "LIST -la",
    "NLST -a",
    "USER",
];

/// Bytes that could end a line or start a Telnet command, in the middle and at both ends of a name.
const BAD: [&[u8]; 9] = [
    b"a\rb",
    b"a\rDELE b",
    b"\ra",
    b"a\0b",
    b"a\0",
    b"a\xff\xffb",
    b"a\xffb",
    b"a\xff\xf4b",
    b"a\xff\xfb\x01b",
];

fn snapshot(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = std::fs::read(fixture.path(&name)).unwrap_or_default();
        (name, bytes)
    };
    fixture.names().into_iter().map(read).collect()
}

fn send(raw: &mut Raw, verb: &str, name: &[u8]) {
    raw.send_bytes(&[verb.as_bytes(), b" ", name, b"\r\n"].concat());
}

#[test]
fn names_that_could_start_another_command_are_refused() {
    let fixture = Plan { partial_uploads: "delete", ..Plan::default() }.start();
    // The names that would result from removing the byte, or from truncating the name there.
    for name in ["a", "b", "ab", "a\u{1}b", "moved"] {
        fixture.put(name, name);
    }
    std::fs::create_dir(fixture.path("folder")).expect("a folder");
    let before = snapshot(&fixture);
    let mut raw = fixture.client();
    for verb in VERBS {
        for name in BAD {
            let what = format!("{verb} {}", name.escape_ascii());
            if verb == "USER" {
                raw.expect("REIN", 220);
            }
            if verb != "USER" {
                raw.expect("EPSV", 229);
            }
            if verb == "RNTO" {
                raw.expect("RNFR moved", 350);
            }
            send(&mut raw, verb, name);
            let reply = raw.read();
            assert_eq!(reply.code, 553, "{what}: {}", reply.text);
            check_in_sync(&mut raw);
            if verb == "USER" {
                raw.expect("PASS x", 503);
            }
        }
    }
    assert_eq!(snapshot(&fixture), before);
}

#[test]
fn a_line_feed_ends_a_line() {
    let fixture = Plan::default().start();
    fixture.put("b", "");
    let mut raw = fixture.client();
    // Two commands on the wire, two replies: none from inside a name, none left over.
    raw.send_bytes(b"SIZE a\nSIZE b\r\n");
    assert_eq!(raw.read().code, 550);
    assert_eq!(raw.read().code, 213);
    check_in_sync(&mut raw);
}

#[test]
fn names_are_passed_on_byte_for_byte() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    let names: [&[u8]; 9] = [
        b"caf\xe9",
        "gr\u{fc}\u{df}".as_bytes(),
        b"\xfe\xf4",
        b" leading and trailing ",
        b"tab\there",
        b"-dash",
        b"100%41",
        b"back\\slash",
        b"say \"hi\"",
    ];
    for name in names {
        let what = name.escape_ascii();
        let on_disk = fixture.folder.path().join(OsStr::from_bytes(name));
        send(&mut raw, "MKD", name);
        let reply = raw.read();
        assert_eq!(reply.code, 257, "{what}: {}", reply.text);
        assert!(on_disk.is_dir(), "{what} is not on the disk");
        send(&mut raw, "CWD", name);
        assert_eq!(raw.read().code, 250, "{what}");
        let latin: String = name.iter().copied().map(char::from).collect();
        let latin = latin.replace('"', "\"\"");
        let text = raw.expect("PWD", 257).text;
        assert!(text.starts_with(&format!("257 \"/{latin}\" ")), "{what}: {text}");
        raw.expect("CWD ..", 250);
        send(&mut raw, "RNFR", name);
        assert_eq!(raw.read().code, 350, "{what}");
        send(&mut raw, "RNTO", &[name, b"2"].concat());
        assert_eq!(raw.read().code, 250, "{what}");
        send(&mut raw, "RMD", &[name, b"2"].concat());
        assert_eq!(raw.read().code, 250, "{what}");
        let tcp = raw.passive();
        send(&mut raw, "STOR", name);
        assert_eq!(raw.read().code, 150, "{what}");
        drop(tcp);
        assert_eq!(raw.read().code, 226, "{what}");
        assert!(on_disk.is_file(), "{what} is not on the disk");
        send(&mut raw, "DELE", name);
        assert_eq!(raw.read().code, 250, "{what}");
        assert!(fixture.names().is_empty(), "{what}");
    }
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let fixture = Plan::default().start();
    let outside = tempfile::NamedTempFile::new().expect("a file outside");
    let name = outside.path().file_name().expect("a name").to_string_lossy().into_owned();
    std::os::unix::fs::symlink(outside.path(), fixture.path("link")).expect("a link");
    std::os::unix::fs::symlink("/tmp", fixture.path("folder")).expect("a link");
    let mut raw = fixture.client();
    for path in ["link", &format!("folder/{name}")] {
        for verb in ["RETR", "APPE"] {
            raw.expect("EPSV", 229);
            assert_eq!(raw.command(&format!("{verb} {path}")).code / 100, 5, "{verb} {path}");
        }
    }
    // The parent of the root is the root.
    assert_eq!(raw.upload(&format!("STOR ../{name}"), b"inside").code, 226);
    assert_eq!(fixture.get(&name), b"inside");
    assert_eq!(std::fs::read(outside.path()).expect("the file outside"), b"");
}

#[test]
fn a_dangling_symlink_is_renamed() {
    let fixture = Plan::default().start();
    std::os::unix::fs::symlink("nowhere", fixture.path("link")).expect("a link");
    let mut raw = fixture.client();
    raw.expect("RNFR link", 350);
    raw.expect("RNTO other", 250);
    let target = std::fs::read_link(fixture.path("other")).expect("the link");
    assert_eq!(target, std::path::Path::new("nowhere"));
    raw.expect("RNFR link", 550);
}
