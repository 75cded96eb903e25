//! The tables of sessions and of the status, with names that clients choose.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::explain::ListenerKind;
use super::session_json;
use super::sessions_table::sessions_table;
use super::status::{self, Snapshot, status_text};
use crate::backend::group::ServerView;
use crate::data::{PoolView, PortView};
use crate::expected::{ExpectedView, State};
use crate::net::{Drain, Endpoints};
use crate::op::Direction;
use crate::policy::Protocol;
use crate::session::{ClientInfo, LiveAccount, LiveSession, RunningView};

fn live() -> Arc<LiveSession> {
    let peer = "192.0.2.1:4711".parse().unwrap();
    ClientInfo::new("public", "ftp", Endpoints { peer, local: peer }, &Drain::new()).live
}

#[test]
fn a_table_has_a_line_for_each_session_and_for_each_transfer() {
    let transfer = |direction: &str, path: &str, bytes: u64| {
        json!({
            "operation": "x", "direction": direction, "path": path, "bytes": bytes, "rate": bytes / 10,
            "seconds": 10,
        })
    };
    let session = |number: u64, state: &str, user: Option<&str>, logged_in: bool| {
        json!({
            "session": number, "listener": "public", "protocol": "ftps", "state": state,
            "client": { "address": "192.0.2.1" }, "user": user, "logged_in": logged_in,
            "backend": user.map(|_| json!({ "name": "stock" })), "seconds": 3723,
            "idle_seconds": 59, "upload_rate": 2048, "download_rate": 0,
        })
    };
    let mut busy = session(12, "transferring", Some("alice"), true);
    busy["idle_seconds"] = json!(null);
    busy["transfers"] =
        json!([transfer("upload", "/in/a", 1 << 21), transfer("download", "/out/b", 10)]);
    busy["transfers_running"] = json!(25);
    busy["operations"] = json!([{ "operation": "rename", "path": "/a", "to": "/b", "seconds": 3 }]);
    busy["operations_running"] = json!(1);
    let mut hostile = session(13, "ending", Some("<b>\u{1b}[2J\nx\u{202e}"), true);
    hostile["transfers"] = json!([transfer("upload", "/\n\u{1b}]0;x\u{7}/<script>", 1)]);
    hostile["transfers_running"] = json!(1);
    let mut ending = session(14, "ending", Some(&"long".repeat(100)), true);
    ending["ending"] = json!("an operator ended the session");
    let answer = json!({
        "sessions": [
            session(7, "idle", Some("bob"), true),
            session(8, "before-login", Some("mallory"), false),
            session(9, "before-login", None, false),
            busy, hostile, ending,
        ],
        "open": 8, "sessions_max": 10_000,
    });
    insta::assert_snapshot!(sessions_table(&answer), @r#"
    6 shown of 8 open sessions, at most 10000 (limits.sessions); up 12.0 KiB/s, down 0 B/s

    ID  LISTENER  PROTOCOL  CLIENT     USER                                       BACKEND  FOR    STATE         DOING
    7   public    ftps      192.0.2.1  bob                                        stock    1h 2m  idle 59s
    8   public    ftps      192.0.2.1  mallory ?                                  stock    1h 2m  before-login
    9   public    ftps      192.0.2.1  -                                          -        1h 2m  before-login
    12  public    ftps      192.0.2.1  alice                                      stock    1h 2m  transferring  upload /in/a  2.0 MiB, 204.7 KiB/s
                                                                                                                download /out/b  10 B, 1 B/s
                                                                                                                rename /a to /b  3s
                                                                                                                and 23 more
    13  public    ftps      192.0.2.1  <b>\u{1b}[2J\nx\u{202e}                    stock    1h 2m  ending        upload /\n\u{1b}]0;x\u{7}/<script>  1 B, 0 B/s
    14  public    ftps      192.0.2.1  longlonglonglonglonglonglonglonglonglong…  stock    1h 2m  ending        ending: an operator ended the session
    "#);
}

#[test]
fn a_table_of_several_processes_names_them_and_who_does_not_answer() {
    let session = |number: u64, process: u32| {
        json!({
            "session": number, "process": process, "listener": "public", "protocol": "ftps",
            "client": { "address": "192.0.2.1" }, "user": "bob", "logged_in": true, "state": "busy",
        })
    };
    let answer = json!({
        "sessions": [session(7, 4100), session(20_000, 4242)],
        "open": 19, "sessions_max": 10_000,
        "processes_before": [
            { "process": 4000, "sessions": 17, "error": "it has said nothing for 5 s" },
            { "process": 4100, "sessions": 1, "error": null },
        ],
    });
    insta::assert_snapshot!(sessions_table(&answer), @r"
    2 shown of 19 open sessions: 1 in this process, at most 10000 (limits.sessions), and 18 in those before it; up 0 B/s, down 0 B/s
    process 4000 before this one (sessions: 17) does not answer: it has said nothing for 5 s

    ID     PROCESS  LISTENER  PROTOCOL  CLIENT     USER  BACKEND  FOR  STATE  DOING
    7      4100     public    ftps      192.0.2.1  bob   -        0s   busy
    20000  4242     public    ftps      192.0.2.1  bob   -        0s   busy
    ");
}

#[test]
fn every_field_of_a_session_is_documented() {
    let docs = include_str!("../../docs/sessions.md");
    let running = RunningView {
        operation: "write",
        path: b"/a".to_vec(),
        to: Some(b"/b".to_vec()),
        direction: Some(Direction::Upload),
        size: None,
        since: SystemTime::UNIX_EPOCH,
        duration: Duration::from_secs(1),
        bytes: 1,
        bytes_read: 0,
        rate: 1,
    };
    let mut view = live().view();
    view.account = Some(LiveAccount::default());
    view.transfers = vec![running.clone()];
    view.operations = vec![running];
    let shown = session_json::session(&view);
    for fields in [&shown, &shown["transfers"][0], &shown["operations"][0]] {
        for name in fields.as_object().unwrap().keys() {
            assert!(docs.contains(&format!("`{name}`")), "docs/sessions.md lacks `{name}`");
        }
    }
}

#[test]
fn a_table_of_rubbish_is_a_table() {
    let answers = [json!({}), json!({ "sessions": [{}, 1, null] }), json!({ "sessions": {} })];
    for answer in answers {
        let text = sessions_table(&answer);
        assert!(text.contains("/s\n\nID  LISTENER  "), "{text}");
    }
    assert!(status_text(&json!({ "sessions": 1, "listeners": [1] })).starts_with("lockgate ?"));
}

#[test]
fn the_status_sums_up_the_gateway() {
    let at = SystemTime::UNIX_EPOCH;
    let drain = Drain::new();
    drain.announce();
    let addresses = ["0.0.0.0:21", "[::]:21"];
    let addresses = addresses.map(|address| ("public".to_owned(), address.parse().unwrap()));
    let server = ServerView {
        name: "a".into(),
        addresses: Vec::new(),
        up: true,
        since: at,
        checked: true,
        drained: false,
        sessions: 0,
        sessions_max: None,
        last_error: None,
    };
    let servers = [
        ServerView { up: false, ..server.clone() },
        ServerView { drained: true, ..server.clone() },
        server,
    ];
    let port = |reserved, active| PortView { reserved, active, ..PortView::default() };
    let pool = PoolView {
        pool: "p".into(),
        queued: 1,
        fullness: 0.5,
        ports: vec![port(2, 1), port(0, 3)],
    };
    let sessions = [live(), live()].map(|session| session.view());
    let listeners =
        [("public", Protocol::Ftp), ("other", Protocol::Sftp)].map(|(name, protocol)| {
            ListenerKind { name: name.into(), protocol, can_encrypt: false, must_encrypt: false }
        });
    let expected = [State::Overdue, State::Waiting, State::Overdue].map(|state| ExpectedView {
        name: "a".into(),
        state,
        at_least: 1,
        arrived: 0,
        start: Timestamp::UNIX_EPOCH,
        due: Timestamp::UNIX_EPOCH,
        zone: TimeZone::UTC,
        last: None,
    });
    let mut answer = status::json(&Snapshot {
        started: at,
        file: Some(Path::new("/etc/lock\ngate.yaml")),
        in_force_since: at + Duration::from_secs(60),
        addresses: &addresses,
        drain: &drain,
        listeners: &listeners,
        sessions: &sessions,
        sessions_max: 100,
        pools: &[pool],
        servers: &servers,
        bans: 4,
        expected: &expected,
        before: &[],
    });
    assert_eq!(answer["process"], std::process::id());
    for varying in ["process", "seconds"] {
        answer[varying] = json!(7);
    }
    answer["version"] = json!("1.2.3");
    insta::assert_snapshot!(status_text(&answer), @r#"
    lockgate 1.2.3, process 7, since 1970-01-01T00:00:00Z (7s)
    drain: the drain begins; sessions: 0
    configuration: /etc/lock\ngate.yaml, in force since 1970-01-01T00:01:00Z
    sessions: 2 of at most 100 (limits.sessions): 2 before-login
    transfers: 0; up 0 B/s, down 0 B/s
    backend servers: 1 up, 1 down, 1 drained
    banned addresses: 4
    expected files: 2 overdue, 1 waiting

    LISTENER  PROTOCOL  SESSIONS  ADDRESSES
    public    ftp       2         0.0.0.0:21, [::]:21
    other     sftp      0

    DATA PORTS  PORTS  RESERVED  ACTIVE  WAITING  FULL
    p           2      2         4       1        50 %
    "#);
    assert_eq!(answer["sessions"]["states"]["before-login"], 2);
}
