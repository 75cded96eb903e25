//! `rewrite` with `{user}`: the folder of each user, names that are none, and what is explained.

use super::*;
use crate::op::Effect;
use crate::policy::{End, Protocol};
use crate::route::{FolderSetting, MapError, RewriteSetting};
use crate::session::Query;

fn path(text: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap()
}

/// Below `root`, `/in` is `/exchange/{user}/in`, and `/out` is `/done`.
fn rewriting(root: &str) -> Gateway {
    let mut gateway = gateway(Access::Backend);
    let route = &mut gateway.routes.0[0];
    route.root = root_setting(root);
    let each = UserFolder::new(path("/exchange/{user}/in")).unwrap();
    route.rewrites = vec![
        RewriteSetting { from: path("/in"), to: FolderSetting::EachUser(each) },
        RewriteSetting { from: path("/out"), to: FolderSetting::Same(path("/done")) },
    ];
    gateway
}

#[tokio::test]
async fn a_folder_of_rewrite_with_user_is_that_of_the_user() {
    for (root, prefix) in [("/", ""), ("/srv", "/srv"), ("home", "/home/svc")] {
        let mut gateway = rewriting(root);
        let answering = Answering { home: Some(path("/home/svc")), ..Answering::default() };
        let requests = answering.requests.clone();
        gateway.backends.insert("files".into(), Arc::new(answering));
        let session = log_in(&gateway, "bob", "x").await.ok().unwrap();
        requests.lock().unwrap().clear();
        for (seen, there) in
            [("/in/x", "/exchange/bob/in/x"), ("/out", "/done"), ("/other/in", "/other/in")]
        {
            let _ = session.perform(Operation::LinkStat(path(seen))).await;
            let expected = format!("link-stat {prefix}{there}");
            assert_eq!(*requests.lock().unwrap(), [expected], "{root}");
            requests.lock().unwrap().clear();
        }
        // Its own folder is hidden under the other path; that of another user is as at the backend.
        let hidden = session.perform(Operation::LinkStat(path("/exchange/bob/in"))).await;
        assert_eq!(hidden.err().map(|failure| failure.kind), Some(FailureKind::NotFound));
        assert!(requests.lock().unwrap().is_empty());
        for name in ["..", "a/b"] {
            let failure = log_in(&gateway, name, "x").await.err().unwrap();
            assert_eq!(failure.message, "login incorrect");
            let detail = failure.detail.unwrap();
            assert!(detail.contains("routes[0].rewrite[0].to (/exchange/{user}/in)"), "{detail}");
        }
        assert!(requests.lock().unwrap().is_empty());
    }
}

#[test]
fn explain_tells_the_backends_path() {
    let gateway = rewriting("/srv");
    let explained = |path: RemotePath| {
        let query = Query {
            listener: "front".into(),
            protocol: Protocol::Sftp,
            encrypted: true,
            source: "192.0.2.1".parse().unwrap(),
            server_name: None,
            user: b"bob".to_vec(),
            effects: vec![(Effect::Read, path.clone(), End::Any), (Effect::List, path, End::Any)],
            command: None,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        gateway.explain(&query).login.unwrap().rewritten
    };
    let there = path("/exchange/bob/in/x");
    assert_eq!(explained(path("/in/x")), [(path("/in/x"), Ok(there.clone()))]);
    let hidden = MapError::Hidden(Some(path("/in/x")));
    assert_eq!(hidden.to_string(), "the route's `rewrite` shows this as /in/x only");
    assert_eq!(explained(there.clone()), [(there, Err(hidden))]);
    assert_eq!(explained(path("/x")), []);
}
