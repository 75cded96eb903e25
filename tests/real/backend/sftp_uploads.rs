//! Uploads through an FTP front to a real sshd with a full disk, and to a slow one.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use super::cuts::{POLICIES, payload};
use super::sftp_cuts::{descendants, sftp_backend};
use super::{client, gateway};
use crate::support::gateway::Gateway;
use crate::support::servers::{Server, private_sftp};
use crate::support::small_disk::SmallDisk;
use crate::support::wait::becomes_true;

const BEGIN: usize = 1 << 20;
/// Less than the gateway reads from a client without a reply of the server.
const SENT: usize = BEGIN + (768 << 10);

/// A gateway with its own sshd, and a backend for each policy.
fn backend_fixture() -> (Server, Gateway) {
    let server = private_sftp("sshd");
    let keys = |policy| format!("{}, partial_uploads: {policy}", sftp_backend(server.port()));
    let gateway = gateway(&POLICIES.map(|policy| (policy, keys(policy))));
    (server, gateway)
}

/// In bytes.
const DISK_SIZE: usize = 1 << 20;

#[test]
fn a_full_disk_is_reported() {
    let (server, gateway) = backend_fixture();
    let small = SmallDisk::mount(&server.home, DISK_SIZE);
    for policy in POLICIES {
        let mut client = client(&gateway, policy);
        let path = |name: &str| small.0.join(name).display().to_string();
        // Much more than the disk's size, and so little more that only the last write fails.
        for (name, length) in [("large", 3 << 20), ("last", DISK_SIZE + 1000)] {
            let tcp = client.begin(&format!("STOR {}", path(name)));
            let mut data = client.data(tcp);
            // The server closes the connection in the middle of the upload.
            let _ = data.write_all(&payload()[..length]).and_then(|()| data.finish());
            let reply = client.read();
            assert_eq!(reply.code, 452, "{policy} {name}: {}", reply.text);
            let left: Vec<_> = std::fs::read_dir(&small.0).expect("a folder").flatten().collect();
            assert_eq!(left.is_empty(), policy == "delete", "{policy}: {left:?}");
            for file in left {
                let part = std::fs::read(file.path()).expect("reading a part");
                assert!(!part.is_empty() && payload().starts_with(&part), "{policy} {name}");
                std::fs::remove_file(file.path()).expect("removing a part");
            }
        }
        let stored = client.upload(&format!("STOR {}", path("fits")), &payload()[..1000]);
        assert_eq!(stored.code, 226, "{policy}: {}", stored.text);
        std::fs::remove_file(path("fits")).expect("removing a file");
    }
}

/// The client disappears, reconnects at once and uploads a shorter file.
#[test]
fn an_upload_is_not_damaged_by_an_earlier_one() {
    let (server, gateway) = backend_fixture();
    for policy in ["keep", "delete"] {
        let path = server.home.join(format!("again-{policy}"));
        let command = format!("STOR {}", path.display());
        let mut first = client(&gateway, policy);
        let tcp = first.begin(&command);
        let mut data = first.data(tcp);
        data.write_all(&payload()[..BEGIN]).expect("sending");
        assert!(
            becomes_true(|| path.metadata().is_ok_and(|file| file.len() > 0)),
            "nothing arrives"
        );
        let sessions = descendants(server.id());
        for session in &sessions {
            kill_process(*session, Signal::STOP).expect("stopping a session of sshd");
        }
        data.write_all(&payload()[BEGIN..SENT]).expect("sending");
        while !first.expect("STAT", 213).text.contains(&format!(" {SENT} bytes")) {
            std::thread::sleep(crate::support::process::POLL);
        }
        first.vanish();
        let _ = data.finish();

        let mut second = client(&gateway, policy);
        let (sender, receiver) = channel();
        let again = std::thread::spawn(move || {
            let stored = second.upload(&command, &payload()[5..1005]);
            let _ = sender.send(());
            (stored, second)
        });
        // The server resumes whether the upload waits for that or not.
        let waited = receiver.recv_timeout(Duration::from_secs(2));
        for session in sessions {
            kill_process(session, Signal::CONT).expect("a session of sshd goes on");
        }
        let (stored, mut second) = again.join().expect("the second upload");
        assert_eq!(stored.code, 226, "{}", stored.text);
        let whole = || std::fs::read(&path).is_ok_and(|file| file == payload()[5..1005]);
        assert!(whole(), "{policy}: at 226");
        // The first session's writes are done.
        assert!(becomes_true(|| gateway.connections_to(server.port()) <= 1), "the first goes on");
        assert!(whole(), "{policy}: later");
        assert_eq!(waited, Err(RecvTimeoutError::Timeout), "it did not wait");
        second.expect("QUIT", 221);
        assert!(becomes_true(|| gateway.connections_to(server.port()) == 0), "the second goes on");
    }
}
