//! The ends of transfers with a scripted server.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;

use super::{before, client};
use crate::support::raw::{Raw, Reply};
use crate::support::scripted::Scripted;

/// A download that may be interrupted: the bytes and the last reply.
fn download(client: &mut Raw, command: &str) -> (Vec<u8>, Reply) {
    let tcp = client.passive();
    client.expect(command, 150);
    let mut bytes = Vec::new();
    // The reply has the outcome.
    let _ = client.data(tcp).read_to_end(&mut bytes);
    (bytes, client.read())
}

#[test]
fn a_refused_retr_is_reported_and_both_sides_stay_in_sync() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("SIZE", "213 4711");
        peer.until("RETR")?;
        peer.reply("550 the backend has no such file, sorry")?;
        peer.until("RETR")?;
        peer.give(b"another")?;
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    let _data = client.passive();
    let refused = client.expect("RETR a", 550);
    assert_eq!(refused.text, "550 the backend has no such file, sorry\r\n");
    assert!(client.expect("SIZE a", 213).text.contains("4711"));
    assert_eq!(client.download("RETR b").0, b"another");
}

#[test]
fn a_download_that_the_server_ends_early_fails() {
    for last in ["426 the disk is gone", "451 the disk is gone", "550 the disk is gone"] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("CWD", "250 in step");
            peer.until("RETR")?;
            peer.reply("150 here it comes")?;
            peer.data()?.write_all(b"a part")?;
            peer.reply(last)?;
            peer.serve()
        });
        let gateway = before(&backend, "");
        let mut client = client(&gateway, "back");
        let (_, reply) = download(&mut client, "RETR a");
        assert_eq!(reply.text, format!("{last}\r\n"));
        assert!(client.expect("CWD /x", 250).text.contains("in step"));
    }
}

/// Clients that do not read the last reply judge by the end of the data connection.
#[test]
fn a_download_that_the_server_ends_early_is_not_closed_as_complete() {
    for last in ["426 the disk is gone", "451 the disk is gone"] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.until("RETR")?;
            peer.reply("150 here it comes")?;
            peer.data()?.write_all(b"a part")?;
            peer.reply(last)?;
            peer.serve()
        });
        let gateway = before(&backend, "");
        let mut client = client(&gateway, "back");
        let mut data = client.begin("RETR a");
        let end = data.read_to_end(&mut Vec::new());
        let error = end.expect_err("an end that looks complete");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        assert_eq!(client.read().text, format!("{last}\r\n"));
        client.expect("CWD /x", 250);
    }
}

#[test]
fn a_reset_download_fails_whatever_the_reply() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("RETR")?;
        peer.reply("150 here it comes")?;
        let mut data = peer.data()?;
        data.write_all(b"a part")?;
        peer.reply("226 that was all")?;
        SockRef::from(&data).set_linger(Some(Duration::ZERO))?;
        drop(data);
        peer.answer("ABOR", "225 nothing to abort");
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    let (_, reply) = download(&mut client, "RETR a");
    assert_eq!(reply.code, 426, "{}", reply.text);
    client.expect("CWD /x", 250);
}

#[test]
fn a_control_connection_lost_during_a_transfer_ends_the_session() {
    for upload in [false, true] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.until(if upload { "STOR" } else { "RETR" })?;
            peer.reply("150 go")?;
            let mut data = peer.data()?;
            peer.close_control();
            if upload {
                data.read_to_end(&mut Vec::new()).map(drop)
            } else {
                data.write_all(b"all of it, as it seems")
            }
        });
        let gateway = before(&backend, "");
        let mut client = client(&gateway, "back");
        let reply = if upload {
            client.upload("STOR a", b"all of it")
        } else {
            download(&mut client, "RETR a").1
        };
        assert_eq!(reply.code, 421, "{}", reply.text);
        assert!(client.at_end());
    }
}

/// A server that refuses the rest of an upload.
#[test]
fn an_upload_that_the_server_ends_early_fails_and_both_sides_stay_in_sync() {
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        peer.answer("CWD", "250 in step");
        peer.answer("ABOR", "225 nothing to abort");
        peer.until("STOR")?;
        peer.reply("150 send it")?;
        let mut data = peer.data()?;
        data.read_exact(&mut [0; 1000])?;
        drop(data);
        peer.reply("552 no room for more than that")?;
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    let tcp = client.passive();
    client.expect("STOR a", 150);
    let mut data = client.data(tcp);
    // The gateway resets it at some point.
    while data.write_all(&[7; 10_000]).is_ok() {}
    assert_eq!(client.read().text, "552 no room for more than that\r\n");
    assert!(client.expect("CWD /x", 250).text.contains("in step"));
}

/// A server that sends no reply after the reset of its data connection.
#[test]
fn abor_is_sent_if_a_reset_is_not_answered() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("CWD", "250 in step");
        peer.answer("FEAT", "211-\r\n MLST type*;size*;\r\n SIZE\r\n211 end");
        peer.answer("MLST", "550 no such file");
        peer.until("STOR")?;
        peer.answer("MLST", "250-\r\n type=file;size=0; /a\r\n250 end");
        peer.answer("SIZE", "213 0");
        peer.reply("150 send it")?;
        let data = peer.data()?;
        peer.until("ABOR")?;
        drop(data);
        peer.reply("426 cut\r\n226 ABOR done")?;
        peer.serve()
    });
    let gateway = before(&backend, ", partial_uploads: delete");
    let mut client = client(&gateway, "back");
    let tcp = client.passive();
    client.expect("STOR a", 150);
    let data = client.data(tcp);
    SockRef::from(data.socket()).set_linger(Some(Duration::ZERO)).expect("zero linger");
    drop(data);
    assert_eq!(client.read().code, 426);
    backend.assert_saw("DELE /a");
    assert!(client.expect("CWD /x", 250).text.contains("in step"));
}
