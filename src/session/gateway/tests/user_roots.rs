//! `{user}` in a route's `root`: the folder of each user, and names that are no folder.

use super::*;

#[tokio::test]
async fn a_root_with_user_is_the_folder_of_that_user() {
    let path = |bytes: &[u8]| RemotePath::resolve(&RemotePath::root(), bytes).unwrap();
    for (user, folder) in [
        (&b"bob"[..], &b"/p/bob/in"[..]),
        (b"...", b"/p/.../in"),
        (b"M\xfcller", b"/p/M\xfcller/in"),
    ] {
        let answering = Answering { home: Some(path(b"/home/svc")), ..Answering::default() };
        let requests = answering.requests.clone();
        let (outcome, at_login) = log_in_as(user, "/p/{user}/in", answering).await;
        let session = outcome.ok().unwrap();
        assert_eq!(at_login, [Operation::Enter(path(folder)).to_string()]);
        assert!(session.home().is_root());
        let mut expected = Vec::new();
        for name in [&b"/x"[..], b"/../x", b"/../other/in/x"] {
            let _ = session.perform(Operation::LinkStat(path(name))).await;
            let there = path(name).below(&path(folder)).unwrap();
            expected.push(Operation::LinkStat(there).to_string());
        }
        assert_eq!(*requests.lock().unwrap(), expected);
        let link = Operation::Symlink { target: b"x".to_vec(), link: path(b"/l") };
        let refused = session.perform(link).await.err().unwrap();
        assert_eq!(refused.kind, FailureKind::PermissionDenied);
    }
    // Each user's own folder is checked.
    let missing = FailureKind::NotFound;
    let backend =
        Answering { enter: Some(missing), stat: Some(Err(missing)), ..Answering::default() };
    let failure = log_in_as(b"acme", "/p/{user}/in", backend).await.0.err().unwrap();
    assert!(!failure.message.contains("acme"), "{failure}");
    let detail = failure.detail.unwrap();
    let expected = "/p/acme/in does not exist at backend \"files\"";
    assert!(detail.contains(expected) && detail.contains("routes[0].root"), "{detail}");
}

#[tokio::test]
async fn a_name_that_is_no_folder_never_reaches_the_backend() {
    for (user, reason) in [
        (&b""[..], "it is empty"),
        (b".", "to the folder itself or its parent"),
        (b"..", "to the folder itself or its parent"),
        (b"a/b", "it contains a slash or a backslash"),
        (b"a\\b", "it contains a slash or a backslash"),
        (b"a\0", "it contains a control character"),
        (b"a\x7f", "it contains a control character"),
        (&[b'a'; 5000], "longer than 4096 bytes"),
    ] {
        let answering = Answering::default();
        let reached = answering.rooted.clone();
        let (outcome, requests) = log_in_as(user, "/p/{user}", answering).await;
        let failure = outcome.err().unwrap();
        assert_eq!((failure.kind, failure.fault), (FailureKind::LoginRefused, Fault::Client));
        assert_eq!(failure.message, "login incorrect");
        let detail = failure.detail.unwrap();
        let setting = "`{user}` in routes[0].root (/p/{user})";
        assert!(detail.contains(reason) && detail.contains(setting), "{detail}");
        assert!(requests.is_empty() && reached.lock().unwrap().is_none(), "{requests:?}");
        // Without `{user}` the name is only a name.
        assert!(log_in_as(user, "/p", Answering::default()).await.0.is_ok());
    }
}

/// Neither the reply nor its time tells what is wrong: the password is checked first.
#[tokio::test]
async fn a_name_that_is_no_folder_is_refused_whoever_checks_it() {
    let mut gateway = gateway(Access::of_users(Account::None));
    gateway.routes.0[0].root = root_setting("/p/{user}");
    let failure = refusal(&gateway, "..", "open sesame", Duration::from_secs(60)).await;
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::LoginRefused, "login incorrect")
    );
    assert!(failure.detail.unwrap().contains("routes[0].root"));
    let key = PublicKey::from(Ed25519Keypair::from_seed(&[1; 32]).public);
    let failure = gateway.admits_offer(&client_info(), b"..", &key).await.unwrap_err();
    assert_eq!(failure.message, "login incorrect");
    assert!(failure.detail.unwrap().contains("routes[0].root"));
    // A name that is possible is refused as before.
    let failure = refusal(&gateway, "bob", "open sesame", Duration::from_secs(60)).await;
    assert_eq!(failure.detail.unwrap(), "unknown user or wrong password");
}
