//! `user_at_backend`: the name before the `@` is the user, and the one after it one of the route's backends.

use super::*;

/// Routes by `user_at_backend` to `payroll`, `stock` and `example.com`, and one of other users to `rest`; all
/// record their logins.
fn by_name(access: fn() -> Access, root: &str) -> (Gateway, HashMap<&'static str, Answering>) {
    let names = ["payroll", "stock", "example.com"];
    let mut gateway = gateway(access());
    let route = &mut gateway.routes.0[0];
    let named = names.map(|name| RouteBackend { name: name.into(), access: access() });
    route.backends = Backends::Named(named.into());
    route.root = root_setting(root);
    gateway.routes.0.push(Route {
        matches: Match::default(),
        backends: Backends::One(RouteBackend { name: "rest".into(), access: Access::Backend }),
        root: root_setting("/"),
        rewrites: Vec::new(),
        required: Default::default(),
        greeting: None,
    });
    let backends: HashMap<_, _> =
        names.into_iter().chain(["rest"]).map(|name| (name, Answering::default())).collect();
    for (name, backend) in &backends {
        gateway.backends.insert((*name).to_owned(), Arc::new(backend.clone()));
    }
    (gateway, backends)
}

/// The logins at each backend that had some, sorted.
fn logins(backends: &HashMap<&'static str, Answering>) -> Vec<String> {
    let taken = |(name, backend): (&&str, &Answering)| {
        let logins = std::mem::take(&mut *backend.logins.lock().unwrap());
        (!logins.is_empty()).then(|| format!("{name}: {}", logins.join(", ")))
    };
    let mut all: Vec<_> = backends.iter().filter_map(taken).collect();
    all.sort();
    all
}

#[tokio::test]
async fn the_backend_gets_the_name_before_the_at_sign() {
    let (gateway, backends) = by_name(|| Access::Backend, "/p/{user}");
    for (name, expected, folder) in [
        ("bob@payroll", "payroll: client's bob", "/p/bob"),
        ("bob@stock", "stock: client's bob", "/p/bob"),
        ("bob@example.com@stock", "stock: client's bob@example.com", "/p/bob@example.com"),
        ("bob@example.com", "example.com: client's bob", "/p/bob"),
        ("bob@example.org", "rest: client's bob@example.org", "/"),
        ("bob", "rest: client's bob", "/"),
    ] {
        let session = log_in(&gateway, name, "x").await.ok().unwrap();
        assert_eq!(logins(&backends), [expected], "{name}");
        let user = expected.rsplit(' ').next().unwrap();
        assert_eq!(session.core.info.user(), user.as_bytes());
        assert_eq!(session.core.info.backend(), expected.split(':').next().unwrap());
        let _ = session.perform(Operation::LinkStat(RemotePath::root())).await;
        let requests =
            backends.values().flat_map(|it| std::mem::take(&mut *it.requests.lock().unwrap()));
        assert_eq!(requests.last().unwrap(), format!("link-stat {folder}"), "{name}");
    }
}

#[tokio::test]
async fn the_gateways_users_log_in_with_each_form_of_account() {
    let account = || {
        let password = b"secret".to_vec().into();
        Access::of_users(Account::Mapped(Credentials {
            user: "svc".into(),
            password,
            account: None,
            sent: Default::default(),
            key: None,
        }))
    };
    type MakeAccess = fn() -> Access;
    let cases: [(MakeAccess, &str); 3] = [
        (|| Access::of_users(Account::PassThrough), "stock: client's alice"),
        (account, "stock: gateway's svc"),
        (|| Access::of_users(Account::None), "stock: none"),
    ];
    for (access, expected) in cases {
        let (gateway, backends) = by_name(access, "/");
        assert!(log_in(&gateway, "alice@stock", "open sesame").await.is_ok());
        assert_eq!(logins(&backends), [expected]);
        for (name, password) in [("alice@stock", "wrong"), ("bob@stock", "open sesame")] {
            let failure = log_in(&gateway, name, password).await.err().unwrap();
            assert_eq!(failure.detail.unwrap(), "unknown user or wrong password", "{name}");
        }
        // Not through the route for other users either, in any form.
        for name in ["alice", "alice@stock@payroll"] {
            assert!(log_in(&gateway, name, "wrong").await.is_err(), "{name}");
        }
        assert!(logins(&backends).is_empty());
    }
}

/// A client learns neither the names of backends nor of users.
#[tokio::test]
async fn an_unknown_backend_is_refused_as_a_wrong_password_is() {
    let (mut gateway, backends) = by_name(|| Access::of_users(Account::None), "/");
    gateway.routes.0.pop();
    let mut texts = Vec::new();
    for (name, password, reason) in [
        ("alice@stock", "wrong", "unknown user or wrong password"),
        ("alice@stcok", "open sesame", "must end in `@` and one of: payroll, stock, example.com"),
        ("alice@files", "open sesame", "routes[0] (user_at_backend)"),
        ("alice@192.0.2.1", "open sesame", "routes[0] (user_at_backend)"),
        ("alice", "open sesame", "routes[0] (user_at_backend)"),
        ("@stock", "open sesame", "no route matches this user"),
    ] {
        let failure = log_in(&gateway, name, password).await.err().unwrap();
        assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
        assert!(failure.peer.is_none() && failure.status.is_none());
        texts.push(failure.message);
        let detail = failure.detail.unwrap();
        assert!(detail.contains(reason), "{name}: {detail}");
    }
    assert!(logins(&backends).is_empty());
    // A server's own text would tell that there is such a backend.
    let (gateway, _) = by_name(|| Access::Backend, "/");
    let failure = log_in(&gateway, "bob@stock", "wrong").await.err().unwrap();
    assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
    assert!(failure.peer.is_none() && failure.detail.unwrap().contains("refused it: Go away"));
    texts.push(failure.message);
    texts.dedup();
    assert_eq!(texts, ["login incorrect"]);
    let failure = log_in(&gateway, "bob", "wrong").await.err().unwrap();
    assert_eq!(failure.peer.unwrap().lines, [b"Go away"]);
}

#[tokio::test]
async fn a_user_of_the_gateway_never_reaches_a_backend_with_an_unchecked_password() {
    let (gateway, backends) = by_name(|| Access::Backend, "/");
    for name in ["alice@stock", "alice@payroll", "alice"] {
        for password in ["open sesame", "the backend's"] {
            let failure = log_in(&gateway, name, password).await.err().unwrap();
            let detail = failure.detail.unwrap();
            assert!(detail.contains("one of the gateway's `users`"), "{name}: {detail}");
        }
    }
    assert!(logins(&backends).is_empty());
}

#[tokio::test]
async fn a_public_key_is_that_of_the_user_before_the_at_sign() {
    let key = PublicKey::from(Ed25519Keypair::from_seed(&[1; 32]).public);
    let (mut gateway, _) = by_name(|| Access::of_users(Account::None), "/");
    let keys = AuthorizedKeys::parse(&key.to_openssh().unwrap()).unwrap();
    let alice = User { keys, ..User::default() };
    let users = UserTable::new(HashMap::from([(b"alice".to_vec(), alice)]));
    gateway.passwords = Arc::new(PasswordCheck::new(users));
    let admits =
        async |name: &str| gateway.admits_offer(&client_info(), name.as_bytes(), &key).await;
    assert!(admits("alice@stock").await.is_ok());
    for name in ["bob@stock", "alice@stock@payroll", "alice@files", "@stock"] {
        assert_eq!(admits(name).await.unwrap_err().message, "login incorrect", "{name}");
    }
}
