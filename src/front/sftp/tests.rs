//! Whole connections: russh's client at the door, a scripted backend behind it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::client;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKeyOrCertificate};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::listener::{BoundListener, Shared};
use super::requests::tests::{Stub, gateway};
use super::settings::ListenerSettings;
use crate::net::Drain;
use crate::session::Admission;
use crate::wire::sftp::{
    Attributes, OpenFlags, PacketReader, Request, RequestBody, Response, ResponseBody, encode_init,
};

const SOON: Duration = Duration::from_secs(10);

struct AnyServer;

impl client::Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A listener over the scripted backend, and where it is.
async fn serve(stub: &Arc<Stub>) -> std::net::SocketAddr {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let settings = ListenerSettings {
        name: "test".into(),
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        host_keys: vec![Arc::new(key)],
        rekey_bytes: 1 << 30,
        rekey_time: Duration::from_secs(3600),
        keepalive: Duration::from_secs(60),
        channels: 10,
    };
    let gateway = Arc::new(gateway(stub));
    let admission = Admission::new(&gateway.limits);
    let shared = Shared { settings, gateway, admission, drain: Drain::new() };
    let bound = BoundListener::bind(shared).unwrap();
    let address = bound.addresses()[0];
    bound.serve();
    address
}

async fn enter(address: std::net::SocketAddr) -> client::Handle<AnyServer> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut client = client::connect_stream(Arc::default(), tcp, AnyServer).await.unwrap();
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
async fn a_close_counts_though_the_channel_is_closed_behind_it() {
    let stub = Arc::new(Stub::default());
    let address = serve(&stub).await;
    let client = enter(address).await;
    for _ in 0..20 {
        let mut channel = client.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        let mut init = BytesMut::new();
        encode_init(&mut init);
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let path = Bytes::from_static(b"x");
        let open = RequestBody::Open { path, flags, attributes: Attributes::default() };
        init.extend_from_slice(&packets([open]));
        channel.data_bytes(init.freeze()).await.unwrap();
        let mut reader = PacketReader::new(1000);
        let handle = timeout(SOON, handle(&mut channel, &mut reader)).await.unwrap();
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
