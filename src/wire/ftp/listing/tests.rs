//! Tests of the listing parser.

mod property;
mod shapes;

use super::*;
use crate::op::{Attributes, Precision, Timestamp};

/// 2026-11-22 17:35:00.
const NOW: i64 = 1_795_368_900;

fn entry(line: &[u8]) -> Entry {
    match parse_line(line, NOW) {
        Parsed::Entry(entry) => entry,
        other => panic!("{other:?}: {}", line.escape_ascii()),
    }
}

fn link(target: &str) -> EntryKind {
    EntryKind::Symlink(Some(target.into()))
}

#[test]
fn totals_empty_lines_and_dot_entries_are_ignored() {
    for line in [
        "total 12",
        "total 0",
        "total 1,2M",
        "insgesamt 12",
        "i alt 12",
        "总用量 12",
        "",
        "   ",
        "type=cdir;modify=20261122173500; /srv/pub",
        "Type=pdir;Modify=20261122173500; ..",
        "type=dir;sizd=4096; .",
        "type=dir; ..",
        "drwxr-xr-x   2 0        0            4096 Nov 22 17:35 .",
        "drwxr-xr-x   2 0        0            4096 Nov 22 17:35 ..",
        "11-22-26  05:35PM       <DIR>          .",
    ] {
        assert_eq!(parse_line(line.as_bytes(), NOW), Parsed::Ignored, "{line}");
    }
}

#[test]
fn names_that_are_paths_are_refused() {
    for line in [
        &b"type=file;size=1; a/b"[..],
        b"type=file;size=1; /etc/passwd",
        b"type=file;size=1; ../x",
        b"type=file;size=1; ",
        b"type=file;size=1; a\0b",
        b"type=file;size=1; a\nb",
        b"type=file;size=1;",
        b"-rw-r--r--   1 0        0               1 Nov 22 17:35 a/b",
        b"-rw-r--r--   1 0        0               1 Nov 22 17:35 a\0b",
        b"-rw-r--r--   1 0        0               1 Nov 22 17:35 ",
        b"-rw-r--r--   1 0        0               1 Nov 22 17:35",
        b"lrwxrwxrwx   1 0        0               1 Nov 22 17:35  -> x",
        b"lrwxrwxrwx   1 0        0               1 Nov 22 17:35 a/b -> x",
        b"11-22-26  05:35PM                    1 a/b",
        b"11-22-26  05:35PM                    1 ",
        b"11-22-26  05:35PM       <DIR>",
    ] {
        let parsed = parse_line(line, NOW);
        assert!(
            matches!(parsed, Parsed::NoName | Parsed::Unreadable | Parsed::Fragment),
            "{}",
            line.escape_ascii()
        );
    }
}

#[test]
fn unknown_formats_are_unreadable() {
    for line in [
        "ls: cannot open directory",
        "subdir:",
        "-rw-r--r--",
        "-rw-r--r-- 1 ftp ftp size Nov 22 17:35 name",
        "-rw-r--r-- 1 ftp ftp 1 Foo 22 17:35 name",
        "-rw-r--r-- 1 ftp ftp 1 Nov 32 17:35 name",
        " -rw-r--r-- 1 ftp ftp 1 Nov 22 17:35 name",
        "xrw-r--r-- 1 ftp ftp 1 Nov 22 17:35 name",
        "-rwzr--r-- 1 ftp ftp 1 Nov 22 17:35 name",
        "perm=el; name",
        "=; name",
        "11-22-26  05:35PM  <WHAT>  name",
        "11-22-26  05:35PM  12,34  name",
        "11-22  05:35PM  1 name",
        "-rw-r--r-- 12 name",
        "-????????? ? ? name",
        "-?????rwx? ? ? ? ? ? name",
        "ls: x: Permission denied",
    ] {
        assert_eq!(parse_line(line.as_bytes(), NOW), Parsed::Unreadable, "{line}");
    }
}

#[test]
fn fragments_and_headers_are_recognized() {
    for line in
        ["b", "b c.txt", " b ", "226 Transfer complete", "+i8388621.29609,m824255902,/,\tdev"]
    {
        assert_eq!(parse_line(line.as_bytes(), NOW), Parsed::Fragment, "{line}");
    }
    for line in [".:", "/pub/x:", "./sub:", "/a folder of four words:"] {
        assert_eq!(parse_line(line.as_bytes(), NOW), Parsed::Header, "{line}");
    }
}

#[test]
fn entries_that_ls_cannot_stat_are_listed() {
    for (line, name) in [
        ("-?????????   ? ?    ?      ?            ? broken", "broken"),
        ("d????????? ? ? ? ? ? a  b", "a  b"),
        ("??????????? ? ? ? ? ? ?", "?"),
        ("l????????? ? ? ? ? no-group", "no-group"),
    ] {
        assert_eq!(entry(line.as_bytes()), Entry::new(name, EntryKind::Other), "{line}");
    }
}

#[test]
fn sizes_beyond_64_bits_are_unknown() {
    for line in [
        "type=file;size=99999999999999999999; name",
        "-rw-r--r--   1 0        0        99999999999999999999 Nov 22 17:35 name",
        "11-22-26  05:35PM 99999999999999999999 name",
        "11-22-26  05:35PM 99,999,999,999,999,999,999 name",
    ] {
        let found = entry(line.as_bytes());
        assert_eq!((found.name.as_slice(), found.attributes.size), (&b"name"[..], None), "{line}");
    }
}

#[test]
fn the_reply_to_mlst_may_name_a_path() {
    let found = parse_facts_line(b" type=file;size=7; /srv/a b;c").unwrap();
    assert_eq!(found.name, b"/srv/a b;c");
    assert_eq!(found.attributes.size, Some(7));
    let found = parse_facts_line(b"type=cdir; /srv").unwrap();
    assert_eq!((found.name.as_slice(), &found.kind), (&b"/srv"[..], &EntryKind::Directory));
    for line in
        [&b""[..], b" ", b"  ", b"  /srv", b" type=file;", b" type=file; ", b"type=file; a\0"]
    {
        assert_eq!(parse_facts_line(line), None, "{}", line.escape_ascii());
    }
}

#[test]
fn a_date_without_a_year_is_at_most_a_day_in_the_future() {
    let at = |text: &str| crate::wire::ftp::time::parse_time(text.as_bytes()).unwrap();
    for (now, date, expected) in [
        ("20261122173500", "Nov 22 17:35", "20261122173500"),
        ("20261122173500", "Nov 23 17:35", "20261123173500"), // one day: a server east of UTC
        ("20261122173500", "Nov 23 17:36", "20251123173600"),
        ("20261122173500", "Dec 24 10:00", "20251224100000"),
        ("20261231230000", "Jan  1 07:00", "20270101070000"),
        ("20270101000000", "Dec 31 23:59", "20261231235900"),
        ("20261122173500", "Feb 29 10:00", "20240229100000"),
        ("21031122173500", "Feb 29 10:00", "20960229100000"), // 2100 has none
    ] {
        let line = format!("-rw-r--r--   1 0        0               1 {date} name");
        let Parsed::Entry(found) = parse_line(line.as_bytes(), at(now)) else { panic!("{line}") };
        let expected = Timestamp { seconds: at(expected), precision: Precision::Minute };
        assert_eq!(found.attributes.modified, Some(expected), "{now} {date}");
    }
}

#[test]
fn impossible_dates_leave_the_time_unknown() {
    for line in [
        "-rw-r--r--   1 0        0               1 Feb 30 17:35 name",
        "-rw-r--r--   1 0        0               1 Feb 29  2023 name",
        "11-31-26  05:35PM                    1 name",
        "type=file;modify=20260230000000; name",
    ] {
        let found = entry(line.as_bytes());
        assert_eq!(
            (found.name.as_slice(), found.attributes.modified),
            (&b"name"[..], None),
            "{line}"
        );
    }
}

#[test]
fn ls_lines_are_rendered_as_clients_read_them() {
    let mut full = Entry::new("pub", EntryKind::Directory);
    full.attributes = Attributes {
        size: Some(4096),
        modified: Some(Timestamp::exact(NOW)),
        permissions: Some(0o755),
        owner: Some("owner".into()),
        group: Some("group".into()),
        links: Some(2),
        ..Attributes::default()
    };
    let at = |modified| Attributes { modified, ..full.attributes.clone() };
    let file = |modified| Entry { attributes: at(modified), ..full.clone() };
    let day = Timestamp { seconds: NOW, precision: Precision::Day };
    let odd = Attributes {
        owner: Some(b"a b\r\nc".to_vec()),
        group: Some(b"".to_vec()),
        permissions: Some(0o7644),
        ..Attributes::default()
    };
    for (entry, expected) in [
        (full.clone(), "drwxr-xr-x   2 owner    group        4096 Nov 22 17:35 pub"),
        (
            file(Some(Timestamp::exact(NOW + 1))),
            "drwxr-xr-x   2 owner    group        4096 Nov 22  2026 pub",
        ),
        (
            file(Some(Timestamp::exact(NOW - 200 * 86_400))),
            "drwxr-xr-x   2 owner    group        4096 May  6  2026 pub",
        ),
        (file(Some(day)), "drwxr-xr-x   2 owner    group        4096 Nov 22  2026 pub"),
        (
            file(Some(Timestamp::exact(i64::MAX))),
            "drwxr-xr-x   2 owner    group        4096 Jan  1  1970 pub",
        ),
        (
            Entry::new(" lead", EntryKind::File),
            "-rw-r--r--   1 ftp      ftp             0 Jan  1  1970  lead",
        ),
        (
            Entry::new("latest", link("v 2")),
            "lrwxrwxrwx   1 ftp      ftp             3 Jan  1  1970 latest -> v 2",
        ),
        (
            Entry::new("latest", link("v\r\n226 Done")),
            "lrwxrwxrwx   1 ftp      ftp             0 Jan  1  1970 latest",
        ),
        (
            Entry { attributes: odd, ..Entry::new("odd", EntryKind::Other) },
            "srwSr-Sr-T   1 a_b__c   ftp             0 Jan  1  1970 odd",
        ),
    ] {
        let mut out = Vec::new();
        assert!(render_ls(&entry, NOW, &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn selected_facts_are_rendered() {
    let mut file = Entry::new("a; b", EntryKind::File);
    file.attributes = Attributes {
        size: Some(1),
        modified: Some(Timestamp::exact(NOW)),
        permissions: Some(0o644),
        owner: Some(b"a;b c".to_vec()),
        group: Some(b"users".to_vec()),
        links: None,
        ..Attributes::default()
    };
    let folder = Entry { kind: EntryKind::Directory, ..file.clone() };
    let bare = |kind| Entry::new("x", kind);
    for (entry, facts, expected) in [
        (
            &file,
            "type;size;modify;UNIX.mode",
            "type=file;size=1;modify=20261122173500;UNIX.mode=0644; a; b",
        ),
        (&file, "UNIX.owner;UNIX.group", "UNIX.owner=a_b_c;UNIX.group=users; a; b"),
        (&file, "", " a; b"),
        (&folder, "type;size", "type=dir; a; b"),
        (&bare(EntryKind::File), "type;size;modify;UNIX.owner", "type=file; x"),
        (&bare(EntryKind::Other), "type", "type=OS.unix=special; x"),
        (&bare(link("../y")), "type", "type=OS.unix=slink:../y; x"),
        (&bare(link("a b")), "type", "type=OS.unix=symlink; x"),
        (&bare(link("a;b")), "type", "type=OS.unix=symlink; x"),
        (&bare(EntryKind::Symlink(None)), "type", "type=OS.unix=symlink; x"),
    ] {
        let mut out = Vec::new();
        assert!(render_facts(entry, FactSet::parse(facts.as_bytes()), &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn a_name_that_would_forge_a_line_is_not_rendered() {
    for name in [&b""[..], b"a\rb", b"a\nb", b"a\r\n226 Done", b"a\0b"] {
        let mut out = b"before".to_vec();
        let entry = Entry::new(name, EntryKind::File);
        assert!(!render_ls(&entry, NOW, &mut out));
        assert!(!render_facts(&entry, FactSet::default(), &mut out));
        assert_eq!(out, b"before");
    }
}
