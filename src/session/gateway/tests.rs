//! What the log is told of logins that are refused; clients are told the same words each time.

use std::time::Duration;

use argon2::password_hash::{PasswordHasher, SaltString};
use async_trait::async_trait;
use prometheus::Registry;
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
    let alice =
        User { password_hash: Some(hash(1)), groups: vec![], keys: AuthorizedKeys::default() };
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

async fn refusal(gateway: &Gateway, user: &str, password: &str, within: Duration) -> Failure {
    let door = Door {
        listener: "front".into(),
        protocol: "ftp",
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:21".parse().unwrap(),
        session: 1,
    };
    let proof = Proof::Password(Credentials {
        user: user.into(),
        password: password.as_bytes().to_vec().into(),
        account: None,
        key: None,
    });
    gateway.login(&door, proof, Instant::now() + within).await.err().unwrap()
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
