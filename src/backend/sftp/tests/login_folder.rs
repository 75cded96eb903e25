//! The login folder, with and without a useful response to REALPATH.

use super::*;
use crate::backend::Home;
use crate::op::Answer;

const LIMITS: Limits = Limits { packet: 262_144, read: 261_120, write: 261_120, open_handles: 9 };

async fn with_home(home: Option<ResponseBody>) -> (Arc<Server>, Peer) {
    initialized(&settings(PartialUploads::Delete), &[], LIMITS, home).await
}

#[tokio::test]
async fn an_absolute_path_from_realpath_is_the_login_folder() {
    for reported in ["/home/me", "/", "/C:/Users/me", "/home/me/"] {
        let (server, _peer) = with_home(Some(names(&[reported]))).await;
        assert_eq!(server.home, Home::At(path(reported)));
    }
}

#[tokio::test]
async fn any_other_response_to_realpath_makes_paths_relative() {
    for answer in [
        Some(names(&["."])),
        Some(names(&["home/me"])),
        Some(names(&["C:\\Users\\me"])),
        Some(names(&[""])),
        Some(names(&["//server/share"])),
        Some(names(&[])),
        Some(status(StatusCode::FAILURE, "")),
        Some(status(StatusCode::OP_UNSUPPORTED, "")),
        Some(status(StatusCode::NO_SUCH_FILE, "")),
        // Not a response to REALPATH.
        Some(A::Data(Bytes::from_static(b"x"))),
        None,
    ] {
        let (server, mut peer) = with_home(answer.clone()).await;
        assert_eq!(server.home, Home::Unknown, "{answer:?}");
        let directory = || {
            let permissions = Some(0o040_755);
            A::Attributes(Attributes { permissions, ..Attributes::default() })
        };
        for (name, wire) in [("/", "."), ("/a", "a"), ("/in/a", "in/a"), ("/~a", "./~a")] {
            let enter = Operation::Enter(path(name));
            let entering = operations::perform(&server, &enter);
            let (entered, request) = tokio::join!(entering, peer.serve(directory()));
            let Q::Stat { path } = request else { panic!("{request:?}") };
            assert_eq!(path, wire);
            entered.unwrap();
        }
    }
}

#[tokio::test]
async fn a_configured_login_folder_overrides_realpath() {
    for answer in [Some(names(&["/elsewhere"])), Some(status(StatusCode::FAILURE, "")), None] {
        let mut settings = (*settings(PartialUploads::Keep)).clone();
        settings.login_folder = Some(path("/home/me"));
        let (server, _peer) = initialized(&Arc::new(settings), &[], LIMITS, answer).await;
        assert_eq!(server.home, Home::At(path("/home/me")));
    }
}

/// The watchdog of the channel applies only to the other requests.
#[tokio::test]
async fn an_unanswered_realpath_does_not_end_the_session() {
    let mut settings = (*settings(PartialUploads::Keep)).clone();
    settings.reply_timeout = Duration::from_millis(400);
    let (server, mut peer) = initialized(&Arc::new(settings), &[], LIMITS, None).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let size = Operation::Size(path("/a"), Representation::Image);
        let asking = operations::perform(&server, &size);
        let (size, _) = tokio::join!(asking, peer.serve(of_size(3)));
        assert!(matches!(size.unwrap(), Answer::Size(3)));
    }
    // Other requests must still be answered.
    let size = Operation::Size(path("/a"), Representation::Image);
    let lost = operations::perform(&server, &size).await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::Unavailable);
}
