//! Limits on sessions, at the login.

use super::*;
use crate::policy::limits::{Limit, LimitMetrics, Limits};

/// A gateway with at most one session of a user, whose logins are recorded.
fn one_session(access: Access) -> (Gateway, Answering) {
    let (mut gateway, backend) = (gateway(access), Answering::default());
    gateway.backends.insert("files".into(), Arc::new(backend.clone()));
    let limit = Limit { name: "one".into(), sessions: Some(1), ..Limit::default() };
    let metrics = LimitMetrics::register(&Registry::new()).unwrap();
    gateway.policy_limits = Limits::new(vec![limit], Arc::default(), &metrics);
    (gateway, backend)
}

#[tokio::test]
async fn a_session_too_many_does_not_reach_the_backend() {
    let (gateway, backend) = one_session(Access::of_users(Account::None));
    let failure = log_in(&gateway, "alice", "wrong").await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::LoginRefused);
    let first = log_in(&gateway, "alice", "open sesame").await.ok().unwrap();
    let failure = log_in(&gateway, "alice", "open sesame").await.err().unwrap();
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Policy));
    assert_eq!(backend.logins.lock().unwrap().len(), 1);
    // A wrong password shows nothing of the sessions.
    let failure = log_in(&gateway, "alice", "wrong").await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::LoginRefused);
    drop(first);
    assert!(log_in(&gateway, "alice", "open sesame").await.is_ok());
}

#[tokio::test]
async fn a_session_too_many_is_closed_where_only_the_backend_knows_the_user() {
    let (gateway, backend) = one_session(Access::Backend);
    let first = log_in(&gateway, "bob", "x").await.ok().unwrap();
    let failure = log_in(&gateway, "bob", "x").await.err().unwrap();
    assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Policy));
    assert_eq!(*backend.requests.lock().unwrap(), ["close"]);
    assert!(log_in(&gateway, "carol", "x").await.is_ok());
    drop(first);
    assert!(log_in(&gateway, "bob", "x").await.is_ok());
}
