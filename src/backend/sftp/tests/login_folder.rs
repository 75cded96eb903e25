//! Where the login put the user, as servers tell it or do not.

use super::*;
use crate::backend::Home;
use crate::op::Answer;

const LIMITS: Limits = Limits { packet: 262_144, read: 261_120, write: 261_120, open_handles: 9 };

async fn told(told: Option<ResponseBody>) -> (Arc<Server>, Peer) {
    greeted(&settings(PartialUploads::Delete), &[], LIMITS, told).await
}

#[tokio::test]
async fn an_absolute_path_is_where_the_login_put_the_user() {
    for path_told in ["/home/me", "/", "/C:/Users/me", "/home/me/"] {
        let (server, _peer) = told(Some(names(&[path_told]))).await;
        assert_eq!(server.home, Home::At(path(path_told)));
    }
}

#[tokio::test]
async fn anything_else_lets_the_user_in_and_makes_names_relative() {
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
        // No answer to that question.
        Some(A::Data(Bytes::from_static(b"x"))),
        None,
    ] {
        let (server, mut peer) = told(answer.clone()).await;
        assert_eq!(server.home, Home::Unknown, "{answer:?}");
        let of_folder = || {
            let permissions = Some(0o040_755);
            A::Attributes(Attributes { permissions, ..Attributes::default() })
        };
        for (name, wire) in [("/", "."), ("/a", "a"), ("/in/a", "in/a"), ("/~a", "./~a")] {
            let enter = Operation::Enter(path(name));
            let entering = operations::perform(&server, &enter);
            let (entered, asked) = tokio::join!(entering, peer.serve(of_folder()));
            let Q::Stat { path } = asked else { panic!("{asked:?}") };
            assert_eq!(path, wire);
            entered.unwrap();
        }
    }
}

#[tokio::test]
async fn login_folder_counts_before_the_servers_answer() {
    for answer in [Some(names(&["/elsewhere"])), Some(status(StatusCode::FAILURE, "")), None] {
        let mut settings = (*settings(PartialUploads::Keep)).clone();
        settings.login_folder = Some(path("/home/me"));
        let (server, _peer) = greeted(&Arc::new(settings), &[], LIMITS, answer).await;
        assert_eq!(server.home, Home::At(path("/home/me")));
    }
}

/// The watchdog of the channel counts the other requests only.
#[tokio::test]
async fn a_question_without_an_answer_does_not_end_the_session() {
    let mut settings = (*settings(PartialUploads::Keep)).clone();
    settings.reply_timeout = Duration::from_millis(400);
    let (server, mut peer) = greeted(&Arc::new(settings), &[], LIMITS, None).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let size = Operation::Size(path("/a"), Representation::Image);
        let asking = operations::perform(&server, &size);
        let (size, _) = tokio::join!(asking, peer.serve(of_size(3)));
        assert!(matches!(size.unwrap(), Answer::Size(3)));
    }
    // Others must still be answered.
    let size = Operation::Size(path("/a"), Representation::Image);
    let lost = operations::perform(&server, &size).await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::Unavailable);
}
