//! `metrics: { users, top_users }`.

use super::{start, text};
use crate::support::raw::Raw;
use crate::support::{USER, pattern};

#[test]
fn named_users_and_the_busiest_have_metrics_and_nobody_else() {
    let fixture = start(", users: [alice, \"never-here\"], top_users: 1");
    let sessions = |user: &str| format!("lockgate_user_sessions{{user=\"{user}\"}}");
    for user in ["alice", "never-here"] {
        fixture.expect(&sessions(user), 0);
        fixture.expect(&format!("lockgate_user_logins_total{{user=\"{user}\"}}"), 0);
    }
    let upload = |user: &str, bytes: usize| {
        let mut raw = fixture.ftp(user);
        assert_eq!(raw.upload(&format!("STOR {user}"), &pattern(bytes)).code, 226);
        raw
    };
    let _alice = upload("alice", 10);
    let bob = upload("bob", 2000);
    let _other = upload(USER, 1000);
    // Names that somebody tried get no series, whatever is in them.
    for name in ["mallory", "x\"} 1", "bob\\"] {
        let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
        raw.expect(&format!("USER {name}"), 331);
        raw.expect("PASS wrong", 530);
    }
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
    raw.expect("USER never-here", 331);
    raw.expect("PASS wrong", 530);
    fixture.expect(&sessions("alice"), 1);
    fixture.expect(&sessions("bob"), 1);
    let bytes = |user: &str| {
        format!("lockgate_user_transfer_bytes_total{{user=\"{user}\",direction=\"upload\"}}")
    };
    fixture.expect(&bytes("alice"), 10);
    fixture.expect(&bytes("bob"), 2000);
    fixture.expect("lockgate_user_transfers_total{user=\"bob\",outcome=\"ok\"}", 1);
    fixture.expect("lockgate_user_logins_total{user=\"never-here\",outcome=\"failed\"}", 1);
    let page = fixture.gateway.metrics_page();
    for absent in ["mallory", "bob\\", USER] {
        assert!(!page.contains(&format!("user=\"{absent}")), "{absent} in:\n{page}");
    }

    // Another user is busier now; the reload names the one that was.
    drop(bob);
    let _busier = upload(USER, 5000);
    fixture.expect(&bytes(USER), 6000);
    assert_eq!(fixture.gateway.metric(&sessions("bob")), None);
    let listeners = ["ftp", "ftps", "sftp"];
    fixture.apply(&text(&fixture.files, &fixture.pool, &listeners, ", users: bob, top_users: 1"));
    fixture.expect(&bytes("bob"), 2000);
    fixture.expect(&bytes(USER), 6000);
    assert_eq!(fixture.gateway.metric(&sessions("alice")), None);
    fixture.apply(&text(&fixture.files, &fixture.pool, &listeners, ""));
    assert!(!fixture.gateway.metrics_page().contains("lockgate_user_"));
}
