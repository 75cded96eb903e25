//! Listings of scripted servers.

use std::io::{BufRead, BufReader, Read};
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::{before, client};
use crate::support::gateway::Gateway;
use crate::support::scripted::Scripted;

/// A server without MLSD that lists these lines, with `-a` and without.
fn lister(lines: &'static [&'static str]) -> (Scripted, Gateway) {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        loop {
            peer.until("LIST")?;
            peer.give(
                lines.iter().map(|line| format!("{line}\r\n")).collect::<String>().as_bytes(),
            )?;
        }
    });
    let gateway = before(&backend, "");
    (backend, gateway)
}

fn listing(gateway: &Gateway, command: &str) -> Vec<String> {
    let (bytes, last) = client(gateway, "back").download(command);
    assert_eq!(last.code, 226, "{command}: {}", last.text);
    let text: String = bytes.into_iter().map(char::from).collect();
    assert!(text.is_empty() || text.ends_with("\r\n"), "{command}: {text:?}");
    text.split_terminator("\r\n").map(str::to_owned).collect()
}

/// The line of this name, without the name.
#[track_caller]
fn line<'a>(lines: &'a [String], name: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_suffix(&format!(" {name}")));
    found.unwrap_or_else(|| panic!("no {name:?} in {lines:?}"))
}

#[test]
fn dos_listings_are_parsed() {
    let (_backend, gateway) = lister(&[
        "03-14-24  01:05PM       <DIR>          Program Files",
        "11-02-2019  12:30AM            1234567 data.csv",
        "2021-07-30  23:59                   42 a  b",
    ]);
    let facts = listing(&gateway, "MLSD");
    assert_eq!(facts.len(), 3, "{facts:?}");
    let folder = line(&facts, "Program Files").to_ascii_lowercase();
    assert!(folder.contains("type=dir;") && folder.contains("modify=202403141305"), "{folder}");
    let file = line(&facts, "data.csv").to_ascii_lowercase();
    assert!(file.contains("type=file;") && file.contains("size=1234567;"), "{file}");
    assert!(file.contains("modify=201911020030"), "{file}");
    assert!(line(&facts, "a  b").to_ascii_lowercase().contains("size=42;"));
    let lines = listing(&gateway, "LIST");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(line(&lines, "Program Files").starts_with('d'), "{lines:?}");
    assert!(line(&lines, "data.csv").starts_with('-'), "{lines:?}");
    assert!(line(&lines, "data.csv").contains(" 1234567 "), "{lines:?}");
    assert_eq!(listing(&gateway, "NLST"), ["Program Files", "data.csv", "a  b"]);
}

#[test]
fn unix_listings_are_parsed() {
    let (_backend, gateway) = lister(&[
        "total 24",
        "drwxr-xr-x   2 ftp      ftp          4096 Jan  2  2020 .",
        "drwxr-xr-x   2 ftp      ftp          4096 Jan  2  2020 ..",
        "-rw-r--r--   1 ftp      ftp            77 Jan  2  2020  two  spaces",
        "-rw-r--r--   1 ftp                     78 Jan  2  2020 no-group",
        "lrwxrwxrwx   1 ftp      ftp             6 Jan  2  2020 link -> target",
        "crw-rw-rw-   1 root     root       1,   3 Jan  2  2020 null",
        "drwxrwsr-t+  2 ftp      ftp          4096 Jan  2  2020 .hidden",
        "-rw-r--r--   1 ftp      ftp    8589934592 Jan  2  2020 big",
        "-rw-r--r--   1 ftp      ftp             1 Jan  2  2020 \u{e9}",
    ]);
    let names = [" two  spaces", "no-group", "link", "null", ".hidden", "big", "\u{c3}\u{a9}"]
        .map(str::to_owned);
    assert_eq!(listing(&gateway, "NLST"), names);
    let facts: Vec<_> = listing(&gateway, "MLSD");
    assert_eq!(facts.len(), names.len(), "{facts:?}");
    let fact = |name: &str| line(&facts, name).to_ascii_lowercase();
    assert!(fact(" two  spaces").contains("size=77;"), "{facts:?}");
    assert!(fact("no-group").contains("size=78;"), "{facts:?}");
    assert!(fact("big").contains("size=8589934592;"), "{facts:?}");
    assert!(fact(".hidden").contains("type=dir;"), "{facts:?}");
    assert!(fact("big").contains("modify=20200102"), "{facts:?}");
    let lines = listing(&gateway, "LIST");
    assert_eq!(lines.len(), names.len(), "{lines:?}");
    assert!(line(&lines, "link -> target").starts_with('l'), "{lines:?}");
}

const PLAIN: &[u8] = b"-rw-r--r--   1 ftp      ftp            77 Jan  2  2020 there\r\n";

/// A line that is not understood may have any name: no file may be reported as absent.
#[test]
fn unparsable_lines_fail_the_listing() {
    let (_backend, gateway) = lister(&[
        "insgesamt 24",
        "-rw-r--r--   1 ftp      ftp            77 Jan  2  2020 there",
        "-rw-r--r--   1 ftp      ftp            77 2. J\u{e4}nner 2020 lost",
    ]);
    let mut client = client(&gateway, "back");
    for command in ["LIST", "NLST", "MLSD"] {
        let mut bytes = Vec::new();
        let mut data = client.begin(command);
        data.read_to_end(&mut bytes).expect_err("an end by a reset");
        let last = client.read();
        assert_eq!(last.code, 426, "{command}: {}", last.text);
        assert!(last.text.contains("format: 1 "), "{command}: {}", last.text);
        // The understood names exist.
        assert!(bytes.ends_with(b"there\r\n"), "{command}: {}", bytes.escape_ascii());
        client.expect("NOOP", 200);
    }
}

/// A server that takes `-a` as a name: the answer is in the listing, or in the reply.
fn takes_it_for_a_name(in_a_listing: Option<&'static [u8]>) {
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        loop {
            match (peer.until("LIST")?.as_str(), in_a_listing) {
                ("LIST", _) => peer.give(PLAIN)?,
                (_, Some(lines)) => peer.give(lines)?,
                (_, None) => peer.reply("550 -a: no such file")?,
            }
        }
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    for _ in 0..3 {
        let (bytes, last) = client.download("NLST");
        assert_eq!((bytes.as_slice(), last.code), (&b"there\r\n"[..], 226));
    }
    let lists = backend.lines().into_iter().filter(|line| line.starts_with("LIST"));
    assert_eq!(lists.collect::<Vec<_>>(), ["LIST -a", "LIST", "LIST", "LIST"]);
}

#[test]
fn an_empty_listing_shows_that_list_has_no_options() {
    takes_it_for_a_name(Some(b""));
}

#[test]
fn an_error_line_shows_that_list_has_no_options() {
    takes_it_for_a_name(Some(b"ls: -a: No such file or directory\r\n"));
}

#[test]
fn a_550_shows_that_list_has_no_options() {
    takes_it_for_a_name(None);
}

#[test]
fn a_server_that_supports_the_option_gets_it() {
    let (backend, gateway) = lister(&["drwxr-xr-x   2 ftp ftp 4096 Jan  2  2020 ."]);
    let mut client = client(&gateway, "back");
    for _ in 0..2 {
        assert_eq!(client.download("NLST").0, b"");
    }
    let lists = backend.lines().into_iter().filter(|line| line.starts_with("LIST"));
    assert_eq!(lists.collect::<Vec<_>>(), ["LIST -a", "LIST -a"]);
}

#[test]
fn an_incomplete_listing_fails() {
    let backend = Scripted::start(|peer| {
        use std::io::Write;
        peer.greet()?;
        peer.until("LIST")?;
        peer.reply("150 here it comes")?;
        peer.data()?.write_all(PLAIN)?;
        peer.reply("451 the disk is gone")?;
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    let tcp = client.passive();
    client.expect("LIST", 150);
    let _ = std::io::Read::read_to_end(&mut client.data(tcp), &mut Vec::new());
    assert_eq!(client.read().text, "451 the disk is gone\r\n");
    client.expect("CWD /x", 250);
}

#[test]
fn an_mlsd_line_cannot_name_another_folder() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("FEAT", "211-features\r\n MLST type*;size*;\r\n211 end");
        loop {
            peer.until("MLSD")?;
            peer.give(
                b"type=cdir; /x\r\ntype=file;size=1; ../../etc/passwd\r\ntype=file;size=2; fine\r\n\
                  type=file;size=3; a\rb\r\ntype=file;size=4;  first space\r\n",
            )?;
        }
    });
    let gateway = before(&backend, "");
    let names = listing(&gateway, "NLST");
    assert_eq!(names, ["fine", " first space"]);
    assert_eq!(backend.count("LIST"), 0);
}

/// An unread reply would be taken as the reply to the next command.
#[test]
fn abor_between_the_last_line_and_the_final_reply() {
    const TIMEOUT: Duration = Duration::from_secs(15);
    for command in ["LIST", "MLSD"] {
        for own in ["LIST", "MLSD"] {
            for deleted in ["250 gone, says the backend", "550 kept, says the backend"] {
                let (ended, has_ended) = mpsc::channel();
                let (go_on, may_go_on) = mpsc::channel();
                let may_go_on = Mutex::new(may_go_on);
                let backend = Scripted::start(move |peer| {
                    peer.greet()?;
                    if own == "MLSD" {
                        peer.answer("FEAT", "211-features\r\n MLST type*;size*;\r\n211 end");
                    }
                    peer.answer("DELE", deleted);
                    peer.until(own)?;
                    peer.reply("150 here it comes")?;
                    let mut data = peer.data()?;
                    std::io::Write::write_all(
                        &mut data,
                        if own == "LIST" { PLAIN } else { b"type=file;size=77; there\r\n" },
                    )?;
                    data.shutdown(Shutdown::Write)?;
                    // The gateway closes its side when it has read our end.
                    data.read_to_end(&mut Vec::new())?;
                    ended.send(()).expect("the test waits");
                    let waited = may_go_on.lock().expect("no holder panics").recv_timeout(TIMEOUT);
                    waited.expect("the test's word");
                    peer.reply("226 that was all")?;
                    peer.serve()
                });
                let gateway = before(&backend, "");
                let mut client = client(&gateway, "back");
                let mut data = BufReader::new(client.begin(command));
                // MLSD has times with seconds, for which the gateway sends MDTM after LIST.
                if (command, own) != ("MLSD", "LIST") {
                    let mut line = String::new();
                    data.read_line(&mut line).expect("the listing's one line");
                    assert!(line.ends_with(" there\r\n"), "{line}");
                }
                has_ended.recv_timeout(TIMEOUT).expect("the end of the backend's data");
                // The server reads ABOR right after STAT.
                client.send_bytes(b"STAT\r\nABOR\r\n");
                assert_eq!(client.read().code, 213);
                assert!(client.quiet_for(Duration::from_millis(200)), "the end was not awaited");
                go_on.send(()).expect("the script waits");
                assert_eq!(client.read().code, 426);
                assert_eq!(client.read().code, 226);
                assert_eq!(client.command("DELE x").text, format!("{deleted}\r\n"));
                client.expect("NOOP", 200);
                client.expect("QUIT", 221);
            }
        }
    }
}
