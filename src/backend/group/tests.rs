//! Groups of scripted servers: who gets a login, and what a failure does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::*;
use crate::auth::Credentials;
use crate::backend::local::{self, LocalBackend};
use crate::backend::{PartialUploads, Presented};
use crate::op::Fault;

/// A server that answers logins and checks as the test says.
struct Scripted {
    answer: Mutex<Answer>,
    logins: AtomicUsize,
    checks: AtomicUsize,
    folder: LocalBackend,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Accepts,
    RefusesLogin,
    RefusesAccount,
    Busy,
    Unreachable,
    Hangs,
}

fn failure(answer: Answer) -> Failure {
    let unavailable = |outage| Failure::backend(FailureKind::Unavailable, "x").with_outage(outage);
    match answer {
        Answer::RefusesLogin => Failure::new(FailureKind::LoginRefused, Fault::Backend, "530"),
        Answer::RefusesAccount => unavailable(Outage::AccountRefused),
        Answer::Busy => unavailable(Outage::UnexpectedAnswer),
        _ => unavailable(Outage::Unreachable),
    }
}

impl Scripted {
    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    async fn answer(&self) -> Result<(), Failure> {
        let answer = *self.answer.lock().unwrap();
        match answer {
            Answer::Accepts => Ok(()),
            Answer::Hangs => std::future::pending().await,
            refusal => Err(failure(refusal)),
        }
    }
}

#[async_trait]
impl Backend for Scripted {
    async fn login(&self, _: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        self.logins.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        self.folder.login(&Login::Authenticated(None), Origin::ANY).await
    }

    async fn greet(&self) -> Result<Presented, Failure> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.answer().await.map(|()| Presented::default())
    }
}

struct Fixture {
    group: Group,
    scripted: Vec<Arc<Scripted>>,
    servers: Vec<Arc<Server>>,
}

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Three servers, checked every second.
fn group(choice: Choice) -> Fixture {
    let second = Duration::from_secs(1);
    group_with(choice, Some(Checks { every: second, timeout: second, login: None }))
}

fn group_with(choice: Choice, checks: Option<Checks>) -> Fixture {
    let metrics = GroupMetrics::register(&Registry::new()).unwrap();
    let (mut scripted, mut servers) = (Vec::new(), Vec::new());
    for name in NAMES {
        let backend = Arc::new(Scripted {
            answer: Mutex::new(Answer::Accepts),
            logins: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            folder: LocalBackend::open(&local::Settings {
                folder: std::env::temp_dir(),
                partial_uploads: PartialUploads::Keep,
            })
            .unwrap(),
        });
        let settings =
            ServerSettings { name: name.into(), sessions_max: Some(100), checks: checks.clone() };
        servers.push(Arc::new(Server::new(settings, backend.clone(), &metrics)));
        scripted.push(backend);
    }
    let names = NAMES.map(String::from).to_vec();
    let settings = Settings { name: "stock".into(), servers: names, choice };
    Fixture { group: Group::new(settings, servers.clone()), scripted, servers }
}

impl Fixture {
    async fn log_in(&self, user: &str) -> Result<Box<dyn BackendSession>, Failure> {
        let login = Login::Unverified(Credentials {
            user: user.into(),
            password: Zeroizing::default(),
            account: None,
            sent: Default::default(),
            key: None,
        });
        self.group.login_as(user.as_bytes(), &login, Origin::ANY).await
    }

    /// The server that a login of this user got.
    async fn server_of(&self, user: &str) -> usize {
        let before = self.logins();
        self.log_in(user).await.unwrap();
        let after = self.logins();
        (0..3).rfind(|n| before[*n] != after[*n]).unwrap()
    }

    fn logins(&self) -> Vec<usize> {
        self.scripted.iter().map(|it| it.logins.load(Ordering::Relaxed)).collect()
    }
}

#[tokio::test]
async fn the_next_server_is_tried_only_where_one_cannot_be_used() {
    for (answer, tried) in [
        (Answer::Accepts, vec![1, 0, 0]),
        (Answer::Busy, vec![1, 1, 0]),
        (Answer::Unreachable, vec![1, 1, 0]),
        (Answer::RefusesLogin, vec![1, 0, 0]),
        (Answer::RefusesAccount, vec![1, 0, 0]),
    ] {
        let fixture = group(Choice::Failover);
        fixture.scripted[0].set(answer);
        let accepted = fixture.log_in("alice").await.is_ok();
        assert_eq!(accepted, tried[0] + tried[1] == 2 || answer == Answer::Accepts, "{answer:?}");
        assert_eq!(fixture.logins(), tried, "{answer:?}");
    }
}

#[tokio::test]
async fn a_broken_server_gets_no_further_login_and_the_reason_is_told_where_none_is_left() {
    let fixture = group(Choice::Failover);
    fixture.scripted.iter().for_each(|it| it.set(Answer::Unreachable));
    let first = fixture.log_in("alice").await.err().unwrap();
    assert_eq!((first.kind, fixture.logins()), (FailureKind::Unavailable, vec![1, 1, 1]));
    fixture.servers.iter().for_each(|server| server.state().checked(true));
    let second = fixture.log_in("alice").await.err().unwrap();
    assert_eq!((second.kind, fixture.logins()), (FailureKind::Unavailable, vec![1, 1, 1]));
    let detail = second.detail.unwrap();
    assert!(NAMES.iter().all(|name| detail.contains(&format!("{name} is down"))), "{detail}");
}

#[tokio::test]
async fn where_none_is_left_a_server_that_passes_its_checks_is_tried() {
    let fixture = group(Choice::Failover);
    fixture.scripted.iter().for_each(|it| it.set(Answer::Unreachable));
    assert!(fixture.log_in("alice").await.is_err());
    assert_eq!(fixture.logins(), [1, 1, 1]);
    fixture.servers[0].state().checked(true);
    // One of those for each login, in turns.
    for expected in [[1, 2, 1], [1, 2, 2], [1, 3, 2]] {
        assert!(fixture.log_in("alice").await.is_err());
        assert_eq!(fixture.logins(), expected);
    }
    fixture.servers[1].set_drained(true);
    fixture.scripted[2].set(Answer::Accepts);
    assert!(fixture.log_in("alice").await.is_ok());
    assert_eq!(fixture.logins(), [1, 3, 3]);
    assert!(!fixture.servers[2].is_available(), "checks bring it back");
}

/// Logins that wait for the last server while it answers another one too late.
#[tokio::test]
async fn a_login_that_another_one_has_ended_is_tried_again_at_the_last_server() {
    let fixture = group(Choice::Failover);
    for server in &fixture.servers[1..] {
        server.set_drained(true);
    }
    fixture.scripted[0].set(Answer::Hangs);
    let waiting = fixture.log_in("alice");
    let late = async {
        fixture.scripted[0].set(Answer::Accepts);
        fixture.servers[0].note_failure(&failure(Answer::Unreachable));
    };
    let (waiting, ()) = tokio::join!(biased; waiting, late);
    assert!(waiting.is_ok());
    assert_eq!(fixture.logins(), [2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_passes_its_checks_again_gets_logins_again() {
    let fixture = group(Choice::Failover);
    fixture.scripted[0].set(Answer::Unreachable);
    let stop = CancellationToken::new();
    Servers::new(fixture.servers.clone()).check_until(&stop);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!fixture.servers[0].is_available());
    assert_eq!(fixture.server_of("alice").await, 1);
    assert_eq!(fixture.logins()[0], 0, "health found it before a login did");
    // The back-off is measured in real time: see the tests of the state.
    assert!(fixture.scripted[0].checks.load(Ordering::Relaxed) > 0);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_server_without_health_is_checked_only_while_it_is_down() {
    let fixture = group_with(Choice::Failover, None);
    let (one, scripted) = (&fixture.servers[0], &fixture.scripted[0]);
    for server in &fixture.servers[1..] {
        server.set_drained(true);
    }
    let stop = CancellationToken::new();
    Servers::new(fixture.servers.clone()).check_until(&stop);
    let checks = || scripted.checks.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(checks(), 0);

    scripted.set(Answer::Unreachable);
    assert!(fixture.log_in("alice").await.is_err());
    assert_eq!(fixture.group.view().up, 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!((5..=6).contains(&checks()) && !one.state().is_up(), "{}", checks());
    scripted.set(Answer::Accepts);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(fixture.group.view().up, 1, "without a login");
    let until_up = checks();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(checks(), until_up);

    // A login is as good as a check.
    scripted.set(Answer::Unreachable);
    assert!(fixture.log_in("alice").await.is_err());
    scripted.set(Answer::Accepts);
    assert!(fixture.log_in("alice").await.is_ok());
    assert!(one.state().is_up());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(checks(), until_up);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_moves_on_when_the_server_is_found_to_be_down() {
    let fixture = group(Choice::Failover);
    fixture.scripted[0].set(Answer::Hangs);
    let stop = CancellationToken::new();
    Servers::new(fixture.servers.clone()).check_until(&stop);
    let session = tokio::time::timeout(Duration::from_secs(5), fixture.log_in("alice")).await;
    assert!(session.unwrap().is_ok());
    assert_eq!(fixture.logins(), [1, 1, 0]);
    stop.cancel();
}

#[tokio::test]
async fn sessions_are_spread_as_configured() {
    let fixture = group(Choice::RoundRobin);
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(fixture.server_of("alice").await);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);

    let fixture = group(Choice::LeastSessions);
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(fixture.log_in("alice").await.unwrap());
    }
    let counts: Vec<_> = fixture.servers.iter().map(|server| server.sessions()).collect();
    assert_eq!(counts, [2, 2, 2]);
    drop(sessions);
    assert!(fixture.servers.iter().all(|server| server.sessions() == 0));

    let fixture = group(Choice::User);
    let mut used = [0; 3];
    for n in 0..30 {
        let user = format!("user{n}");
        let first = fixture.server_of(&user).await;
        assert_eq!(fixture.server_of(&user).await, first);
        used[first] += 1;
    }
    assert!(used.iter().all(|users| *users > 3), "{used:?}");

    let fixture = group(Choice::Source);
    let first = fixture.server_of("alice").await;
    assert_eq!(fixture.server_of("bob").await, first, "the address is the same");
}

#[tokio::test]
async fn only_the_users_of_a_failed_server_move() {
    let fixture = group(Choice::User);
    let users: Vec<_> = (0..30).map(|n| format!("user{n}")).collect();
    let mut before = Vec::new();
    for user in &users {
        before.push(fixture.server_of(user).await);
    }
    fixture.scripted[1].set(Answer::Unreachable);
    for (user, before) in users.iter().zip(before) {
        let now = fixture.server_of(user).await;
        assert!(if before == 1 { now != 1 } else { now == before }, "{user}: {before}, {now}");
    }
}

#[tokio::test]
async fn an_interrupted_upload_leads_back_to_its_server() {
    let fixture = group(Choice::RoundRobin);
    let session = fixture.log_in("alice").await.unwrap();
    assert_eq!(fixture.logins(), [1, 0, 0]);
    session.resume_note().unwrap().upload_interrupted();
    for _ in 0..4 {
        assert_eq!(fixture.server_of("alice").await, 0);
    }
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(fixture.server_of("bob").await);
    }
    others.sort_unstable();
    assert_eq!(others, [0, 1, 2]);
    // Not if that server is away.
    fixture.servers[0].set_drained(true);
    assert_ne!(fixture.server_of("alice").await, 0);
}

#[tokio::test]
async fn a_drained_server_keeps_its_sessions_and_gets_no_new_ones() {
    let fixture = group(Choice::Failover);
    let session = fixture.log_in("alice").await.unwrap();
    let servers = Servers::new(fixture.servers.clone());
    let view = servers.set_drained("one", true).unwrap();
    assert!(view.drained && view.up);
    assert_eq!(view.sessions, 1);
    assert_eq!(fixture.server_of("alice").await, 1);
    drop(session);
    assert_eq!(servers.view()[0].sessions, 0);
    assert!(servers.set_drained("four", true).is_none());
    servers.set_drained("one", false);
    assert_eq!(fixture.server_of("alice").await, 0);
    NAMES.iter().for_each(|name| drop(servers.set_drained(name, true)));
    let detail = fixture.log_in("alice").await.err().unwrap().detail.unwrap();
    assert!(detail.contains("lockgate backends undrain three"), "{detail}");
}

#[tokio::test]
async fn a_server_with_all_its_sessions_is_passed_over() {
    let fixture = group(Choice::Failover);
    let mut sessions = Vec::new();
    for _ in 0..101 {
        sessions.push(fixture.log_in("alice").await.unwrap());
    }
    assert_eq!(fixture.logins(), [100, 1, 0]);
    sessions.remove(0);
    assert_eq!(fixture.server_of("alice").await, 0);
}

/// A server that was down, and is checked no more in the next configuration, is always tried.
#[tokio::test]
async fn a_server_goes_on_in_another_configuration_unless_it_has_moved() {
    let Fixture { scripted, .. } = group(Choice::Failover);
    let known = KnownServers::new(GroupMetrics::register(&Registry::new()).unwrap());
    let settings = |checks| ServerSettings { name: "one".into(), sessions_max: None, checks };
    let checks =
        Checks { every: Duration::from_secs(1), timeout: Duration::from_secs(1), login: None };
    let first = known.server(settings(Some(checks.clone())), scripted[0].clone(), None);
    let unreachable =
        Failure::backend(FailureKind::Unavailable, "").with_outage(Outage::Unreachable);
    first.note_failure(&unreachable);
    first.set_drained(true);
    assert!(!first.state().is_up());
    let same = known.server(settings(Some(checks)), scripted[0].clone(), Some(&first));
    assert!(!same.state().is_up() && same.is_drained());
    let unchecked = known.server(settings(None), scripted[0].clone(), Some(&same));
    unchecked.set_drained(false);
    assert!(unchecked.is_available());
    let login = Login::Authenticated(None);
    assert!(unchecked.login(&login, Origin::ANY).await.is_some_and(|session| session.is_ok()));
    // Without a server before it, or after a move, it is one that never failed.
    first.note_failure(&unreachable);
    assert!(known.server(settings(None), scripted[0].clone(), None).state().is_up());
}
