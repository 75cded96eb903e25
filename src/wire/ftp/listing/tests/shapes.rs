//! Lines of real servers, and unusual ones.

use super::*;

/// Server or peculiarity, line, name, kind, size, time in MDTM's format.
type Case = (&'static str, &'static [u8], &'static [u8], EntryKind, Option<u64>, &'static str);

fn check(precise: Precision, cases: Vec<Case>) {
    for (what, line, name, kind, size, time) in cases {
        let found = entry(line);
        let seconds = crate::wire::ftp::time::parse_time(time.as_bytes());
        let modified = seconds.map(|seconds| Timestamp { seconds, precision: precise });
        assert_eq!(
            found.name.escape_ascii().to_string(),
            name.escape_ascii().to_string(),
            "{what}"
        );
        assert_eq!(found.kind, kind, "{what}");
        assert_eq!(found.attributes.size, size, "{what}");
        assert_eq!(found.attributes.modified, modified, "{what}");
    }
}

#[test]
#[rustfmt::skip] // One line each: a table.
fn ls_lines_of_real_servers_are_parsed() {
    use EntryKind::*;
    check(Precision::Minute, vec![
        ("vsftpd", b"drwxr-xr-x    2 0        0            4096 Nov 22 17:35 pub", b"pub", Directory, Some(4096), "20261122173500"),
        ("vsftpd file", b"-rw-r--r--    1 1001     1001     10485760 Nov 02 08:01 big.bin", b"big.bin", File, Some(10_485_760), "20261102080100"),
        ("ProFTPD", b"-rw-rw-r--   1 alice    staff        1234 Dec 24 09:05 report final.txt", b"report final.txt", File, Some(1234), "20251224090500"),
        ("pure-ftpd", b"drwxr-xr-x    5 alice      users            4096 Jan  9 11:12 .ssh", b".ssh", Directory, Some(4096), "20260109111200"),
        ("pure-ftpd link", b"lrwxrwxrwx    1 0          0                   7 Jan  9 11:12 bin -> usr/bin", b"bin", link("usr/bin"), Some(7), "20260109111200"),
        ("IIS in Unix style", b"-rwxrwxrwx   1 owner    group            1803128 Jul 10 10:18 ls-lR.Z", b"ls-lR.Z", File, Some(1_803_128), "20260710101800"),
        ("FileZilla Server", b"-rw-r--r-- 1 ftp ftp             17 Nov 22 17:35 a b  c", b"a b  c", File, Some(17), "20261122173500"),
        ("leading spaces", b"-rw-r--r--   1 ftp      ftp            17 Nov 22 17:35   two", b"  two", File, Some(17), "20261122173500"),
        ("trailing space", b"-rw-r--r--   1 ftp      ftp            17 Nov 22 17:35 two ", b"two ", File, Some(17), "20261122173500"),
        ("Latin-1", b"-rw-r--r--   1 ftp      ftp            17 Nov 22 17:35 caf\xe9", b"caf\xe9", File, Some(17), "20261122173500"),
        ("tabs in the name", b"-rw-r--r--   1 ftp      ftp            17 Nov 22 17:35 a\tb", b"a\tb", File, Some(17), "20261122173500"),
        ("arrow in a file", b"-rw-r--r--   1 ftp      ftp            17 Nov 22 17:35 a -> b", b"a -> b", File, Some(17), "20261122173500"),
        ("arrow in a link's name", b"lrwxrwxrwx   1 ftp      ftp             1 Nov 22 17:35 a -> b -> c", b"a -> b", link("c"), Some(1), "20261122173500"),
        ("arrow in a target", b"lrwxrwxrwx   1 ftp      ftp             6 Nov 22 17:35 a -> b -> c", b"a", link("b -> c"), Some(6), "20261122173500"),
        ("arrows, size useless", b"lrwxrwxrwx   1 ftp      ftp             0 Nov 22 17:35 a -> b -> c", b"a", link("b -> c"), Some(0), "20261122173500"),
        ("link without target", b"lrwxrwxrwx   1 ftp      ftp             0 Nov 22 17:35 a", b"a", Symlink(None), Some(0), "20261122173500"),
        ("access list +", b"drwxrwxr-x+  2 ftp      ftp          4096 Nov 22 17:35 acl", b"acl", Directory, Some(4096), "20261122173500"),
        ("SELinux .", b"drwxrwxr-x.  2 ftp      ftp          4096 Nov 22 17:35 sel", b"sel", Directory, Some(4096), "20261122173500"),
        ("macOS @", b"-rw-r--r--@  1 bob  staff  3 Nov 22 17:35 mac", b"mac", File, Some(3), "20261122173500"),
        ("character device", b"crw-rw-rw-   1 root     root       1,   3 Nov 22 17:35 null", b"null", Other, None, "20261122173500"),
        ("device, no blank", b"brw-rw----   1 root     disk     8,0 Nov 22 17:35 sda", b"sda", Other, None, "20261122173500"),
        ("pipe", b"prw-r--r--   1 root     root            0 Nov 22 17:35 fifo", b"fifo", Other, Some(0), "20261122173500"),
        ("socket", b"srwxr-xr-x   1 root     root            0 Nov 22 17:35 sock", b"sock", Other, Some(0), "20261122173500"),
        ("mode unknown", b"-?????????   1 ftp      ftp            17 Nov 22 17:35 name", b"name", File, Some(17), "20261122173500"),
        ("no group", b"-rw-r--r--   1 owner        512 Nov 22 17:35 name", b"name", File, Some(512), "20261122173500"),
        ("no links", b"-rw-r--r--   owner group 512 Nov 22 17:35 name", b"name", File, Some(512), "20261122173500"),
        ("no people", b"-rw-r--r--   1 512 Nov 22 17:35 name", b"name", File, Some(512), "20261122173500"),
        ("group of two words", b"-rw-r--r-- 1 DOM+bob Domain Users 512 Nov 22 17:35 name", b"name", File, Some(512), "20261122173500"),
        ("group called Nov", b"-rw-r--r-- 1 12 Nov 2025 Nov 22 17:35 name", b"name", File, Some(2025), "20261122173500"),
        ("Netware", b"d [R----F--] supervisor            512       Jan 16 18:53    login", b"login", Directory, Some(512), "20260116185300"),
        ("Netware file", b"- [R----F--] rhesus             214059       Oct 20 15:27    cx.exe", b"cx.exe", File, Some(214_059), "20261020152700"),
        ("day first", b"-rw-r--r--   1 ftp      ftp            17 22 Nov 17:35 name", b"name", File, Some(17), "20261122173500"),
        ("German day", b"-rw-r--r--   1 ftp      ftp            17 22. Nov 17:35 name", b"name", File, Some(17), "20261122173500"),
        ("long month", b"-rw-r--r--   1 ftp      ftp            17 Sept 2 7:35 name", b"name", File, Some(17), "20260902073500"),
        ("long-iso", b"-rw-r--r--   1 ftp      ftp            17 2026-11-22 17:35 name", b"name", File, Some(17), "20261122173500"),
        ("long-iso, name like a zone", b"-rw-r--r-- 1 ftp ftp 17 2026-11-22 17:35 +0100 x", b"+0100 x", File, Some(17), "20261122173500"),
    ]);
    check(Precision::Day, vec![
        ("vsftpd", b"-rw-r--r--    1 0        0             170 Feb 29  2024 README", b"README", File, Some(170), "20240229000000"),
        ("one blank before the year", b"-rw-r--r-- 1 0 0 170 Feb 29 2024 README", b"README", File, Some(170), "20240229000000"),
        ("name like a time", b"-rw-r--r--    1 0        0             170 Nov 22  2026 17:35 x", b"17:35 x", File, Some(170), "20261122000000"),
        ("day first", b"-rw-r--r--   1 ftp      ftp            17 22 Nov 2024 name", b"name", File, Some(17), "20241122000000"),
        ("NetPresenz", b"-------r--         326  1391972  1392298 Nov 22  1995 MegaPhone.sit", b"MegaPhone.sit", File, Some(1_392_298), "19951122000000"),
        ("NetPresenz folder", b"drwxrwxr-x               folder        2 May 10  1996 network", b"network", Directory, Some(2), "19960510000000"),
    ]);
    check(Precision::Second, vec![
        ("full-iso", b"-rw-r--r-- 1 ftp ftp 17 2026-11-22 17:35:02.000000000 +0100 name", b"name", File, Some(17), "20261122163502"),
        ("full-iso west", b"-rw-r--r-- 1 ftp ftp 17 2026-11-22 17:35:02 -0130  name", b" name", File, Some(17), "20261122190502"),
        ("full-iso, only the zone as name", b"-rw-r--r-- 1 ftp ftp 17 2026-11-22 17:35:02 +0100", b"+0100", File, Some(17), "20261122173502"),
        ("BSD -T", b"-rw-r--r--  1 bob  staff  3 Nov 22 17:35:02 2024 mac", b"mac", File, Some(3), "20241122173502"),
    ]);
}

#[test]
#[rustfmt::skip] // One line each: a table.
fn dos_lines_of_real_servers_are_parsed() {
    use EntryKind::*;
    check(Precision::Minute, vec![
        ("IIS folder", b"11-22-26  05:35PM       <DIR>          name", b"name", Directory, None, "20261122173500"),
        ("IIS file", b"02-25-15  11:38AM                 1234 web.config", b"web.config", File, Some(1234), "20150225113800"),
        ("IIS, four digits", b"11-22-2026  05:35PM             1234 a b", b"a b", File, Some(1234), "20261122173500"),
        ("IIS, leading space", b"11-22-26  05:35PM                 1234  lead", b" lead", File, Some(1234), "20261122173500"),
        ("IIS folder, leading space", b"11-22-26  05:35PM       <DIR>           lead", b" lead", Directory, None, "20261122173500"),
        ("short padding", b"11-22-26  05:35PM  <DIR>  name", b"name", Directory, None, "20261122173500"),
        ("midnight", b"04-27-00  12:00AM       <DIR>          a", b"a", Directory, None, "20000427000000"),
        ("noon", b"04-27-99  12:00PM       <DIR>          a", b"a", Directory, None, "19990427120000"),
        ("24 hours", b"11-22-26  17:35                  1 a", b"a", File, Some(1), "20261122173500"),
        ("half apart", b"11/22/2026  05:35 PM        1,234,567 a", b"a", File, Some(1_234_567), "20261122173500"),
        ("European", b"22.11.2026  17:35         1.234 a", b"a", File, Some(1234), "20261122173500"),
        ("year first", b"2026-11-22  17:35                9,730 DOS file", b"DOS file", File, Some(9730), "20261122173500"),
        ("junction", b"11-22-26  05:35PM       <JUNCTION>     Old [C:\\New One]", b"Old", link("C:\\New One"), None, "20261122173500"),
        ("folder link", b"11-22-26  05:35PM       <SYMLINKD>     Old", b"Old", Symlink(None), None, "20261122173500"),
        ("OEM code page", b"11-22-26  05:35PM                    1 \x81ber.txt", b"\x81ber.txt", File, Some(1), "20261122173500"),
    ]);
}

#[test]
#[rustfmt::skip] // One line each: a table.
fn fact_lines_of_real_servers_are_parsed() {
    use EntryKind::*;
    check(Precision::Second, vec![
        ("RFC 3659", b"Type=file;Size=25730;Modify=19940728095854;Perm=; cap96.tar.Z", b"cap96.tar.Z", File, Some(25_730), "19940728095854"),
        ("ProFTPD", b"modify=20261122173500;perm=adfr;size=12;type=file;unique=FD00U1;UNIX.group=100;UNIX.groupname=users;UNIX.mode=0644;UNIX.owner=1000;UNIX.ownername=alice; a b", b"a b", File, Some(12), "20261122173500"),
        ("pure-ftpd", b"type=dir;sizd=4096;modify=20261122173500;UNIX.mode=0755;UNIX.uid=0;UNIX.gid=0;unique=fd01g2; pub", b"pub", Directory, Some(4096), "20261122173500"),
        ("FileZilla Server", b"type=file;size=17;modify=20261122173500.123;perm=awr; x", b"x", File, Some(17), "20261122173500"),
        ("leading spaces", b"type=file;size=17;modify=20261122173500;  x", b" x", File, Some(17), "20261122173500"),
        ("semicolons", b"type=file;size=17;modify=20261122173500; a; b=c; d", b"a; b=c; d", File, Some(17), "20261122173500"),
        ("no last semicolon", b"type=file;size=17;modify=20261122173500 x", b"x", File, Some(17), "20261122173500"),
        ("Latin-1", b"type=file;size=17;modify=20261122173500; \xe9", b"\xe9", File, Some(17), "20261122173500"),
        ("RFC 3659 link", b"Type=OS.unix=slink:/foobar;Perm=;Unique=keVO1+4G4; foobar", b"foobar", link("/foobar"), None, ""),
        ("link, spaces in the target", b"type=OS.unix=slink:/a b;size=4;unique=1; x y", b"x y", link("/a b"), Some(4), ""),
        ("link, target unknown", b"type=OS.unix=symlink;modify=20261122173500; x", b"x", Symlink(None), None, "20261122173500"),
        ("RFC 3659 device", b"Type=OS.unix=chr-13/29;Perm=;Unique=keVO1+5G4; device", b"device", Other, None, ""),
        ("type by mode", b"UNIX.mode=040755; x", b"x", Directory, None, ""),
        ("type by size", b"size=4; x", b"x", File, Some(4), ""),
        ("type by sizd", b"sizd=4; x", b"x", Directory, Some(4), ""),
    ]);
}

#[test]
fn permissions_owner_group_and_links_are_parsed() {
    for (line, permissions, owner, group, links) in [
        (
            "-rwsr-sr-t 3 bob staff 1 Nov 22 17:35 x",
            Some(0o7755),
            Some("bob"),
            Some("staff"),
            Some(3),
        ),
        (
            "-rwSr-lr-T 3 bob staff 1 Nov 22 17:35 x",
            Some(0o7644),
            Some("bob"),
            Some("staff"),
            Some(3),
        ),
        ("drwxrwxrwt 3 0 0 1 Nov 22 17:35 x", Some(0o1777), Some("0"), Some("0"), Some(3)),
        (
            "---------- 3 bob Domain  Users 1 Nov 22 17:35 x",
            Some(0),
            Some("bob"),
            Some("Domain  Users"),
            Some(3),
        ),
        ("-rw-r--r-- bob staff 1 Nov 22 17:35 x", Some(0o644), Some("bob"), Some("staff"), None),
        ("-rw-r--r-- 3 bob 1 Nov 22 17:35 x", Some(0o644), Some("bob"), None, Some(3)),
        ("-rw-r--r-- 3 1 Nov 22 17:35 x", Some(0o644), None, None, Some(3)),
        (
            "crw-rw-rw- 3 bob tty 1, 3 Nov 22 17:35 x",
            Some(0o666),
            Some("bob"),
            Some("tty"),
            Some(3),
        ),
        ("crw-rw-rw- 3 bob 1, 3 Nov 22 17:35 x", Some(0o666), Some("bob"), None, Some(3)),
        ("d [R----F--] bob 1 Nov 22 17:35 x", None, Some("bob"), None, None),
        (
            "type=file;unix.mode=0100644;UNIX.owner=7;UNIX.ownername=bob; x",
            Some(0o644),
            Some("bob"),
            None,
            None,
        ),
        (
            "type=file;UNIX.ownername=bob;UNIX.uid=7;UNIX.gid=8; x",
            None,
            Some("bob"),
            Some("8"),
            None,
        ),
        ("type=file;UNIX.mode=0899;UNIX.group=; x", None, None, None, None),
    ] {
        let found = entry(line.as_bytes());
        let expected = Attributes {
            permissions,
            owner: owner.map(Into::into),
            group: group.map(Into::into),
            links,
            ..Attributes::default()
        };
        let found = Attributes { size: None, modified: None, ..found.attributes };
        assert_eq!(found, expected, "{line}");
    }
}
