//! Answers that are no answers: the login is refused, and it is nobody's guess.

use super::*;

async fn fault(answer: impl Into<Vec<u8>>) -> (HookFault, String) {
    let scripted = Scripted::start(answer).await;
    let error = ask(&scripted.hook(), &question("alice", "secret")).await.unwrap_err();
    (error.fault, error.to_string())
}

#[tokio::test]
async fn another_status_than_200_decides_nothing() {
    let body = "{\"allow\": true}";
    for (status, advice) in [
        ("201 Created", "status 201"),
        ("204 No Content", "status 204"),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", "redirects are not followed"),
        ("307 Temporary Redirect\r\nLocation: /other", "redirects are not followed"),
        ("401 Unauthorized", "`token_file`"),
        ("404 Not Found", "`url`"),
        ("500 Internal Server Error", "status 500"),
    ] {
        let json = "Content-Type: application/json\r\nContent-Length: 15";
        let (fault, text) = fault(format!("HTTP/1.1 {status}\r\n{json}\r\n\r\n{body}")).await;
        assert_eq!(fault, HookFault::Status, "{status}: {text}");
        assert!(text.contains(advice), "{status}: {text}");
    }
}

#[tokio::test]
async fn a_malformed_answer_decides_nothing() {
    let typed = |kind: &str| {
        format!("HTTP/1.1 200 OK\r\n{kind}Content-Length: 15\r\n\r\n{{\"allow\": true}}")
    };
    let html = typed("Content-Type: text/html\r\n");
    let none = typed("");
    let two = typed("Content-Type: application/json\r\nContent-Type: text/html\r\n");
    let header = format!("HTTP/1.1 200 OK\r\nX-Filler: {}\r\n\r\n", "x".repeat(100_000));
    for (answer, expected) in [
        (html, "Content-Type"),
        (none, "Content-Type"),
        (two, "Content-Type"),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), "HTTP"),
        (header, "HTTP"),
        (ok(&format!("{{\"allow\": true, \"root\": \"/{}\"}}", "x".repeat(100_000))), "64 KiB"),
        (ok(""), "EOF"),
        (ok("allow"), "expected"),
        (ok("{\"allow\": true} true"), "trailing"),
        (ok("{\"allow\": true, \"allow\": false}"), "duplicate field `allow`"),
    ] {
        let (fault, text) = fault(answer.as_str()).await;
        assert_eq!(fault, HookFault::Malformed, "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn the_content_type_may_have_parameters() {
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\n\r\n{\"allow\":true}";
    let scripted = Scripted::start(answer).await;
    assert!(ask(&scripted.hook(), &question("alice", "secret")).await.unwrap().is_some());
}

/// Each part is late by itself, and the body arrives byte by byte.
#[tokio::test]
async fn a_late_answer_decides_nothing() {
    let short = Duration::from_millis(200);
    for part in ["", "HTTP/1.1 200 OK\r\n", &ok("{\"allow\": true")] {
        let part = part.replace("Content-Length: 14", "Content-Length: 15");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (closed, mut seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = read(&mut tcp).await;
            tcp.write_all(part.as_bytes()).await.unwrap();
            // The gateway gives the connection up.
            let _ = closed.send(tcp.read(&mut [0; 1]).await.unwrap_or(0));
        });
        let server = Server::Tcp { address: address.clone(), authority: address, tls: None };
        let endpoint = Endpoint { server, path: "/".into() };
        let hook = hook(endpoint, short, Duration::ZERO);
        let error = ask(&hook, &question("alice", "secret")).await.unwrap_err();
        assert_eq!(error.fault, HookFault::Timeout, "{error}");
        assert!(error.to_string().contains("200ms (`timeout`)"), "{error}");
        assert_eq!(seen.recv().await, Some(0));
    }
}

#[tokio::test]
async fn a_refused_or_broken_connection_decides_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("socket");
    for server in [
        Server::Tcp { address: address.clone(), authority: address, tls: None },
        Server::Socket(missing),
    ] {
        let hook = hook(Endpoint { server, path: "/".into() }, LIMIT, Duration::ZERO);
        let error = ask(&hook, &question("alice", "secret")).await.unwrap_err();
        assert_eq!(error.fault, HookFault::Unreachable, "{error}");
    }
    let half = ok("{\"allow\": true}").replace("Length: 15", "Length: 16");
    for answer in ["", "HTTP/1.1 200 OK\r\n", &half] {
        let (fault, text) = fault(answer).await;
        assert_eq!(fault, HookFault::Unreachable, "{text}");
    }
}

/// Further logins wait; one that is given up frees its slot.
#[tokio::test]
async fn requests_at_once_are_limited() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::Tcp { address: address.clone(), authority: address, tls: None };
    let hook = hook(Endpoint { server, path: "/".into() }, LIMIT, Duration::ZERO);
    let alice = question("alice", "secret");
    let mut first: Vec<_> = (0..4).map(|_| Box::pin(ask(&hook, &alice))).collect();
    let mut held = Vec::new();
    for login in &mut first {
        tokio::select! {
            result = login => panic!("{result:?}"),
            accepted = listener.accept() => held.push(accepted.unwrap().0),
        }
    }
    let mut fifth = Box::pin(ask(&hook, &alice));
    let early = tokio::select! {
        biased;
        result = &mut fifth => panic!("{result:?}"),
        early = tokio::time::timeout(Duration::from_millis(100), listener.accept()) => early.is_ok(),
    };
    assert!(!early, "a fifth request");
    first.pop();
    let mut tcp = tokio::select! {
        result = &mut fifth => panic!("{result:?}"),
        accepted = listener.accept() => accepted.unwrap().0,
    };
    let answer = async {
        read(&mut tcp).await;
        tcp.write_all(ok("{\"allow\": false}").as_bytes()).await.unwrap();
    };
    let (decided, ()) = tokio::join!(fifth, answer);
    assert!(decided.unwrap().is_none());
}
