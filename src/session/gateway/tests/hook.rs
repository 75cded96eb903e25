//! `authenticate: http`: what an answer of the login hook changes, and what it cannot.

use super::*;
use crate::auth::hook::scripted::{Scripted, ok};
use crate::auth::{KeyTrust, RevokedFile};
use crate::policy::limits::Limits as PolicyLimits;
use crate::route::Authenticator;
use crate::session::LoginHooks;

/// The backends "files", "stock" and "folder", which record their logins.
struct Hooked {
    gateway: Gateway,
    backends: HashMap<&'static str, Answering>,
    scripted: Scripted,
}

/// A gateway whose route asks a hook with this answer; `root` is the route's.
async fn hooked(answer: &str, root: &str) -> Hooked {
    let scripted = Scripted::start(answer).await;
    let by = Authenticator::Hook("directory".into());
    let mut gateway = gateway(Access::Gateway { by, account: Account::PassThrough });
    gateway.routes.0[0].root = root_setting(root);
    let backends: HashMap<_, _> =
        ["files", "stock", "folder"].map(|name| (name, Answering::default())).into();
    for (name, backend) in &backends {
        gateway.backends.insert((*name).to_owned(), Arc::new(backend.clone()));
    }
    let (user, password) = (b"svc".to_vec(), Zeroizing::new(b"secret".to_vec()));
    let account = Account::Mapped(Credentials {
        user,
        password,
        account: None,
        sent: Default::default(),
        key: None,
    });
    gateway.login_hooks = LoginHooks {
        hooks: HashMap::from([("directory".to_owned(), scripted.hook())]),
        accounts: HashMap::from([
            ("files".to_owned(), Account::PassThrough),
            ("stock".to_owned(), account),
            ("folder".to_owned(), Account::None),
        ]),
    };
    Hooked { gateway, backends, scripted }
}

impl Hooked {
    /// The logins at all backends.
    fn logins(&self) -> Vec<String> {
        let logins = self.backends.iter().flat_map(|(name, backend)| {
            let logins = std::mem::take(&mut *backend.logins.lock().unwrap());
            logins.into_iter().map(move |login| format!("{name}: {login}"))
        });
        logins.collect()
    }
}

/// A hook may still list a key that the listener's `revoked_keys` has.
#[tokio::test]
async fn a_revoked_key_is_not_for_the_hook_to_accept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let [revoked, other] =
        [1, 2].map(|seed| PublicKey::from(Ed25519Keypair::from_seed(&[seed; 32]).public));
    std::fs::write(&path, revoked.to_openssh().unwrap()).unwrap();
    let mut hooked = hooked(&ok("{\"allow\": true, \"backend\": \"folder\"}"), "/").await;
    let trust = KeyTrust { revoked: vec![RevokedFile::new(path).into()], ..KeyTrust::NONE };
    hooked.gateway.key_trust.insert("front".to_owned(), trust);
    let proof =
        |key: &PublicKey| Proof::public_key(b"bob".to_vec(), PresentedKey::Key(key.clone()));
    let soon = || Instant::now() + Duration::from_secs(60);
    let gateway = &hooked.gateway;
    let refusal = gateway.login(&client_info(), proof(&revoked), soon()).await.err().unwrap();
    assert_eq!(refusal.kind, FailureKind::LoginRefused);
    assert!(refusal.detail.unwrap().contains("revoked"));
    let offered = PresentedKey::Key(revoked.clone());
    assert!(gateway.admits_key(&client_info(), b"bob", &offered).await.is_err());
    assert!(gateway.login(&client_info(), proof(&other), soon()).await.is_ok());
}

#[tokio::test]
async fn an_answer_says_who_the_user_is_and_where_the_login_leads() {
    for (answer, user, login, folder) in [
        ("", "bob", "files: client's bob", "/p/bob"),
        (", \"user\": \"bob\"", "bob", "files: client's bob", "/p/bob"),
        (", \"user\": \"acme\"", "acme", "files: client's acme", "/p/acme"),
        (", \"root\": \"/srv/{user}\"", "bob", "files: client's bob", "/srv/bob"),
        (", \"root\": \"/srv\", \"user\": \"acme\"", "acme", "files: client's acme", "/srv"),
        (", \"backend\": \"files\"", "bob", "files: client's bob", "/p/bob"),
        (", \"backend\": \"stock\"", "bob", "stock: gateway's svc", "/p/bob"),
        (", \"backend\": \"folder\"", "bob", "folder: none", "/p/bob"),
        (
            ", \"account\": {\"user\": \"own\", \"password\": \"x\"}",
            "bob",
            "files: gateway's own",
            "/p/bob",
        ),
        (
            ", \"account\": {\"user\": \"own\", \"password\": \"x\"}, \"backend\": \"stock\"",
            "bob",
            "stock: gateway's own",
            "/p/bob",
        ),
    ] {
        let answer = ok(&format!("{{\"allow\": true, \"groups\": [\"staff\"]{answer}}}"));
        let mut hooked = hooked(&answer, "/p/{user}").await;
        let session = log_in(&hooked.gateway, "bob", "x").await.expect(&answer);
        assert_eq!(hooked.logins(), [login], "{answer}");
        let info = &session.core.info;
        assert_eq!(info.user(), user.as_bytes());
        assert_eq!(info.backend(), login.split(':').next().unwrap());
        assert_eq!(info.established.get().unwrap().groups, ["staff"]);
        let subject = info.subject().account.unwrap();
        assert_eq!((subject.checked_by, subject.hook), (Some("hook"), Some("directory")));
        assert_eq!(subject.login_name, (user != "bob").then_some(&b"bob"[..]));
        let _ = session.perform(Operation::LinkStat(RemotePath::root())).await;
        let requests = hooked.backends[info.backend()].requests.lock().unwrap().clone();
        assert_eq!(requests.last().unwrap(), &format!("link-stat {folder}"), "{answer}");
        let [question] = &hooked.scripted.questions()[..] else { panic!("asked again") };
        assert_eq!((&question["user"], &question["password"]), (&"bob".into(), &"x".into()));
        let asked = ["stage", "method", "listener", "protocol", "source", "backend"];
        let asked = asked.map(|key| question[key].as_str().unwrap());
        assert_eq!(asked, ["login", "password", "front", "ftp", "127.0.0.1", "files"]);
    }
}

/// Such an answer lets nobody in, and is nobody's guess.
#[tokio::test]
async fn an_answer_that_does_not_fit_the_configuration_is_no_answer() {
    for (answer, why) in [
        ("\"user\": \"alice\"", "one of the gateway's `users`"),
        ("\"user\": \"../acme\"", "contains a slash"),
        ("\"user\": \"..\"", "\"..\""),
        ("\"user\": \"a\\\\b\"", "backslash"),
        ("\"backend\": \"nowhere\"", "none of the `backends`"),
        ("\"backend\": \"10.1.2.3:21\"", "none of the `backends`"),
        ("\"root\": \"srv\"", "absolute"),
        ("\"root\": \"/srv/../etc\"", "must not contain"),
        ("\"root\": \"/srv/{group}\"", "only `{user}`"),
        (
            "\"backend\": \"folder\", \"account\": {\"user\": \"a\", \"password\": \"b\"}",
            "is a folder",
        ),
    ] {
        let hooked = hooked(&ok(&format!("{{\"allow\": true, {answer}}}")), "/p/{user}").await;
        let failure = log_in(&hooked.gateway, "bob", "x").await.err().expect(answer);
        assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Gateway));
        assert_eq!(failure.message, "the login cannot be checked at present; try again later");
        assert!(failure.outage.is_none());
        let detail = failure.detail.unwrap();
        assert!(detail.contains(why) && detail.contains("login_hooks.directory"), "{detail}");
        assert!(hooked.logins().is_empty());
    }
}

#[tokio::test]
async fn a_refusal_is_a_failed_login_and_a_broken_hook_is_not() {
    let refused = hooked(&ok("{\"allow\": false, \"reason\": \"has left\\n\"}"), "/").await;
    let failure = log_in(&refused.gateway, "bob", "x").await.err().unwrap();
    assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
    assert_eq!(failure.message, "login incorrect");
    let detail = failure.detail.unwrap();
    assert!(detail.ends_with("\"directory\" refuses the login: has left\\n"), "{detail}");
    for answer in ["HTTP/1.1 500 No\r\n\r\n", "", "HTTP/1.1 302 No\r\nLocation: /\r\n\r\n"] {
        let broken = hooked(answer, "/").await;
        let failure = log_in(&broken.gateway, "bob", "x").await.err().unwrap();
        assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Gateway));
        assert!(refused.logins().is_empty() && broken.logins().is_empty());
    }
}

/// A name of `users` is the gateway's to check, and names that JSON cannot carry are nobody's.
#[tokio::test]
async fn some_names_never_reach_the_hook() {
    let mut hooked = hooked(&ok("{\"allow\": true}"), "/").await;
    for (name, why) in [
        (&b"alice"[..], "`users`"),
        (b"", "empty"),
        (b"bob\n", "control character"),
        (b"b\xf6b", "UTF-8"),
    ] {
        let within = Duration::from_secs(60);
        let login = log_in_within(within, &hooked.gateway, name, "open sesame").await;
        let failure = login.err().unwrap();
        assert_eq!(failure.kind, FailureKind::LoginRefused);
        assert_eq!(failure.message, "login incorrect");
        assert!(failure.detail.unwrap().contains(why));
    }
    assert_eq!(hooked.scripted.asked(), 0);
}

/// Wherever `{user}` is in the route or in the answer.
#[tokio::test]
async fn a_clients_name_that_is_no_folder_is_refused() {
    for (answer, root) in
        [("{\"allow\": true}", "/p/{user}"), ("{\"allow\": true, \"root\": \"/{user}\"}", "/")]
    {
        let hooked = hooked(&ok(answer), root).await;
        let failure = log_in(&hooked.gateway, "../x", "x").await.err().unwrap();
        assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
        assert!(failure.detail.unwrap().contains("contains a slash"));
        assert!(hooked.logins().is_empty());
    }
}

/// A password that names one backend never reaches another.
#[tokio::test]
async fn an_answer_does_not_replace_the_backend_that_the_client_named() {
    for (answer, expected) in [
        ("{\"allow\": true, \"backend\": \"stock\"}", None),
        ("{\"allow\": true, \"backend\": \"files\"}", Some("files: client's bob")),
    ] {
        let mut hooked = hooked(&ok(answer), "/").await;
        let route = &mut hooked.gateway.routes.0[0];
        let Backends::One(files) = &route.backends else { panic!("several") };
        let access = || Access::Gateway {
            by: Authenticator::Hook("directory".into()),
            account: Account::PassThrough,
        };
        let named = RouteBackend { name: files.name.clone(), access: access() };
        route.backends = Backends::Named(vec![named]);
        let login = log_in(&hooked.gateway, "bob@files", "x").await;
        assert_eq!(hooked.logins(), expected.into_iter().collect::<Vec<_>>());
        let kind = login.err().map(|failure| failure.kind);
        assert_eq!(kind, expected.is_none().then_some(FailureKind::Unavailable));
        let [question] = &hooked.scripted.questions()[..] else { panic!("not asked") };
        assert_eq!((&question["user"], &question["backend"]), (&"bob".into(), &"files".into()));
    }
}

#[tokio::test]
async fn the_limits_of_an_answer_are_shared_by_the_users_sessions() {
    let mut hooked = hooked(&ok("{\"allow\": true, \"limits\": {\"sessions\": 1}}"), "/").await;
    hooked.gateway.policy_limits = PolicyLimits::default();
    let first = log_in(&hooked.gateway, "bob", "x").await.ok().unwrap();
    let failure = log_in(&hooked.gateway, "bob", "x").await.err().unwrap();
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Policy));
    let detail = failure.detail.unwrap();
    assert!(detail.contains("\"login hook directory\" (`limits` of its answer)"), "{detail}");
    assert!(log_in(&hooked.gateway, "carol", "x").await.is_ok());
    drop(first);
    assert!(log_in(&hooked.gateway, "bob", "x").await.is_ok());
}

/// `check` cannot know of such an answer.
#[tokio::test]
async fn an_answer_leads_to_an_opaque_server_only_by_ftp_and_without_a_root() {
    struct Opaque(Answering);
    #[async_trait]
    impl Backend for Opaque {
        async fn login(
            &self,
            login: &Login,
            origin: Origin,
        ) -> Result<Box<dyn BackendSession>, Failure> {
            self.0.login(login, origin).await
        }

        fn is_opaque(&self) -> bool {
            true
        }
    }
    for (answered, protocol, refused) in [
        ("", "ftp", None),
        ("", "ftps", None),
        ("", "sftp", Some("SFTP cannot name its files")),
        (", \"root\": \"/x\"", "ftp", Some("there is no `root`")),
        (", \"root\": \"home\"", "ftp", Some("there is no `root`")),
    ] {
        let answer = ok(&format!("{{\"allow\": true, \"backend\": \"stock\"{answered}}}"));
        let mut hooked = hooked(&answer, "/").await;
        let stock = hooked.backends["stock"].clone();
        hooked.gateway.backends.insert("stock".into(), Arc::new(Opaque(stock)));
        let client = ClientInfo { protocol, ..client_info() };
        let proof = Proof::password(b"bob".to_vec(), Zeroizing::new(b"x".to_vec()).into());
        let deadline = Instant::now() + Duration::from_secs(60);
        let outcome = hooked.gateway.login(&client, proof, deadline).await;
        assert_eq!(hooked.logins().len(), usize::from(refused.is_none()), "{answer}");
        match (outcome, refused) {
            (Ok(_), None) => {}
            (Err(failure), Some(why)) => {
                assert_eq!(
                    (failure.kind, failure.fault),
                    (FailureKind::Unavailable, Fault::Gateway)
                );
                assert!(failure.detail.unwrap().contains(why));
            }
            (outcome, _) => panic!("{answer}: {:?}", outcome.err()),
        }
    }
}

/// Only its user knows such an account: others can still log in.
#[tokio::test]
async fn a_refused_account_of_an_answer_is_no_outage() {
    struct Refusing;
    #[async_trait]
    impl Backend for Refusing {
        async fn login(&self, _: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
            Err(Failure::backend(FailureKind::LoginRefused, "530 Go away"))
        }
    }
    let account = "{\"allow\": true, \"account\": {\"user\": \"own\", \"password\": \"x\"}}";
    for (answer, is_outage) in
        [(account, false), ("{\"allow\": true, \"backend\": \"stock\"}", true)]
    {
        let mut hooked = hooked(&ok(answer), "/").await;
        for name in ["files", "stock"] {
            hooked.gateway.backends.insert(name.into(), Arc::new(Refusing));
        }
        let failure = log_in(&hooked.gateway, "bob", "x").await.err().unwrap();
        assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Backend));
        assert_eq!(failure.outage.is_some(), is_outage);
        assert!(!failure.message.contains("Go away"));
        assert!(failure.detail.unwrap().contains("530 Go away"));
    }
}

#[tokio::test]
async fn a_key_is_asked_about_at_its_offer_and_again_when_the_client_has_signed() {
    let key = PublicKey::from(Ed25519Keypair::from_seed(&[1; 32]).public);
    let kept = "{\"allow\": true, \"backend\": \"stock\", \"cache_for\": 60}";
    let mut hooked = hooked(&ok(kept), "/").await;
    hooked.gateway.admits_offer(&client_info(), b"bob", &key).await.unwrap();
    assert!(hooked.logins().is_empty(), "an offer logged in");
    let proof = Proof::public_key(b"bob".to_vec(), PresentedKey::Key(key.clone()));
    let deadline = Instant::now() + Duration::from_secs(60);
    hooked.gateway.login(&client_info(), proof, deadline).await.ok().unwrap();
    assert_eq!(hooked.logins(), ["stock: gateway's svc"]);
    let questions = hooked.scripted.questions();
    let stages: Vec<_> = questions.iter().map(|question| question["stage"].as_str()).collect();
    assert_eq!(stages, [Some("offer"), Some("login")]);
    let line = key.to_openssh().unwrap();
    for question in questions {
        assert_eq!(question["public_key"], line.trim());
        assert_eq!(question["password"], serde_json::Value::Null);
    }
}

/// A key cannot be passed on: the answer must lead to an account.
#[tokio::test]
async fn a_key_needs_an_account_at_the_backend() {
    let key = PublicKey::from(Ed25519Keypair::from_seed(&[1; 32]).public);
    let through = hooked(&ok("{\"allow\": true}"), "/").await;
    let failure = through.gateway.admits_offer(&client_info(), b"bob", &key).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::LoginRefused);
    assert!(failure.detail.unwrap().contains("cannot be passed through"));
    let proof = Proof::public_key(b"bob".to_vec(), PresentedKey::Key(key));
    let deadline = Instant::now() + Duration::from_secs(60);
    let failure = through.gateway.login(&client_info(), proof, deadline).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::LoginRefused);
    assert!(through.logins().is_empty());
}

#[tokio::test]
async fn a_login_that_waits_for_the_hook_ends_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut hooked = hooked("", "/").await;
    let silent = Scripted::at(&listener.local_addr().unwrap().to_string());
    hooked.gateway.login_hooks.hooks.insert("directory".into(), silent.hook());
    let failure = refusal(&hooked.gateway, "bob", "x", Duration::from_millis(50)).await;
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Gateway));
    assert!(failure.detail.unwrap().contains("login hook"));
    assert!(hooked.logins().is_empty());
}
