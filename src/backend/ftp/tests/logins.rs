//! Logins and their round trips.

use super::*;

#[tokio::test]
async fn a_login_takes_three_round_trips() {
    let server = Server::start(&[], Oddities::default()).await;
    let _session = server.session().await;
    assert_eq!(
        server.lines(),
        ["USER user", "PASS password", "FEAT", "OPTS UTF8 ON", "PWD", "TYPE I"]
    );
    // The last one is the wait for the next command.
    assert_eq!(server.take_round_trips().await - 1, 3);
}

#[tokio::test]
async fn a_server_that_drops_pipelined_commands_gets_them_one_by_one() {
    let server =
        Server::start(&[("/a", b"1")], Oddities { drops_pipelined: true, ..Default::default() })
            .await;
    let backend = server.backend();
    let session = login(&backend).await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(1));
    assert_eq!(server.seen().connections, 2);
    // This is remembered.
    login(&backend).await;
    assert_eq!(server.seen().connections, 3);
}

#[tokio::test]
async fn send_proxy_protocol_puts_headers_on_the_configured_connections() {
    use crate::backend::SendProxyProtocol;
    use crate::wire::proxy::Header;
    let Origin { client: source, local: destination, .. } = Origin::ANY;
    let header = Header::Proxied { source, destination };
    for all in [true, false] {
        let oddities = Oddities { proxied: all, proxied_control: !all, ..Oddities::default() };
        let files: &[(&str, &[u8])] = &[("/a", b"first"), ("/b", b"second")];
        let server = Server::start(files, oddities).await;
        let backend = server.backend_with(|settings| {
            settings.send_proxy_protocol =
                if all { SendProxyProtocol::All } else { SendProxyProtocol::Control };
        });
        let session = login(&backend).await;
        // The second open file has its own control connection.
        let first = open(&*session, "/a", reading()).await.unwrap();
        let second = open(&*session, "/b", reading()).await.unwrap();
        assert_eq!(second.read_at(0, 100).await.unwrap().unwrap(), &b"second"[..]);
        assert_eq!(first.read_at(0, 100).await.unwrap().unwrap(), &b"first"[..]);
        first.close().await.unwrap();
        second.close().await.unwrap();
        let upload = open(&*session, "/new", replacing()).await.unwrap();
        upload.write_at(0, Bytes::from_static(b"all of it")).await.unwrap();
        upload.close().await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"all of it");
        session.close().await;
        let seen = server.seen();
        let data = if all { 3 } else { 0 };
        assert!(seen.connections >= 2, "{}", seen.connections);
        assert_eq!(seen.headers, vec![header; seen.connections + data]);
    }
}

#[tokio::test]
async fn connects_at_once_limits_logins_that_await_the_greeting() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(&[], Oddities::default()).await;
    let address = listener.local_addr().unwrap().to_string();
    let backend = server.backend_with(|settings| {
        (settings.addresses, settings.connects_at_once) = (vec![address], 1);
    });
    let backend = Arc::new(backend);
    for _ in 0..2 {
        let backend = backend.clone();
        tokio::spawn(async move { login(&backend).await });
    }
    let (mut first, _) = listener.accept().await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(second.is_err(), "both connected at once");
    first.write_all(b"220 ready\r\n").await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
    second.expect("the second, too").unwrap();
}
