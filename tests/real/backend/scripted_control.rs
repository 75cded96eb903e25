//! Control connections of a scripted server after the login: replies, silence, and end.

use std::time::{Duration, Instant};

use super::scripted_logins::{assert_lost, wait_for_the_end};
use super::{before, client};
use crate::support::raw::Reply;
use crate::support::scripted::Scripted;

#[test]
fn a_silent_server_times_out() {
    for command in ["SIZE a", "RETR a", "LIST"] {
        let backend = Scripted::start(|peer| {
            peer.greet()?;
            peer.answer("FEAT", "211-\r\n SIZE\r\n211 end");
            peer.until_any(&["SIZE", "EPSV", "CWD"])?;
            wait_for_the_end(peer)
        });
        let gateway = before(&backend, ", reply_timeout: 1s");
        let mut client = client(&gateway, "back");
        let _data = client.passive();
        let start = Instant::now();
        assert_lost(&client.command(command));
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
        assert!(client.at_end());
    }
}

#[test]
fn the_server_ends_while_the_client_is_idle() {
    for goodbye in ["", "421 Timeout (60 seconds): closing control connection."] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.until("CWD")?;
            peer.reply("250 there")?;
            if !goodbye.is_empty() {
                peer.reply(goodbye)?;
            }
            Ok(())
        });
        let gateway = before(&backend, "");
        let mut client = client(&gateway, "back");
        client.expect("CWD /a", 250);
        let reply = client.command("CWD /b");
        assert_lost_or(&reply, goodbye);
        assert!(client.at_end());
    }
}

fn assert_lost_or(reply: &Reply, expected: &str) {
    match expected {
        "" => assert_lost(reply),
        expected => assert_eq!(reply.text, format!("{expected}\r\n")),
    }
}

#[test]
fn a_421_reply_ends_the_session() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("MKD", "421 Timeout, says the backend");
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    assert_eq!(client.command("MKD /a").text, "421 Timeout, says the backend\r\n");
    assert!(client.at_end());
}

#[test]
fn multi_line_replies_are_passed_on() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PASS", "230-Welcome.\r\n  Be nice.\r\n215 is no end.\r\n230 in");
        peer.answer("CWD", "250-This folder\r\n holds things.\r\n250 there");
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    assert_eq!(
        client.expect("CWD /a", 250).text,
        "250-This folder\r\n holds things.\r\n250 there\r\n"
    );
    // Replies still match commands.
    client.expect("DELE a", 250);
    client.expect("MKD b", 257);
    client.expect("QUIT", 221);
}

#[test]
fn feat_lists_only_what_the_backend_supports() {
    for (features, promised) in [("211-\r\n MFMT\r\n211 end", true), ("211 none", false)] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("FEAT", features);
            peer.serve()
        });
        let gateway = before(&backend, "");
        let mut client = client(&gateway, "back");
        let text = client.expect("FEAT", 211).text;
        assert_eq!(text.contains("\r\n MFMT\r\n"), promised, "{text}");
        assert!(text.contains("\r\n MDTM\r\n"), "{text}");
    }
}
