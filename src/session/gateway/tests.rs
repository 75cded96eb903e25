//! What the log is told of logins that are refused; clients are told the same words each time.

use std::time::Duration;

use argon2::password_hash::{PasswordHasher, SaltString};
use async_trait::async_trait;
use prometheus::Registry;
use russh::keys::ssh_key::private::Ed25519Keypair;
use tokio::time::Instant;

use super::*;
use crate::auth::{AuthorizedKeys, User, UserTable};
use crate::backend::BackendSession;
use crate::op::RemotePath;
use crate::route::Match;

/// Lets nobody in, ever.
struct Silent;

#[async_trait]
impl Backend for Silent {
    async fn login(&self, _: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        std::future::pending().await
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
    let alice = User { password_hash: Some(hash(1)), groups: vec![], keys };
    let route = Route {
        matches: Match::default(),
        access,
        backend: "files".into(),
        root: RemotePath::root(),
    };
    Gateway {
        passwords: PasswordCheck::new(UserTable::new(HashMap::from([(b"alice".to_vec(), alice)]))),
        routes: RouteTable(vec![route]),
        backends: HashMap::from([("files".to_owned(), Arc::new(Silent) as Arc<dyn Backend>)]),
        limits: Limits::default(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
    }
}

fn door() -> Door {
    Door {
        listener: "front".into(),
        protocol: "ftp",
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:21".parse().unwrap(),
        session: 1,
        end: Default::default(),
        encryption: Default::default(),
        client: Default::default(),
    }
}

async fn refusal(gateway: &Gateway, user: &str, password: &str, within: Duration) -> Failure {
    let proof = Proof::Password(Credentials {
        user: user.into(),
        password: password.as_bytes().to_vec().into(),
        account: None,
        key: None,
    });
    gateway.login(&door(), proof, Instant::now() + within).await.err().unwrap()
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_the_fault_of_where_it_was() {
    let own = gateway(Access::GatewayOnly);
    let failure = refusal(&own, "alice", "open sesame", Duration::ZERO).await;
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Gateway));
    assert!(failure.detail.unwrap().contains("no backend was asked"));
    let other = gateway(Access::Backend);
    let late = refusal(&other, "bob", "open sesame", Duration::ZERO).await;
    assert_eq!((late.kind, late.fault), (FailureKind::Unavailable, Fault::Backend));
    assert!(late.detail.unwrap().contains("\"files\""));
    assert_eq!(failure.message, late.message);
}

#[tokio::test]
async fn one_of_the_gateways_users_whom_only_a_backends_check_would_take() {
    let gateway = gateway(Access::Backend);
    for password in ["open sesame", "the backend's"] {
        let failure = refusal(&gateway, "alice", password, Duration::from_secs(60)).await;
        assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
        assert_eq!(failure.message, "login incorrect");
        let detail = failure.detail.unwrap();
        assert!(detail.contains("`users`") && detail.contains("authenticate: backend"), "{detail}");
    }
}

#[test]
fn a_key_that_is_refused_is_told_with_the_reason() {
    let key = |seed| PublicKey::from(Ed25519Keypair::from_seed(&[seed; 32]).public);
    let (own, other) = (key(1), key(2));
    let keys = |options: &str| {
        AuthorizedKeys::parse(&format!("{options} {}", own.to_openssh().unwrap())).unwrap()
    };
    let detail = |access, options: &str, user: &str, key: &PublicKey| {
        let gateway = gateway_with(access, keys(options));
        let judged = gateway.admits_key(&door(), user.as_bytes(), key);
        judged.map_err(|failure| {
            assert_eq!(failure.message, "login incorrect");
            gateway.key_refused(&door(), user.as_bytes(), key, &failure);
            let labels = ["front", "key-refused"];
            assert_eq!(gateway.metrics.logins.with_label_values(&labels).get(), 1);
            failure.detail.unwrap()
        })
    };
    assert_eq!(detail(Access::GatewayOnly, "", "alice", &own), Ok(()));
    for (access, options, user, key, words) in [
        (Access::GatewayOnly, "", "bob", &own, "unknown user"),
        (Access::GatewayOnly, "", "alice", &other, "none of the user's authorized_keys"),
        (Access::GatewayOnly, "from=\"192.0.2.1\"", "alice", &own, "from="),
        (Access::GatewayOnly, "expiry-time=\"20200101\"", "alice", &own, "expiry-time="),
        (Access::GatewayPassThrough, "", "alice", &own, "cannot be passed through"),
        (Access::Backend, "", "bob", &own, "leaves the check to its backend"),
        (Access::Backend, "", "alice", &own, "`users`"),
    ] {
        let told = detail(access, options, user, key).unwrap_err();
        assert!(told.contains(words), "{words}: {told}");
    }
}
