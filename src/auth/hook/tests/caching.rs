//! What is asked again, and what is not.

use super::*;

const KEPT: &str = "{\"allow\": true, \"groups\": [\"staff\"], \"cache_for\": 3600}";

#[tokio::test]
async fn an_answer_is_reused_for_exactly_the_same_question() {
    let mut scripted = Scripted::start(ok(KEPT)).await;
    let hook = scripted.hook();
    let key = key();
    let base = || question("alice", "secret");
    for (question, asked) in [
        (base(), 1),
        (base(), 0),
        (Question { shown: Shown::Password(b"changed"), ..base() }, 1),
        (Question { shown: Shown::OfferedKey(&key), ..base() }, 1),
        // An offer's answer is none for the login.
        (Question { shown: Shown::ProvedKey(&key), ..base() }, 1),
        (Question { shown: Shown::ProvedKey(&key), ..base() }, 0),
        (Question { user: b"alice2", ..base() }, 1),
        (Question { source: "192.0.2.8".parse().unwrap(), ..base() }, 1),
        (Question { listener: "other", ..base() }, 1),
        (Question { protocol: "ftp", ..base() }, 1),
        (Question { encrypted: false, ..base() }, 1),
        (Question { backend: "other", ..base() }, 1),
        (Question { certificate: Some(b"DER"), ..base() }, 1),
        (base(), 0),
    ] {
        let answer = ask(&hook, &question).await.unwrap().unwrap();
        assert_eq!(answer.groups, ["staff"]);
        assert_eq!(scripted.asked(), asked, "{}", question.source);
    }
    assert_eq!(hook.metrics.outcome("cached").get(), 3);
    assert_eq!(hook.metrics.outcome("allowed").get(), 11);
}

#[tokio::test]
async fn refusals_and_answers_without_a_time_are_never_reused() {
    for answer in ["{\"allow\": false, \"cache_for\": 60}", "{\"allow\": true}"] {
        let mut scripted = Scripted::start(ok(answer)).await;
        let hook = scripted.hook();
        for _ in 0..2 {
            ask(&hook, &question("alice", "secret")).await.unwrap();
        }
        assert_eq!(scripted.asked(), 2, "{answer}");
    }
}

/// The configuration decides about a kept answer, too.
#[tokio::test]
async fn an_answer_that_is_not_accepted_is_malformed() {
    let mut scripted = Scripted::start(ok(KEPT)).await;
    let hook = scripted.hook();
    let alice = question("alice", "secret");
    let refuse = async || {
        let asked = hook.ask(&alice, |_| Err::<(), _>("names no backend".to_owned())).await;
        let Err(NoVerdict::Hook(error)) = asked else { panic!("accepted") };
        assert_eq!(error.fault, HookFault::Malformed);
        assert_eq!(error.to_string(), "its answer names no backend");
    };
    refuse().await;
    refuse().await;
    assert_eq!(scripted.asked(), 2);
    ask(&hook, &alice).await.unwrap();
    assert_eq!(scripted.asked(), 1);
    refuse().await;
    assert_eq!(scripted.asked(), 0);
    assert_eq!(hook.metrics.outcome("malformed").get(), 3);
}
