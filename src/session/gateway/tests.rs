//! Refused logins: the log has the reason, clients get the same message each time.

use std::sync::Mutex;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, SaltString};
use async_trait::async_trait;
use prometheus::Registry;
use russh::keys::PublicKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::*;
use crate::auth::{
    AuthorizedKeys, Credentials, GuardSettings, LoginGuard, PasswordHash, PresentedKey, User,
    UserTable,
};
use crate::backend::{
    BackendSession, Home, Listing, Login, OpenFile, Origin, ReadTransfer, WriteTransfer,
};
use crate::net::{Drain, Endpoints};
use crate::op::{
    Abilities, Answer, Entry, EntryKind, Fault, ListDirectory, OpenHandle, Operation, PeerReply,
    ReadFile, RemotePath, WriteFile,
};
use crate::route::{
    Access, Account, Backends, Match, Root, RootSetting, Route, RouteBackend, Target, UserFolder,
};
use crate::session::{Proof, Session};

mod hook;
mod methods;
mod rewrites;
mod session_limits;
mod user_at_backend;
mod user_roots;

/// A backend that never answers a login.
struct Silent;

#[async_trait]
impl Backend for Silent {
    async fn login(&self, _: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        std::future::pending().await
    }
}

/// A backend that takes the password and never answers.
struct Undecided;

#[async_trait]
impl Backend for Undecided {
    async fn login(&self, login: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        if let Login::Unverified(credentials) = login {
            credentials.sent.set();
        }
        std::future::pending().await
    }
}

/// A backend that accepts every login, and answers requests about a folder as the test configures.
#[derive(Clone, Default)]
struct Answering {
    enter: Option<FailureKind>,
    stat: Option<Result<EntryKind, FailureKind>>,
    requests: Arc<Mutex<Vec<String>>>,
    home: Option<RemotePath>,
    rooted: Arc<Mutex<Option<bool>>>,
    /// Who logged in.
    logins: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Backend for Answering {
    async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        let user = |it: &Credentials| String::from_utf8_lossy(&it.user).into_owned();
        self.logins.lock().unwrap().push(match login {
            Login::Unverified(credentials) => format!("client's {}", user(credentials)),
            Login::Authenticated(Some(account)) => format!("gateway's {}", user(account)),
            Login::Authenticated(None) => "none".into(),
        });
        if matches!(login, Login::Unverified(it) if &**it.password == b"wrong") {
            let reply = PeerReply { code: 530, lines: vec![b"Go away".to_vec()] };
            return Err(Failure::backend(FailureKind::LoginRefused, "Go away").with_peer(reply));
        }
        *self.rooted.lock().unwrap() = Some(origin.rooted);
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl BackendSession for Answering {
    fn home(&self) -> Home {
        self.home.clone().map_or(Home::Unknown, Home::At)
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        let operation = target.action();
        self.requests.lock().unwrap().push(operation.to_string());
        let failure = |kind| Failure::backend(kind, format!("{operation}: {kind:?}"));
        match operation {
            Operation::Enter(_) => {
                self.enter.map_or(Ok(Answer::Done(None)), |kind| Err(failure(kind)))
            }
            Operation::Stat(_) => match self.stat.clone().unwrap() {
                Ok(kind) => Ok(Answer::Entry(Entry::new("x", kind))),
                Err(kind) => Err(failure(kind)),
            },
            Operation::LinkStat(_) | Operation::Symlink { .. } => Ok(Answer::Done(None)),
            other => panic!("{other}"),
        }
    }

    async fn list(&self, _: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        panic!("a login lists nothing")
    }

    async fn open_read(&self, _: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        panic!("a login reads nothing")
    }

    async fn open_write(&self, _: &Target<WriteFile>) -> Result<Box<dyn WriteTransfer>, Failure> {
        panic!("a login writes nothing")
    }

    async fn open(&self, _: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        panic!("a login opens nothing")
    }

    async fn close(&self) {
        self.requests.lock().unwrap().push("close".into());
    }
}

fn hash(passes: u32) -> String {
    let params = argon2::Params::new(8192, passes, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(Default::default(), Default::default(), params);
    let salt = SaltString::encode_b64(b"lockgate-test").unwrap();
    argon2.hash_password(b"open sesame", &salt).unwrap().to_string()
}

/// A gateway that knows `alice`, with one route.
fn gateway(access: Access) -> Gateway {
    gateway_with(access, AuthorizedKeys::default())
}

fn gateway_with(access: Access, keys: AuthorizedKeys) -> Gateway {
    let password_hash = Some(Arc::new(PasswordHash::parse(&hash(1)).unwrap()));
    let alice = User { password_hash, keys, ..User::default() };
    let route = Route {
        matches: Match::default(),
        backends: Backends::One(RouteBackend { name: "files".into(), access }),
        root: RootSetting::Same(Root::Path(RemotePath::root())),
        rewrites: Vec::new(),
        required: Default::default(),
        greeting: None,
    };
    Gateway {
        guard: LoginGuard::new(GuardSettings::default(), &Registry::new()).unwrap(),
        passwords: Arc::new(PasswordCheck::new(UserTable::new(HashMap::from([(
            b"alice".to_vec(),
            alice,
        )])))),
        login_hooks: Default::default(),
        routes: RouteTable(vec![route]),
        backends: HashMap::from([("files".to_owned(), Arc::new(Silent) as Arc<dyn Backend>)]),
        key_trust: HashMap::new(),
        policy: None,
        policy_limits: Default::default(),
        expected: Default::default(),
        limits: Limits::default(),
        metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
        audit: Default::default(),
    }
}

fn client_info() -> ClientInfo {
    ClientInfo::new(
        "front",
        "ftp",
        Endpoints { peer: "127.0.0.1:1".parse().unwrap(), local: "127.0.0.1:21".parse().unwrap() },
        &Drain::new(),
    )
}

/// Logs in with a password, within this time.
async fn log_in_within(
    within: Duration,
    gateway: &Gateway,
    user: &[u8],
    password: &str,
) -> Result<Session, Failure> {
    let password = Zeroizing::new(password.as_bytes().to_vec());
    let proof = Proof::password(user.to_vec(), password.into());
    gateway.login(&client_info(), proof, Instant::now() + within).await
}

async fn log_in(gateway: &Gateway, user: &str, password: &str) -> Result<Session, Failure> {
    log_in_within(Duration::from_secs(60), gateway, user.as_bytes(), password).await
}

async fn refusal(gateway: &Gateway, user: &str, password: &str, within: Duration) -> Failure {
    log_in_within(within, gateway, user.as_bytes(), password).await.err().unwrap()
}

#[tokio::test]
async fn a_login_timeout_is_the_fault_of_the_gateway_or_the_backend_it_waited_for() {
    let own = gateway(Access::of_users(Account::None));
    let failure = refusal(&own, "alice", "open sesame", Duration::ZERO).await;
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Gateway));
    assert!(failure.detail.unwrap().contains("no backend was involved"));
    let other = gateway(Access::Backend);
    let late = refusal(&other, "bob", "open sesame", Duration::ZERO).await;
    assert_eq!((late.kind, late.fault), (FailureKind::Unavailable, Fault::Backend));
    assert!(late.detail.unwrap().contains("\"files\""));
    assert_eq!(failure.message, late.message);
}

/// Servers accept at once and refuse late: who hangs up in between has guessed.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_while_its_password_is_checked_has_guessed() {
    for (has_password, backend) in
        [(true, Arc::new(Undecided) as Arc<dyn Backend>), (false, Arc::new(Silent))]
    {
        let mut gateway = gateway(Access::Backend);
        gateway.backends.insert("files".to_owned(), backend);
        for _ in 0..10 {
            let login = log_in(&gateway, "bob", "guess");
            assert!(tokio::time::timeout(Duration::from_secs(10), login).await.is_err());
        }
        let delay = gateway.guard.delay(client_info().peer.ip(), b"bob");
        assert_eq!(delay > Duration::ZERO, has_password);
    }
}

#[tokio::test(start_paused = true)]
async fn the_delay_of_a_login_is_not_in_its_measured_time() {
    let mut gateway = gateway(Access::Backend);
    gateway.backends.insert("files".to_owned(), Arc::new(Answering::default()));
    for _ in 0..10 {
        gateway.guard.login_refused("192.0.2.1".parse().unwrap(), Some(b"bob"));
    }
    let began = Instant::now();
    log_in(&gateway, "bob", "x").await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(4));
    assert_eq!(gateway.metrics.logins("front", "ftp", "password", "ok"), 1);
    let seconds = gateway.metrics.login_seconds("ftp", "ok");
    assert!(seconds < 1.0, "{seconds}");
}

#[tokio::test]
async fn a_user_of_the_gateway_is_refused_where_only_a_backend_route_matches() {
    let gateway = gateway(Access::Backend);
    for password in ["open sesame", "the backend's"] {
        let failure = refusal(&gateway, "alice", password, Duration::from_secs(60)).await;
        assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
        assert_eq!(failure.message, "login incorrect");
        let detail = failure.detail.unwrap();
        assert!(detail.contains("`users`") && detail.contains("authenticate: backend"), "{detail}");
    }
}

#[tokio::test]
async fn a_refused_key_is_recorded_with_the_reason() {
    let key = |seed| PublicKey::from(Ed25519Keypair::from_seed(&[seed; 32]).public);
    let (own, other) = (key(1), key(2));
    let keys = |options: &str| {
        AuthorizedKeys::parse(&format!("{options} {}", own.to_openssh().unwrap())).unwrap()
    };
    let detail = async |access, options: &str, user: &str, key: &PublicKey| {
        let gateway = gateway_with(access, keys(options));
        let judged = gateway.admits_offer(&client_info(), user.as_bytes(), key).await;
        judged.map_err(|failure| {
            assert_eq!(failure.message, "login incorrect");
            let key = PresentedKey::Key(key.clone());
            gateway.key_refused(&client_info(), user.as_bytes(), key, &failure);
            assert_eq!(gateway.metrics.logins("front", "ftp", "publickey", "key-refused"), 1);
            failure.detail.unwrap()
        })
    };
    assert_eq!(detail(Access::of_users(Account::None), "", "alice", &own).await, Ok(()));
    for (access, options, user, key, expected) in [
        (Access::of_users(Account::None), "", "bob", &own, "unknown user"),
        (
            Access::of_users(Account::None),
            "",
            "alice",
            &other,
            "none of the user's authorized_keys",
        ),
        (Access::of_users(Account::None), "from=\"192.0.2.1\"", "alice", &own, "from="),
        (
            Access::of_users(Account::None),
            "expiry-time=\"20200101\"",
            "alice",
            &own,
            "expiry-time=",
        ),
        (Access::of_users(Account::PassThrough), "", "alice", &own, "cannot be passed through"),
        (Access::Backend, "", "bob", &own, "accepts no public keys"),
        (Access::Backend, "", "alice", &own, "`users`"),
    ] {
        let detail = detail(access, options, user, key).await.unwrap_err();
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
}

fn root_setting(root: &str) -> RootSetting {
    if root == "home" {
        return RootSetting::Same(Root::Home);
    }
    let path = RemotePath::resolve(&RemotePath::root(), root.as_bytes()).unwrap();
    match UserFolder::new(path.clone()) {
        Some(folder) => RootSetting::EachUser(folder),
        None => RootSetting::Same(Root::Path(path)),
    }
}

/// Logs in below `root`; also returns the requests to the backend.
async fn log_in_below(root: &str, backend: Answering) -> (Result<Session, Failure>, Vec<String>) {
    log_in_as(b"bob", root, backend).await
}

/// As [`log_in_below`], as this user.
async fn log_in_as(
    user: &[u8],
    root: &str,
    backend: Answering,
) -> (Result<Session, Failure>, Vec<String>) {
    let mut gateway = gateway(Access::Backend);
    gateway.routes.0[0].root = root_setting(root);
    let requests = backend.requests.clone();
    gateway.backends.insert("files".into(), Arc::new(backend));
    let outcome = log_in_within(Duration::from_secs(60), &gateway, user, "x").await;
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    (outcome, requests)
}

#[tokio::test]
async fn a_login_is_refused_where_the_root_is_not_a_folder() {
    use FailureKind::{NotADirectory, NotFound};
    for (enter, stat, expected, count) in [
        (NotFound, Some(Err(NotFound)), "/srv/acme does not exist at backend \"files\"", 2),
        (NotFound, Some(Err(NotADirectory)), "/srv/acme is not a folder", 2),
        (NotFound, Some(Ok(EntryKind::File)), "/srv/acme is not a folder", 2),
        (NotADirectory, None, "/srv/acme is not a folder at backend \"files\"", 1),
    ] {
        let backend = Answering { enter: Some(enter), stat, ..Answering::default() };
        let (outcome, requests) = log_in_below("/srv/acme", backend).await;
        let failure = outcome.err().unwrap();
        assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Gateway));
        assert!(!failure.message.contains("acme"), "{failure}");
        assert!(failure.message.contains("your folder does not exist at the server"), "{failure}");
        let detail = failure.detail.unwrap();
        assert!(detail.contains(expected) && detail.contains("routes[0].root"), "{detail}");
        assert_eq!(requests.len(), count + 1, "{requests:?}");
        assert_eq!(requests.last().unwrap(), "close");
    }
}

#[tokio::test]
async fn a_root_that_the_account_may_not_see_is_accepted() {
    use FailureKind::{Internal, InvalidArgument, NotFound, PermissionDenied, Unsupported};
    for (enter, stat) in [
        (None, None),
        (Some(PermissionDenied), None),
        (Some(Unsupported), None),
        (Some(InvalidArgument), None),
        (Some(Internal), None),
        // As vsftpd reports a folder that may not be entered.
        (Some(NotFound), Some(Ok(EntryKind::Directory))),
        (Some(NotFound), Some(Err(PermissionDenied))),
        (Some(NotFound), Some(Err(Unsupported))),
    ] {
        let backend = Answering { enter, stat: stat.clone(), ..Answering::default() };
        let (outcome, requests) = log_in_below("/srv/acme", backend).await;
        assert!(outcome.is_ok(), "{enter:?} {stat:?}");
        assert_eq!(requests.len(), 1 + usize::from(stat.is_some()), "{requests:?}");
    }
    // Without a root nothing is checked.
    let (outcome, requests) = log_in_below("/", Answering::default()).await;
    assert!(outcome.is_ok() && requests.is_empty());
    // A lost backend fails the login.
    let backend = Answering { enter: Some(FailureKind::Unavailable), ..Answering::default() };
    let failure = log_in_below("/srv/acme", backend).await.0.err().unwrap();
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Backend));
}

#[tokio::test]
async fn root_home_is_the_home_directory_and_is_not_checked() {
    let home = |text: &str| RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap();
    for (reported, file) in [
        (Some(home("/home/bob")), "link-stat /home/bob/x"),
        (Some(home("/")), "link-stat /x"),
        (None, "link-stat /x"),
    ] {
        let answering = Answering { home: reported, ..Answering::default() };
        let requests = answering.requests.clone();
        let (outcome, at_login) = log_in_below("home", answering).await;
        let session = outcome.ok().unwrap();
        assert!(at_login.is_empty(), "{at_login:?}");
        assert!(session.home().is_root());
        let _ = session.perform(Operation::LinkStat(home("/x"))).await;
        let _ = session.perform(Operation::LinkStat(home("/../../x"))).await;
        assert_eq!(*requests.lock().unwrap(), [file, file]);
    }
}

/// The client must not see folders above its home directory, as above any root.
#[tokio::test]
async fn root_home_hides_what_is_above_an_unknown_home_directory() {
    let link = RemotePath::resolve(&RemotePath::root(), b"/link").unwrap();
    let symlink = |target: &str| Operation::Symlink { target: target.into(), link: link.clone() };
    for (root, target, kind) in [
        ("home", "x", Some(FailureKind::PermissionDenied)),
        ("home", "/x", Some(FailureKind::PermissionDenied)),
        ("/", "/x", Some(FailureKind::Unsupported)),
        ("/", "x", None),
    ] {
        let (outcome, _) = log_in_below(root, Answering::default()).await;
        let session = outcome.ok().unwrap();
        let refused = session.perform(symlink(target)).await.err();
        assert_eq!(refused.map(|failure| failure.kind), kind, "{root} {target}");
    }
}

#[tokio::test]
async fn the_origin_is_rooted_if_a_root_is_configured() {
    for (root, rooted) in
        [("/srv/acme", true), ("/srv/{user}", true), ("/", false), ("home", false)]
    {
        let answering = Answering::default();
        let received = answering.rooted.clone();
        let (outcome, _) = log_in_below(root, answering).await;
        outcome.ok().unwrap();
        assert_eq!(*received.lock().unwrap(), Some(rooted), "{root}");
    }
}

/// Operators who log warnings only must see it.
#[tokio::test]
async fn a_missing_root_is_logged_as_a_warning() {
    let lines: Arc<Mutex<Vec<u8>>> = Arc::default();
    let written = lines.clone();
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || Lines(written.clone()))
        .finish();
    let log_in = async || {
        let missing = FailureKind::NotFound;
        let backend =
            Answering { enter: Some(missing), stat: Some(Err(missing)), ..Answering::default() };
        log_in_below("/srv/acme", backend).await.0.err().unwrap();
    };
    let _log = tracing::subscriber::set_default(log);
    // If the event is first used by another test, on a thread without a subscriber, it stays disabled
    // until the interest in it is asked for again.
    log_in().await;
    tracing::callsite::rebuild_interest_cache();
    lines.lock().unwrap().clear();
    log_in().await;
    let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    for expected in ["WARN", "event=\"login\"", "backend=\"files\"", "/srv/acme", "routes[0].root"]
    {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
}
