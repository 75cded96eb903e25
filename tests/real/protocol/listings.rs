//! LIST, NLST, MLSD, MLST and STAT: options, patterns, and names that could forge a line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Fixture, Plan, check_in_sync};
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;

fn start() -> (Fixture, Raw) {
    let fixture = Plan::default().start();
    for name in ["a.txt", "b.txt", "c.bin", "-a"] {
        fixture.put(name, name);
    }
    std::fs::create_dir(fixture.path("sub dir")).expect("a folder");
    fixture.put("sub dir/d.txt", "");
    let raw = fixture.client();
    (fixture, raw)
}

/// The names at the end of each line, sorted.
fn lines(raw: &mut Raw, command: &str) -> Vec<String> {
    let (bytes, reply) = raw.download(command);
    assert_eq!(reply.code, 226, "{command}: {}", reply.text);
    let text: String = bytes.into_iter().map(char::from).collect();
    assert!(text.is_empty() || text.ends_with("\r\n"), "{command}: {text:?}");
    let mut lines: Vec<String> = text.split_terminator("\r\n").map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The names in `ls -l` lines, after the three fields of the date.
fn names(raw: &mut Raw, command: &str) -> Vec<String> {
    let mut names: Vec<String> = lines(raw, command)
        .iter()
        .map(|line| {
            let mut rest = line.as_str();
            for _ in 0..8 {
                rest = rest.trim_start().split_once(' ').expect("nine columns").1;
            }
            rest.to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn ls_options_are_not_taken_for_names() {
    let (_fixture, mut raw) = start();
    let all = ["-a", "a.txt", "b.txt", "c.bin", "sub dir"];
    for command in ["LIST", "LIST -a", "LIST -l", "LIST -la", "LIST -a -l", "LIST -la .", "LIST /"]
    {
        assert_eq!(names(&mut raw, command), all, "{command}");
    }
    for command in ["NLST", "NLST -a", "NLST -CF"] {
        assert_eq!(lines(&mut raw, command), all, "{command}");
    }
    assert_eq!(names(&mut raw, "LIST -la sub dir"), ["d.txt"]);
    assert_eq!(lines(&mut raw, "NLST sub dir"), ["sub dir/d.txt"]);
    assert_eq!(lines(&mut raw, "NLST ./-a"), ["./-a"]);
    // MLSD has no options.
    raw.expect("EPSV", 229);
    raw.expect("MLSD -la", 550);
    check_in_sync(&mut raw);
}

#[test]
fn wildcards_in_nlst_and_list_match_names() {
    let (_fixture, mut raw) = start();
    assert_eq!(lines(&mut raw, "NLST *.txt"), ["a.txt", "b.txt"]);
    assert_eq!(lines(&mut raw, "NLST [bc].*"), ["b.txt", "c.bin"]);
    assert_eq!(lines(&mut raw, "NLST ?.bin"), ["c.bin"]);
    assert_eq!(lines(&mut raw, "NLST sub dir/*"), ["sub dir/d.txt"]);
    assert_eq!(lines(&mut raw, "NLST *.none"), [""; 0]);
    assert_eq!(names(&mut raw, "LIST -l *.txt"), ["a.txt", "b.txt"]);
    assert_eq!(names(&mut raw, "LIST c.bin"), ["c.bin"]);
    for command in ["LIST missing", "NLST missing", "NLST missing/*", "LIST ["] {
        raw.expect("EPSV", 229);
        raw.expect(command, 550);
        check_in_sync(&mut raw);
    }
}

#[test]
fn a_name_cannot_forge_a_line() {
    let (fixture, mut raw) = start();
    let forged: [&[u8]; 4] = [
        b"x\r\n-rw-r--r-- 1 0 0 9 Jan 1 00:00 forged",
        b"x\nforged",
        b"x\rforged",
        b"\n213 forged",
    ];
    for name in forged {
        std::fs::write(fixture.folder.path().join(OsStr::from_bytes(name)), "").expect("a file");
    }
    let folder = fixture.folder.path().join(OsStr::from_bytes(b"folder\r\n226 forged"));
    std::fs::create_dir(folder).expect("a folder");
    let target = OsStr::from_bytes(b"b.txt\r\nforged");
    std::os::unix::fs::symlink(target, fixture.path("link")).expect("a link");

    let all = ["-a", "a.txt", "b.txt", "c.bin", "link", "sub dir"];
    assert_eq!(names(&mut raw, "LIST"), all);
    assert_eq!(lines(&mut raw, "NLST"), all);
    assert_eq!(lines(&mut raw, "NLST *"), all);
    let mut facts: Vec<String> = lines(&mut raw, "MLSD")
        .iter()
        .map(|line| line.split_once(' ').expect("facts and a name").1.to_owned())
        .collect();
    facts.sort();
    assert_eq!(facts, all);
    let status = raw.expect("STAT .", 213).text;
    assert_eq!(status.lines().count(), all.len() + 2, "{status}");
    assert!(!status.contains("forged"), "{status}");
    check_in_sync(&mut raw);
    let omitted = || fixture.gateway.log_tail(usize::MAX).matches("omitted from a listing").count();
    // The log is written by a thread of its own.
    assert!(
        becomes_true(|| omitted() >= 5 * 3),
        "only {} of the names left out are in the log",
        omitted()
    );
}
