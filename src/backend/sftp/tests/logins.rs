//! Logins at an SSH server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::MethodKind;
use russh::keys::PrivateKey;
use tokio::net::TcpListener;

use super::super::{HostKey, Settings, SftpBackend};
use super::ssh_server::{SshServer, serve};
use crate::auth::Credentials;
use crate::backend::{
    Backend, IgnoredAttributes, Login, Origin, PartialUploads, UnsupportedAttributes,
};
use crate::net::ssh::{Algorithms, Base, Side};
use crate::net::{Connector, Connectors};
use crate::op::{Failure, FailureKind};

const PASSWORD: &[MethodKind] = &[MethodKind::Password, MethodKind::PublicKey];
const KEYBOARD_INTERACTIVE: &[MethodKind] = &[MethodKind::KeyboardInteractive];

fn settings(address: String) -> Settings {
    Settings {
        name: "scripted".to_owned(),
        addresses: vec![address],
        host_key: HostKey::AcceptAny,
        algorithms: Algorithms::new(Side::Backend, Base::Modern),
        login_folder: None,
        names: crate::policy::Names::Exact,
        partial_uploads: PartialUploads::Keep,
        unsupported_attributes: UnsupportedAttributes::Refuse,
        send_proxy_protocol: false,
        connects_at_once: Connector::DEFAULT_CONNECTS_AT_ONCE_MAX,
        source_address: None,
        connect_timeout: Duration::from_secs(3),
        reply_timeout: Duration::from_secs(3),
        realpath_timeout: Duration::from_secs(1),
        keepalive: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn the_proxy_header_is_sent_before_ssh_starts() {
    use tokio::io::AsyncReadExt;
    let ssh_server = serve(SshServer::new(PASSWORD)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(listener.local_addr().unwrap().to_string());
    let header = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut header = [0; 28];
        near.read_exact(&mut header).await.unwrap();
        let mut far = tokio::net::TcpStream::connect(ssh_server).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        header
    });
    let settings = Settings { send_proxy_protocol: true, ..settings };
    login_with(settings, "alice", "Secret").await.unwrap();
    assert_eq!(header.await.unwrap(), *Origin::ANY.header());
}

async fn login(server: SshServer, user: &str, password: &str) -> Result<Vec<u8>, Failure> {
    login_with(settings(serve(server).await), user, password).await
}

async fn login_with(settings: Settings, user: &str, password: &str) -> Result<Vec<u8>, Failure> {
    let login = Login::Unverified(Credentials {
        user: user.as_bytes().to_vec(),
        password: zeroize::Zeroizing::new(password.as_bytes().to_vec()),
        account: None,
        sent: Default::default(),
        key: None,
    });
    let session =
        SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test())
            .login(&login, Origin::ANY)
            .await?;
    Ok(session.home().path().as_bytes().to_vec())
}

#[tokio::test]
async fn a_password_works_by_password_and_by_keyboard_interactive() {
    for methods in [PASSWORD, KEYBOARD_INTERACTIVE] {
        let home = login(SshServer::new(methods), "alice", "Secret").await.unwrap();
        assert_eq!(home, b"/home/alice");
        for (user, password) in [("alice", "wrong"), ("alice", ""), ("bob", "Secret")] {
            let refused = login(SshServer::new(methods), user, password).await.unwrap_err();
            assert_eq!(refused.kind, FailureKind::LoginRefused, "{refused:?}");
            assert!(refused.message.contains("the user name or the password is wrong"));
        }
    }
}

#[tokio::test]
async fn an_rsa_key_signs_with_sha_1_only_where_the_setting_allows_it() {
    let key = PrivateKey::from_openssh(include_str!("../../../config/tests/keys/rsa")).unwrap();
    let account = Credentials {
        user: b"svc".to_vec(),
        password: zeroize::Zeroizing::default(),
        account: None,
        sent: Default::default(),
        key: Some(key.into()),
    };
    for (base, succeeds) in [(Base::Legacy, true), (Base::Modern, false)] {
        let algorithms = Algorithms::new(Side::Backend, base);
        let settings = Settings { algorithms, ..settings(serve(SshServer::new(PASSWORD)).await) };
        let backend =
            SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test());
        let login = backend.login(&Login::Authenticated(Some(account.clone())), Origin::ANY).await;
        assert_eq!(login.is_ok(), succeeds, "{base:?}: {:?}", login.err());
    }
}

#[tokio::test]
async fn a_wrong_password_is_reported_even_when_no_method_is_left() {
    let refused = login(SshServer::new(&[]), "alice", "wrong").await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::LoginRefused, "{refused:?}");
    assert!(refused.message.contains("the user name or the password is wrong"));
}

#[tokio::test]
async fn a_connection_closed_during_the_login_is_not_a_wrong_password() {
    let closing = SshServer { disconnects: true, ..SshServer::new(PASSWORD) };
    let lost = login(closing, "alice", "Secret").await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::Unavailable, "{lost:?}");
}

#[tokio::test]
async fn only_a_single_hidden_prompt_is_answered_with_the_password() {
    for prompts in [&[("Token: ", true)][..], &[("Password: ", false), ("Token: ", false)]] {
        let asking = SshServer { prompts, ..SshServer::new(KEYBOARD_INTERACTIVE) };
        let refused = login(asking, "alice", "Secret").await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::LoginRefused);
        assert!(refused.message.contains("more than a password"), "{refused}");
    }
}

#[tokio::test]
async fn a_server_without_the_sftp_subsystem_is_unavailable() {
    let bare = SshServer { subsystem: false, ..SshServer::new(PASSWORD) };
    let failed = login(bare, "alice", "Secret").await.unwrap_err();
    assert_eq!(failed.kind, FailureKind::Unavailable);
    assert!(failed.detail.unwrap().contains("sftp subsystem"));
}

#[tokio::test]
async fn a_silent_server_times_out_and_its_connection_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut received).await.unwrap();
        received
    });
    let started = Instant::now();
    let settings = Settings { connect_timeout: Duration::from_millis(300), ..settings(address) };
    let login = Login::Unverified(Credentials {
        user: b"alice".to_vec(),
        password: zeroize::Zeroizing::default(),
        account: None,
        sent: Default::default(),
        key: None,
    });
    let refused =
        SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test())
            .login(&login, Origin::ANY)
            .await
            .err()
            .unwrap();
    assert_eq!(refused.kind, FailureKind::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(3));
    // The connection is closed, too.
    let received = tokio::time::timeout(Duration::from_secs(5), silent).await.unwrap().unwrap();
    assert!(received.starts_with(b"SSH-2.0-"));
}

#[tokio::test]
async fn a_login_without_an_account_fails() {
    let backend = SftpBackend::new(
        settings("127.0.0.1:1".to_owned()),
        &Connectors::for_test(),
        &IgnoredAttributes::for_test(),
    );
    let refused = backend.login(&Login::Authenticated(None), Origin::ANY).await.err().unwrap();
    assert_eq!(refused.kind, FailureKind::Internal);
}

#[tokio::test]
async fn each_address_has_its_own_connect_timeout() {
    // Its accept queue is full: further connection attempts get no reply.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let dead = full.local_addr().unwrap();
    let mut queue = Vec::new();
    let connect = || tokio::net::TcpStream::connect(dead);
    while let Ok(Ok(tcp)) = tokio::time::timeout(Duration::from_millis(300), connect()).await {
        queue.push(tcp);
    }
    let connect_timeout = Duration::from_secs(1);
    let good = settings(serve(SshServer::new(PASSWORD)).await);
    let addresses = [vec![dead.to_string()], good.addresses.clone()].concat();
    let settings = Settings { addresses, connect_timeout, ..good };
    assert_eq!(login_with(settings, "alice", "Secret").await.unwrap(), b"/home/alice");
}

#[tokio::test]
async fn a_login_waits_until_the_server_has_identified_itself_to_the_previous_one() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(listener.local_addr().unwrap().to_string());
    let settings = Settings { connects_at_once: 1, ..settings };
    let backend = Arc::new(SftpBackend::new(
        settings,
        &Connectors::for_test(),
        &IgnoredAttributes::for_test(),
    ));
    for _ in 0..2 {
        let backend = backend.clone();
        tokio::spawn(async move {
            let account = Credentials {
                user: b"alice".to_vec(),
                password: zeroize::Zeroizing::default(),
                account: None,
                sent: Default::default(),
                key: None,
            };
            backend.login(&Login::Unverified(account), Origin::ANY).await.map(drop)
        });
    }
    let (mut first, _) = listener.accept().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(early.is_err(), "both connected at once");
    first.write_all(b"SSH-2.0-scripted\r\n").await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
    second.expect("the second login connects").unwrap();
}

#[tokio::test]
async fn the_login_may_take_longer_than_connect_timeout() {
    let slow = SshServer { delay: Duration::from_millis(1500), ..SshServer::new(PASSWORD) };
    let good = settings(serve(slow.clone()).await);
    let settings = Settings { connect_timeout: Duration::from_secs(1), ..good };
    assert_eq!(login_with(settings, "alice", "Secret").await.unwrap(), b"/home/alice");
    let endless = SshServer { delay: Duration::from_secs(60), ..slow };
    let refused = login(endless, "alice", "Secret").await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unavailable);
}
