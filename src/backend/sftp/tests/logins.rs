//! Logins at an SSH server of russh's that says what each test wants.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, Response, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Preferred};
use tokio::net::TcpListener;

use super::{HostKey, Settings, SftpBackend};
use crate::auth::Credentials;
use crate::backend::{
    Backend, IgnoredAttributes, Login, Origin, PartialUploads, UnsupportedAttributes,
};
use crate::net::ssh::{Algorithms, Base, Side};
use crate::net::{Connector, Connectors};
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{
    Attributes, MAX_PACKET, Name, PacketReader, Request, Response as Answer, ResponseBody, Version,
};

#[derive(Clone)]
struct Server {
    methods: &'static [MethodKind],
    /// What keyboard-interactive asks, and whether it shows what is typed.
    questions: &'static [(&'static str, bool)],
    subsystem: bool,
    /// Before it judges a password.
    thinks: Duration,
    /// Closes the connection instead of judging a password.
    leaves: bool,
    packets: Arc<std::sync::Mutex<(PacketReader, bool)>>,
}

fn server(methods: &'static [MethodKind]) -> Server {
    let packets = Arc::new(std::sync::Mutex::new((PacketReader::new(MAX_PACKET), false)));
    Server {
        methods,
        questions: &[("Password: ", false)],
        subsystem: true,
        thinks: Duration::ZERO,
        leaves: false,
        packets,
    }
}

impl Server {
    fn reject(&self) -> Auth {
        let proceed_with_methods = Some(MethodSet::from(self.methods));
        Auth::Reject { proceed_with_methods, partial_success: false }
    }

    fn judge(&self, user: &str, password: &[u8]) -> Auth {
        match (user, password) {
            ("alice", b"Secret") => Auth::Accept,
            _ => self.reject(),
        }
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        match self.methods.contains(&MethodKind::Password) {
            true if self.leaves => Err(russh::Error::Disconnect),
            true => {
                tokio::time::sleep(self.thinks).await;
                Ok(self.judge(user, password.as_bytes()))
            }
            false => Ok(self.reject()),
        }
    }

    /// It knows no RFC 8332.
    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        match key.algorithm {
            Algorithm::Rsa { hash: None } => Ok(Auth::Accept),
            _ => Ok(self.reject()),
        }
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut answers) = response else {
            let ask = |(text, echo): &(&'static str, bool)| (Cow::Borrowed(*text), *echo);
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: self.questions.iter().map(ask).collect(),
            });
        };
        Ok(self.judge(user, &answers.next().unwrap_or_default()))
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match self.subsystem {
            true => session.channel_success(channel),
            false => session.channel_failure(channel),
        }
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.subsystem {
            return Ok(());
        }
        let mut out = BytesMut::new();
        {
            let mut state = self.packets.lock().unwrap();
            let (packets, greeted) = &mut *state;
            packets.push(Bytes::copy_from_slice(data));
            while let Some(packet) = packets.next().unwrap() {
                if !std::mem::replace(greeted, true) {
                    Version { version: 3, extensions: Vec::new() }.encode(&mut out);
                    continue;
                }
                let id = Request::decode(packet).unwrap().id;
                let (name, longname) = (Bytes::from_static(b"/home/alice"), Bytes::new());
                let home = Name { name, longname, attributes: Attributes::default() };
                Answer { id, body: ResponseBody::Names(vec![home]) }.encode(&mut out);
            }
        }
        session.data(channel, out.freeze())
    }
}

fn settings(address: String) -> Settings {
    Settings {
        name: "scripted".to_owned(),
        addresses: vec![address],
        host_key: HostKey::AcceptAny,
        algorithms: Algorithms::new(Side::Backend, Base::Modern),
        login_folder: None,
        partial_uploads: PartialUploads::Keep,
        unsupported_attributes: UnsupportedAttributes::Refuse,
        send_proxy_protocol: false,
        connects_at_once: Connector::AT_ONCE,
        connect_timeout: Duration::from_secs(3),
        reply_timeout: Duration::from_secs(3),
        keepalive: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn the_server_is_told_for_whom_before_ssh_begins() {
    use tokio::io::AsyncReadExt;
    let server = server(PASSWORD);
    let behind = serve(server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(listener.local_addr().unwrap().to_string());
    let header = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut header = [0; 28];
        near.read_exact(&mut header).await.unwrap();
        let mut far = tokio::net::TcpStream::connect(behind).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        header
    });
    let settings = Settings { send_proxy_protocol: true, ..settings };
    login_with(settings, "alice", "Secret").await.unwrap();
    assert_eq!(header.await.unwrap(), *Origin::ANY.header());
}

/// Serves one connection.
async fn serve(server: Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let config = russh::server::Config {
        keys: vec![key],
        methods: MethodSet::from(server.methods),
        auth_rejection_time: Duration::from_millis(10),
        // It tells of no RSA signatures, as old servers tell of none at all.
        preferred: Preferred { key: vec![Algorithm::Ed25519].into(), ..Preferred::DEFAULT },
        ..russh::server::Config::default()
    };
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = run_stream(Arc::new(config), tcp, server).await.unwrap().await;
    });
    address
}

async fn login(server: Server, user: &str, password: &str) -> Result<Vec<u8>, Failure> {
    login_with(settings(serve(server).await), user, password).await
}

async fn login_with(settings: Settings, user: &str, password: &str) -> Result<Vec<u8>, Failure> {
    let login = Login::Unchecked(Credentials {
        user: user.as_bytes().to_vec(),
        password: zeroize::Zeroizing::new(password.as_bytes().to_vec()),
        account: None,
        key: None,
    });
    let session =
        SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test())
            .login(&login, Origin::ANY)
            .await?;
    Ok(session.home().path().as_bytes().to_vec())
}

const PASSWORD: &[MethodKind] = &[MethodKind::Password, MethodKind::PublicKey];
const QUESTIONS: &[MethodKind] = &[MethodKind::KeyboardInteractive];

#[tokio::test]
async fn a_password_and_the_same_as_the_answer_to_a_question() {
    for methods in [PASSWORD, QUESTIONS] {
        let home = login(server(methods), "alice", "Secret").await.unwrap();
        assert_eq!(home, b"/home/alice");
        for (user, password) in [("alice", "wrong"), ("alice", ""), ("bob", "Secret")] {
            let refused = login(server(methods), user, password).await.unwrap_err();
            assert_eq!(refused.kind, FailureKind::LoginRefused, "{refused:?}");
            assert!(refused.message.contains("the user name or the password is wrong"));
        }
    }
}

#[tokio::test]
async fn an_rsa_key_signs_with_sha_1_where_the_server_tells_nothing_and_the_setting_allows_it() {
    let key = PrivateKey::from_openssh(include_str!("../../config/tests/keys/rsa")).unwrap();
    let account = Credentials {
        user: b"svc".to_vec(),
        password: zeroize::Zeroizing::default(),
        account: None,
        key: Some(Arc::new(key)),
    };
    for (base, enters) in [(Base::Legacy, true), (Base::Modern, false)] {
        let algorithms = Algorithms::new(Side::Backend, base);
        let settings = Settings { algorithms, ..settings(serve(server(PASSWORD)).await) };
        let backend =
            SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test());
        let login = backend.login(&Login::Vouched(Some(account.clone())), Origin::ANY).await;
        assert_eq!(login.is_ok(), enters, "{base:?}: {:?}", login.err());
    }
}

#[tokio::test]
async fn a_wrong_password_is_one_also_where_nothing_else_may_be_tried() {
    let refused = login(server(&[]), "alice", "wrong").await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::LoginRefused, "{refused:?}");
    assert!(refused.message.contains("the user name or the password is wrong"));
}

#[tokio::test]
async fn a_connection_that_is_closed_at_the_password_is_no_wrong_one() {
    let closing = Server { leaves: true, ..server(PASSWORD) };
    let lost = login(closing, "alice", "Secret").await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::Unavailable, "{lost:?}");
}

#[tokio::test]
async fn only_one_hidden_question_is_taken_for_the_password() {
    for questions in [&[("Token: ", true)][..], &[("Password: ", false), ("Token: ", false)]] {
        let asking = Server { questions, ..server(QUESTIONS) };
        let refused = login(asking, "alice", "Secret").await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::LoginRefused);
        assert!(refused.message.contains("more than a password"), "{refused}");
    }
}

#[tokio::test]
async fn without_the_subsystem_it_is_no_backend() {
    let bare = Server { subsystem: false, ..server(PASSWORD) };
    let refused = login(bare, "alice", "Secret").await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unavailable);
    assert!(refused.detail.unwrap().contains("sftp subsystem"));
}

#[tokio::test]
async fn who_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut said).await.unwrap();
        said
    });
    let started = Instant::now();
    let settings = Settings { connect_timeout: Duration::from_millis(300), ..settings(address) };
    let login = Login::Unchecked(Credentials {
        user: b"alice".to_vec(),
        password: zeroize::Zeroizing::default(),
        account: None,
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
    // The connection is gone too.
    let said = tokio::time::timeout(Duration::from_secs(5), silent).await.unwrap().unwrap();
    assert!(said.starts_with(b"SSH-2.0-"));
}

#[tokio::test]
async fn nobody_gets_in_without_an_account() {
    let backend = SftpBackend::new(
        settings("127.0.0.1:1".to_owned()),
        &Connectors::for_test(),
        &IgnoredAttributes::for_test(),
    );
    let refused = backend.login(&Login::Vouched(None), Origin::ANY).await.err().unwrap();
    assert_eq!(refused.kind, FailureKind::Internal);
}

#[tokio::test]
async fn an_address_that_is_not_there_does_not_take_the_time_of_the_next() {
    // Its queue is full: what more would connect gets no answer.
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
    let good = settings(serve(server(PASSWORD)).await);
    let addresses = [vec![dead.to_string()], good.addresses.clone()].concat();
    let settings = Settings { addresses, connect_timeout, ..good };
    assert_eq!(login_with(settings, "alice", "Secret").await.unwrap(), b"/home/alice");
}

#[tokio::test]
async fn a_login_waits_until_the_server_has_greeted_the_one_before() {
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
                key: None,
            };
            backend.login(&Login::Unchecked(account), Origin::ANY).await.map(drop)
        });
    }
    let (mut first, _) = listener.accept().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(early.is_err(), "both came at once");
    first.write_all(b"SSH-2.0-scripted\r\n").await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
    second.expect("the second, too").unwrap();
}

#[tokio::test]
async fn checking_a_password_may_take_longer_than_connecting() {
    let slow = Server { thinks: Duration::from_millis(1500), ..server(PASSWORD) };
    let good = settings(serve(slow.clone()).await);
    let settings = Settings { connect_timeout: Duration::from_secs(1), ..good };
    assert_eq!(login_with(settings, "alice", "Secret").await.unwrap(), b"/home/alice");
    let endless = Server { thinks: Duration::from_secs(60), ..slow };
    let refused = login(endless, "alice", "Secret").await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unavailable);
}
