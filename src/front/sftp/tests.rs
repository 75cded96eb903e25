//! Whole connections: russh's client at a listener with a scripted backend.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate};
use russh::server::Auth;
use russh::{ChannelMsg, Disconnect, Names, client};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::auth::Logins;
use super::budget::REQUESTS_MAX;
use super::connection::Connection;
use super::listener::bind;
use super::requests::tests::{Stub, gateway};
use super::settings::ListenerSettings;
use super::shared::Shared;
use crate::auth::{AuthorizedKeys, KeyTrust, Methods, PasswordCheck, User, UserTable};
use crate::net::ssh::{Algorithms, Base, Side};
use crate::net::{Drain, Sockets};
use crate::route::{Access, Account, Backends, RouteBackend};
use crate::session::{Admission, ClientInfo, LiveSessions};
use crate::wire::sftp::{
    Attributes, OpenFlags, PacketReader, Request, RequestBody, Response, ResponseBody, encode_init,
};

const RETAINED: u64 = 100;
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct AnyServer {
    agreed: Arc<std::sync::OnceLock<Names>>,
}

impl client::Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        let _ = self.agreed.set(names.clone());
        Ok(())
    }
}

fn shared(stub: &Arc<Stub>) -> Shared {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let settings = ListenerSettings {
        greeting: None,
        name: "test".into(),
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        proxy_protocol: Vec::new(),
        host_keys: vec![Arc::new(key)],
        rekey_bytes: 1 << 30,
        rekey_time: Duration::from_secs(3600),
        keepalive: Duration::from_secs(60),
        channels: 10,
        retained_channels: RETAINED,
        algorithms: Algorithms::new(Side::Listener, Base::Modern),
        methods: Methods::ALL,
        host_certificates: Vec::new(),
        key_trust: KeyTrust::default(),
    };
    let gateway = Arc::new(gateway(stub));
    let admission = Admission::new(&gateway.limits);
    let (live, exchanges, drain) = (LiveSessions::new(), Arc::default(), Drain::new());
    Shared { settings, gateway, admission, live, exchanges, drain }
}

/// Starts a listener with the scripted backend, and returns its address.
async fn serve(stub: &Arc<Stub>) -> std::net::SocketAddr {
    let bound = bind(shared(stub), &Sockets::default()).unwrap();
    let address = bound.addresses()[0].1;
    bound.serve(&CancellationToken::new());
    address
}

async fn connect(address: std::net::SocketAddr) -> client::Handle<AnyServer> {
    connect_by(TcpStream::connect(address).await.unwrap()).await
}

async fn connect_by<S>(stream: S) -> client::Handle<AnyServer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut client =
        client::connect_stream(Arc::default(), stream, AnyServer::default()).await.unwrap();
    assert!(client.authenticate_password("u", "p").await.unwrap().success());
    client
}

fn packets(bodies: impl IntoIterator<Item = RequestBody>) -> Bytes {
    let mut packets = BytesMut::new();
    for (id, body) in (0..).zip(bodies) {
        Request { id, body }.encode(&mut packets);
    }
    packets.freeze()
}

/// Starts SFTP on the channel, and opens a file.
async fn open_for_writing(
    channel: &mut russh::Channel<client::Msg>,
    reader: &mut PacketReader,
) -> Bytes {
    channel.request_subsystem(true, "sftp").await.unwrap();
    let mut init = BytesMut::new();
    encode_init(&mut init);
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let path = Bytes::from_static(b"x");
    let open = RequestBody::Open { path, flags, attributes: Attributes::default() };
    init.extend_from_slice(&packets([open]));
    channel.data_bytes(init.freeze()).await.unwrap();
    timeout(EVENT_TIMEOUT, handle(channel, reader)).await.unwrap()
}

async fn handle(channel: &mut russh::Channel<client::Msg>, reader: &mut PacketReader) -> Bytes {
    loop {
        while let Some(packet) = reader.next().unwrap() {
            // VERSION comes first.
            if let Ok(Response { body: ResponseBody::Handle(handle), .. }) =
                Response::decode(packet)
            {
                return handle;
            }
        }
        if let russh::ChannelMsg::Data { data } = channel.wait().await.unwrap() {
            reader.push(data);
        }
    }
}

#[tokio::test]
async fn a_close_is_performed_when_the_channel_is_closed_after_it() {
    let stub = Arc::new(Stub::default());
    let address = serve(&stub).await;
    let client = connect(address).await;
    for _ in 0..20 {
        let mut channel = client.channel_open_session().await.unwrap();
        let mut reader = PacketReader::new(1000);
        let handle = open_for_writing(&mut channel, &mut reader).await;
        stub.calls();
        channel.data_bytes(packets([RequestBody::Close { handle }])).await.unwrap();
        channel.close().await.unwrap();
        let mut calls = Vec::new();
        while calls.is_empty() {
            sleep(Duration::from_millis(1)).await;
            calls = stub.calls();
        }
        assert_eq!(calls, ["close"]);
    }
}

#[tokio::test]
async fn clients_that_support_it_get_a_post_quantum_key_exchange() {
    let address = serve(&Arc::new(Stub::default())).await;
    let tcp = TcpStream::connect(address).await.unwrap();
    let agreed = Arc::default();
    let server = AnyServer { agreed: Arc::clone(&agreed) };
    let _client = client::connect_stream(Arc::default(), tcp, server).await.unwrap();
    let names = agreed.get().unwrap();
    assert!(names.strict_kex());
    assert_eq!(names.kex, russh::kex::MLKEM768X25519_SHA256);
}

/// A persistent connection with a channel for each of very many files.
#[tokio::test]
async fn channels_that_the_client_closes_are_not_limited() {
    let address = serve(&Arc::new(Stub::default())).await;
    let client = connect(address).await;
    for number in 0..300 {
        let channel = client.channel_open_session().await;
        let channel = channel.unwrap_or_else(|error| panic!("{number}: {error}"));
        channel.close().await.unwrap();
    }
}

/// russh keeps them in memory. OpenSSH's client lets the server close first.
#[tokio::test]
async fn too_many_channels_that_the_gateway_closed_end_the_connection() {
    let address = serve(&Arc::new(Stub::default())).await;
    let client = connect(address).await;
    for _ in 0..RETAINED {
        let mut channel = client.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        channel.eof().await.unwrap();
        while !matches!(
            timeout(EVENT_TIMEOUT, channel.wait()).await.unwrap(),
            None | Some(ChannelMsg::Eof)
        ) {}
    }
    let over = async {
        while !client.is_closed() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(EVENT_TIMEOUT, over).await.unwrap();
    connect(address).await.channel_open_session().await.unwrap();
}

/// A closed channel may not use more of the gateway than an open one.
#[tokio::test]
async fn requests_of_a_closed_channel_stay_within_the_budget() {
    const REMOVALS: usize = 2000;
    let stub = Arc::new(Stub::default());
    let resume = stub.hold("remove");
    let address = serve(&stub).await;
    let client = connect(address).await;
    let channel = client.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    let mut sent = BytesMut::new();
    encode_init(&mut sent);
    let name = |number: usize| Bytes::from(number.to_string());
    sent.extend_from_slice(&packets((0..REMOVALS).map(|n| RequestBody::Remove { path: name(n) })));
    channel.data_bytes(sent.freeze()).await.unwrap();
    channel.close().await.unwrap();
    // The reply shows that the close was received.
    timeout(EVENT_TIMEOUT, client.channel_open_session()).await.unwrap().unwrap();
    let mut done = 0;
    let all = async {
        while done < REMOVALS {
            resume.notify_waiters();
            sleep(Duration::ZERO).await;
            done += stub.calls().len();
        }
    };
    timeout(EVENT_TIMEOUT, all).await.unwrap();
    assert_eq!(stub.waiting_max(), REQUESTS_MAX);
}

/// russh does not read while a channel accepts no data, so it cannot see the end.
#[tokio::test]
async fn a_client_that_disconnects_while_its_upload_is_blocked_is_detected() {
    const BLOCK: usize = 32 * 1024;
    /// More than the gateway reads of one channel; the rest is in the sockets.
    const SENT: usize = 7 << 20;
    let stub = Arc::new(Stub::default());
    let address = serve(&stub).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    crate::net::reset_on_drop(&tcp);
    let (near, mut far) = tokio::io::duplex(BLOCK);
    let cable = tokio::spawn(async move { copy_bidirectional(&mut far, &mut tcp).await });
    let client = connect_by(near).await;
    let mut channel = client.channel_open_session().await.unwrap();
    let mut reader = PacketReader::new(1000);
    let handle = open_for_writing(&mut channel, &mut reader).await;
    let (mut sent, mut offset) = (0, 0);
    let upload = async {
        while sent < SENT {
            let data = vec![7; BLOCK].into();
            let write = RequestBody::Write { handle: handle.clone(), offset, data };
            let packet = packets([write]);
            sent += packet.len();
            offset += BLOCK as u64;
            channel.data_bytes(packet).await.unwrap();
        }
    };
    timeout(EVENT_TIMEOUT, upload).await.unwrap();
    tokio::time::pause();
    cable.abort();
    let cut = async {
        while !stub.calls().contains(&"abort".to_owned()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), cut).await.unwrap();
}

/// RFC 8332: the same key may sign with SHA-1, or better.
#[tokio::test]
async fn a_known_key_with_a_sha1_signature_is_refused() {
    let key = PublicKey::from(Ed25519Keypair::from_seed(&[9; 32]).public);
    let line = key.to_openssh().unwrap();
    let user = User { keys: AuthorizedKeys::parse(&line).unwrap(), ..User::default() };
    let stub = Arc::new(Stub::default());
    let mut shared = shared(&stub);
    let mut gateway = gateway(&stub);
    let users = UserTable::new(HashMap::from([(b"u".to_vec(), user)]));
    gateway.passwords = Arc::new(PasswordCheck::new(users));
    gateway.routes.0[0].backends = Backends::One(RouteBackend {
        name: "stub".into(),
        access: Access::of_users(Account::None),
    });
    shared.gateway = Arc::new(gateway);
    let mut logins = Logins::new(connection(shared));
    let old = Algorithm::Rsa { hash: None };
    assert!(matches!(logins.offer("u", &key, &old).await, Auth::Reject { .. }));
    assert!(matches!(logins.public_key("u", &key, &old).await, Auth::Reject { .. }));
    let new = Algorithm::Rsa { hash: Some(HashAlg::Sha256) };
    assert!(matches!(logins.offer("u", &key, &new).await, Auth::Accept));
    assert!(matches!(logins.public_key("u", &key, &new).await, Auth::Accept));
}

fn connection(shared: Shared) -> Arc<Connection> {
    let peer = "127.0.0.1:1".parse().unwrap();
    let endpoints = crate::net::Endpoints { peer, local: peer };
    let client_info = ClientInfo::new("test", "sftp", endpoints, &shared.drain);
    Connection::new(Arc::new(shared), client_info)
}

#[tokio::test]
async fn logins_are_refused_on_a_connection_that_ends() {
    let connection = || connection(shared(&Arc::new(Stub::default())));
    let disconnected = connection();
    let end = crate::session::SessionEnd::by(crate::op::Fault::Client, "too many failed logins");
    disconnected.end(Disconnect::NoMoreAuthMethodsAvailable, end);
    let closing = connection();
    closing.closing.cancel();
    for ending in [disconnected, closing] {
        let auth = Logins::new(ending.clone()).password("u", b"right").await;
        assert!(matches!(auth, Auth::Reject { .. }));
        assert!(ending.session().is_none());
    }
    let open = connection();
    let auth = Logins::new(open.clone()).password("u", b"right").await;
    assert!(matches!(auth, Auth::Accept) && open.session().is_some());
}
