//! The limits of sessions and transfers, with paused time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Encoder, Registry, TextEncoder};
use tokio::time::{Instant, timeout};

use super::*;
use crate::data::Throttle;
use crate::op::{Direction, FailureKind, Fault};
use crate::policy::{Protocol, SessionConditions};

fn facts(user: &str) -> SessionFacts {
    SessionFacts {
        user: user.into(),
        groups: vec!["partners".into()],
        listener: "public".into(),
        backend: "warehouse".into(),
        protocol: Protocol::Ftp,
        encrypted: false,
        source: "192.0.2.1".parse().unwrap(),
    }
}

fn named(name: &str) -> Limit {
    Limit { name: name.into(), ..Limit::default() }
}

fn limits(all: impl IntoIterator<Item = Limit>) -> Limits {
    let metrics = LimitMetrics::register(&Registry::new()).unwrap();
    Limits::new(all.into_iter().collect(), Arc::default(), &metrics)
}

/// With a number of its own.
fn session(limits: &Limits, user: &str) -> SessionLimits {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    limits.open_session(&facts(user), NEXT.fetch_add(1, Ordering::Relaxed), None).unwrap()
}

fn download(session: &SessionLimits) -> (TransferPermit, Arc<dyn Throttle>) {
    let permit = session.transfer().unwrap();
    let throttle = permit.throttle(Direction::Download).unwrap();
    (permit, throttle)
}

async fn move_bytes(throttle: &dyn Throttle, mut bytes: usize) {
    while bytes > 0 {
        let chunk = throttle.chunk().min(bytes);
        throttle.count(chunk).unwrap();
        throttle.wait(chunk).await;
        bytes -= chunk;
    }
}

#[test]
fn without_a_limit_nothing_is_asked() {
    let other = SessionConditions { groups: Some(vec!["staff".into()]), ..Default::default() };
    let bandwidth = Limit { matches: other, bandwidth: Some(1), ..named("staff") };
    let upload = Limit { upload_bandwidth: Some(100_000), ..named("uploads") };
    let session = session(&limits([bandwidth, upload]), "a");
    let permit = session.transfer().unwrap();
    assert!(permit.throttle(Direction::Download).is_none());
    assert!(permit.throttle(Direction::Upload).is_some());
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_kept_and_shared_fairly() {
    const RATE: u64 = 10 << 20;
    let limits = limits([Limit { bandwidth: Some(RATE), ..named("partners") }]);
    let sessions = [session(&limits, "a"), session(&limits, "a")];
    let (_ftp, ftp) = download(&sessions[0]);
    let (_sftp, sftp) = download(&sessions[1]);
    let started = Instant::now();
    let until = started + Duration::from_secs(10);
    // One relay, and one file with many requests at a time.
    let relay = async {
        let mut moved = 0;
        while Instant::now() < until {
            let chunk = ftp.chunk();
            ftp.wait(chunk).await;
            moved += chunk as u64;
        }
        moved
    };
    let requests = async {
        let one = || async {
            let mut moved = 0;
            while Instant::now() < until {
                sftp.wait(32 * 1024).await;
                moved += 32 * 1024;
            }
            moved
        };
        futures_util::future::join_all((0..64).map(|_| one())).await.into_iter().sum::<u64>()
    };
    let (relay, requests) = tokio::join!(relay, requests);
    let (all, expected) = (relay + requests, 10 * RATE);
    // What was waited for at the end comes on top: a chunk, and a request each.
    assert!((expected..=expected + expected / 20).contains(&all), "{all} of {expected}");
    let half = all / 2;
    assert!(relay.abs_diff(half) < half / 10, "{relay} of {all}");
}

#[tokio::test(start_paused = true)]
async fn every_limit_applies_and_each_user_has_its_own() {
    let limits = limits([
        Limit { bandwidth: Some(4 << 20), ..named("user") },
        Limit { download_bandwidth: Some(1 << 20), per: Per::Session, ..named("session") },
    ]);
    let (one, other) = (session(&limits, "a"), session(&limits, "b"));
    let ((_a, a), (_b, b)) = (download(&one), download(&other));
    let started = Instant::now();
    tokio::join!(move_bytes(&*a, 4 << 20), move_bytes(&*b, 4 << 20));
    let took = started.elapsed();
    assert!((3800..=4100).contains(&took.as_millis()), "{took:?}: 1 MiB/s each");
    let upload = one.transfer().unwrap().throttle(Direction::Upload).unwrap();
    let started = Instant::now();
    move_bytes(&*upload, 16 << 20).await;
    let took = started.elapsed();
    assert!((3800..=4100).contains(&took.as_millis()), "{took:?}: 4 MiB/s");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_delays_nobody_else() {
    let limits = limits([Limit { bandwidth: Some(1 << 20), ..named("partners") }]);
    let sessions = [session(&limits, "a"), session(&limits, "a")];
    let ((_one, one), (_other, other)) = (download(&sessions[0]), download(&sessions[1]));
    assert!(timeout(Duration::from_millis(500), one.wait(100 << 20)).await.is_err());
    // One that is not polled any more does not hold the row up either.
    let mut stuck = one.wait(1 << 20);
    assert!(futures_util::poll!(&mut stuck).is_pending());
    let started = Instant::now();
    move_bytes(&*other, 1 << 20).await;
    assert!(started.elapsed() < Duration::from_millis(1200), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_large_request_of_a_slow_transfer_does_not_go_at_once() {
    let limits = limits([Limit { bandwidth: Some(16_000), ..named("partners") }]);
    let session = session(&limits, "a");
    let (_permit, throttle) = download(&session);
    let started = Instant::now();
    throttle.wait(48_768).await;
    let took = started.elapsed().as_millis();
    assert!((1950..=2050).contains(&took), "{took} ms: 32 KiB at once, then the rest");
}

#[test]
fn chunks_become_smaller_the_more_transfers_share_the_bandwidth() {
    let limits = limits([Limit { bandwidth: Some(8 << 20), ..named("partners") }]);
    let session = session(&limits, "a");
    let (_permit, throttle) = download(&session);
    assert_eq!(throttle.chunk(), (8 << 20) / 20);
    let others: Vec<_> = (0..9).map(|_| session.transfer().unwrap()).collect();
    assert_eq!(throttle.chunk(), (8 << 20) / 200);
    drop(others);
    assert_eq!(throttle.chunk(), (8 << 20) / 20);
}

#[test]
fn sessions_and_transfers_are_refused_above_their_number() {
    let limits = limits([
        named("all"),
        Limit { sessions: Some(2), transfers: Some(1), ..named("partners") },
    ]);
    let (first, _second) = (session(&limits, "a"), session(&limits, "a"));
    let refused = limits.open_session(&facts("a"), 3, None).err().unwrap();
    assert_eq!((refused.kind, refused.fault), (FailureKind::Unavailable, Fault::Policy));
    assert!(!refused.message.contains("partners"), "{refused}");
    let detail = refused.detail.unwrap();
    assert_eq!(detail, "limit \"partners\" (policy.limits) has sessions: 2, per user");
    let permit = first.transfer().unwrap();
    let refused = first.transfer().err().unwrap();
    assert_eq!((refused.kind, refused.fault), (FailureKind::Busy, Fault::Policy));
    assert!(refused.message.contains("limit \"partners\": 1"), "{refused}");
    assert!(session(&limits, "b").transfer().is_ok());
    drop(permit);
    assert!(first.transfer().is_ok());
    // A transfer that outlives the rest of its session still counts.
    let permit = first.transfer().unwrap();
    drop(first);
    assert!(limits.open_session(&facts("a"), 3, None).is_err());
    drop(permit);
    assert!(limits.open_session(&facts("a"), 3, None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn operations_wait_and_are_refused_only_if_others_make_them_wait_too_long() {
    let operations = Some(OperationRate { count: 10, period: OperationPeriod::Second });
    let limits = limits([Limit { operations, ..named("partners") }]);
    let one = session(&limits, "a");
    let started = Instant::now();
    for _ in 0..5 {
        one.operation().await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "a few at once");
    // Many of one session are not refused: they wait for each other.
    let many = futures_util::future::join_all((0..1000).map(|_| one.operation())).await;
    assert!(many.iter().all(Result::is_ok));
    let took = started.elapsed().as_millis();
    assert!((99_500..=100_600).contains(&took), "{took} ms");
    // 400 sessions at once need 40 seconds.
    let sessions: Vec<_> = (0..400).map(|_| session(&limits, "a")).collect();
    let all = futures_util::future::join_all(sessions.iter().map(|it| it.operation())).await;
    let refused: Vec<_> = all.into_iter().filter_map(Result::err).collect();
    assert!((90..=100).contains(&refused.len()), "{}", refused.len());
    assert_eq!((refused[0].kind, refused[0].fault), (FailureKind::Busy, Fault::Policy));
    assert!(refused[0].message.contains("limit \"partners\": 10/s"), "{}", refused[0]);
}

#[test]
fn daily_bytes_end_a_transfer_and_refuse_the_next() {
    let limits = limits([
        Limit { bytes_per_day: Some(1 << 20), ..named("outer") },
        Limit { bytes_per_day: Some(100 << 10), ..named("inner") },
    ]);
    let one = session(&limits, "a");
    let (permit, throttle) = download(&one);
    throttle.count(90 << 10).unwrap();
    let refused = throttle.count(11 << 10).unwrap_err();
    assert_eq!((refused.kind, refused.fault), (FailureKind::QuotaExceeded, Fault::Policy));
    assert!(refused.message.contains("limit \"inner\": 100KiB"), "{refused}");
    assert!(throttle.count(1).is_err(), "this transfer has ended");
    drop(permit);
    // What still fits does.
    let (_permit, throttle) = download(&one);
    throttle.count(10 << 10).unwrap();
    let refused = one.transfer().err().unwrap();
    assert_eq!(refused.kind, FailureKind::QuotaExceeded);
    // The outer limit counted no more than moved; uploads count, too.
    let lines = limits.explain(&facts("a"));
    assert!(lines[0].ends_with("today 100KiB, files 0"), "{lines:?}");
    let other = session(&limits, "b").transfer().unwrap();
    other.throttle(Direction::Upload).unwrap().count(100 << 10).unwrap();
    other.throttle(Direction::Download).unwrap().count(1).unwrap_err();
}

#[test]
fn daily_files_are_counted_unless_nothing_was_transferred() {
    let limits = limits([
        Limit { files_per_day: Some(10), ..named("outer") },
        Limit { files_per_day: Some(2), ..named("inner") },
    ]);
    let session = session(&limits, "a");
    session.transfer().unwrap().take_back_file();
    drop(session.transfer().unwrap());
    drop(session.transfer().unwrap());
    let refused = session.transfer().err().unwrap();
    assert_eq!((refused.kind, refused.fault), (FailureKind::QuotaExceeded, Fault::Policy));
    assert!(refused.message.contains("limit \"inner\": 2 files"), "{refused}");
    assert!(limits.explain(&facts("a"))[0].ends_with("today 0 bytes, files 2"));
}

#[test]
fn another_configuration_goes_on_with_the_counters() {
    let metrics = LimitMetrics::register(&Registry::new()).unwrap();
    let limit =
        |files| Limit { files_per_day: Some(files), sessions: Some(2), ..named("partners") };
    let before = Limits::new(vec![limit(1)], Arc::default(), &metrics);
    let open = session(&before, "a");
    drop(open.transfer().unwrap());
    let after = Limits::new(vec![limit(2), named("new")], before.counters().clone(), &metrics);
    let second = session(&after, "a");
    assert!(after.open_session(&facts("a"), 1, None).is_err(), "the session from before counts");
    assert!(second.transfer().is_ok(), "one more file");
    assert!(second.transfer().is_err());
    drop(open);
    assert!(after.open_session(&facts("a"), 1, None).is_ok());
}

#[test]
fn those_who_share_a_limit_are_as_configured() {
    let per = |per| Limit { sessions: Some(1), per, ..named(per.as_str()) };
    for (limit, shared) in [
        (per(Per::User), [false, true, true]),
        (per(Per::Listener), [true, false, true]),
        (per(Per::Backend), [true, true, false]),
        (per(Per::All), [true, true, true]),
        (per(Per::Session), [false, false, false]),
    ] {
        let limits = limits([limit.clone()]);
        let _first = limits.open_session(&facts("a"), 1, None).unwrap();
        let others = [
            facts("b"),
            SessionFacts { listener: "inside".into(), ..facts("a") },
            SessionFacts { backend: "other".into(), ..facts("a") },
        ];
        let refused = others.map(|facts| limits.open_session(&facts, 2, None).is_err());
        assert_eq!(refused, shared, "{}", limit.name);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_and_waits_are_counted_by_limit() {
    let registry = Registry::new();
    let metrics = LimitMetrics::register(&registry).unwrap();
    let limit = Limit { transfers: Some(1), bandwidth: Some(1 << 20), ..named("partners") };
    let limits = Limits::new(vec![limit], Arc::default(), &metrics);
    let session = session(&limits, "a");
    let (_permit, throttle) = download(&session);
    move_bytes(&*throttle, 2 << 20).await;
    assert!(session.transfer().is_err());
    let mut page = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    let refused = r#"lockgate_limit_refused_total{kind="transfers",limit="partners"} 1"#;
    assert!(page.contains(refused), "{page}");
    for other in ["sessions", "operations"] {
        assert!(!page.contains(&format!("kind=\"{other}\"")), "it has no such value: {page}");
    }
    let waited = r#"lockgate_limit_waited_seconds_total{kind="bandwidth",limit="partners"} "#;
    let waited = page.lines().find_map(|line| line.strip_prefix(waited)).unwrap();
    assert!((1.8..2.1).contains(&waited.parse::<f64>().unwrap()), "{waited}");
}

#[test]
fn explain_shows_the_limits_of_such_a_session() {
    let staff = SessionConditions { groups: Some(vec!["staff".into()]), ..Default::default() };
    let limits = limits([
        Limit { matches: staff, sessions: Some(1), ..named("staff") },
        Limit { bandwidth: Some(20 << 20), transfers: Some(4), ..named("partners") },
        Limit { files_per_day: Some(1000), per: Per::Listener, ..named("public") },
    ]);
    assert_eq!(
        limits.explain(&facts("a")),
        [
            "partners: bandwidth 20MiB/s, transfers 4, per user",
            "public: files_per_day 1000, per listener"
        ]
    );
    let session = session(&limits, "a");
    let _transfer = session.transfer().unwrap();
    assert_eq!(
        limits.explain(&facts("a")),
        [
            "partners: bandwidth 20MiB/s, transfers 4, per user; now sessions 1, transfers 1",
            "public: files_per_day 1000, per listener; now sessions 1, transfers 1; today 0 bytes, \
             files 1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_value_has_the_use_of_who_is_nearest_to_it() {
    let partners = Limit {
        sessions: Some(4),
        transfers: Some(2),
        bandwidth: Some(1 << 20),
        upload_bandwidth: Some(1 << 20),
        operations: Some(OperationRate { count: 60, period: OperationPeriod::Minute }),
        bytes_per_day: Some(10 << 20),
        files_per_day: Some(10),
        ..named("partners")
    };
    let limits = limits([partners, Limit { sessions: Some(9), per: Per::All, ..named("all") }]);
    let sessions = ["a", "b", "b"].map(|user| session(&limits, user));
    let (permit, throttle) = download(&sessions[0]);
    move_bytes(&*throttle, 3 << 20).await;
    let uses =
        || limits.uses().into_iter().map(|it| (it.kind, it.max, it.used)).collect::<Vec<_>>();
    let now = uses();
    let [bandwidth, rest @ ..] = &now[..] else { panic!() };
    assert_eq!((bandwidth.0, bandwidth.1), ("bandwidth", f64::from(1 << 20)));
    assert!((0.9..=1.0).contains(&(bandwidth.2 / bandwidth.1)), "{bandwidth:?}");
    let expected = [
        ("upload_bandwidth", f64::from(1 << 20), 0.0),
        ("sessions", 4.0, 2.0),
        ("transfers", 2.0, 1.0),
        ("operations", 1.0, 0.0),
        ("bytes_per_day", f64::from(10 << 20), f64::from(3 << 20)),
        ("files_per_day", 10.0, 1.0),
        ("sessions", 9.0, 3.0),
    ];
    assert_eq!(rest, expected);
    assert_eq!(limits.uses()[7].limit, "all");
    let nearest =
        |of: usize| limits.uses()[of].of.as_deref().map(String::from_utf8_lossy).map(String::from);
    let user = |name: &str| Some(format!("user {name}"));
    assert_eq!([nearest(2), nearest(3), nearest(7)], [user("b"), user("a"), None]);
    // What was used today outlives the sessions.
    drop((permit, throttle, sessions));
    let used: Vec<_> = uses().iter().map(|(_, _, used)| *used).collect();
    assert_eq!(used, [0.0, 0.0, 0.0, 0.0, 0.0, f64::from(3 << 20), 1.0, 0.0]);
    assert!(limits.values().iter().all(|it| it.used == 0.0));
}

#[test]
fn the_series_of_a_limit_go_on_with_its_name_and_end_with_it() {
    let registry = Registry::new();
    let metrics = LimitMetrics::register(&registry).unwrap();
    let limit = Limit { sessions: Some(1), bandwidth: Some(1 << 20), ..named("partners") };
    let before = Limits::new(vec![limit.clone()], Arc::default(), &metrics);
    let session = session(&before, "a");
    assert!(before.open_session(&facts("a"), 7, None).is_err());
    let page = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let refused = "lockgate_limit_refused_total{kind=\"sessions\",limit=\"partners\"} 1";
    let after = Limits::new(vec![limit], Arc::default(), &metrics);
    drop((before, session));
    metrics.forget_ended();
    assert!(page().contains(refused), "{}", page());
    drop(after);
    metrics.forget_ended();
    assert!(!page().contains("partners"), "{}", page());
}
