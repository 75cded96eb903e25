//! Tests against a scripted server.

mod aborts;
mod copies;
mod ignored;
mod listings;
mod login_folder;
mod logins;
mod prefetch;
mod reads;
mod requests;
mod ssh_server;
mod streams;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::requests::{Incoming, Outgoing};
use super::server::Server;
use super::{HostKey, Settings, SftpSession, file, listing, login, operations, transfer, upload};
use crate::backend::path_leases::Account;
use crate::backend::{
    BackendSession, OpenFile, PartialUploads, ReadTransfer, UnsupportedAttributes,
};
use crate::data::{Sink, Source};
use crate::net::Connector;
use crate::net::ssh::{Algorithms, Base, Side};
use crate::op::{
    Failure, FailureKind, ListDirectory, Onto, OpenHandle, OpenMode, Operation, ReadFile,
    RemotePath, Representation, WriteFile, WriteMode,
};
use crate::wire::sftp::{
    Attributes, Extension, Limits, MAX_PACKET, Name, OpenFlags, PacketReader, Request, RequestBody,
    Response, ResponseBody, StatusCode, Version, decode_init,
};

use RequestBody as Q;
use ResponseBody as A;

struct FromPeer(mpsc::Receiver<Bytes>);
struct ToPeer(mpsc::Sender<Bytes>);

impl Incoming for FromPeer {
    async fn next(&mut self) -> Result<Bytes, String> {
        self.0.recv().await.ok_or_else(|| "the channel has ended".to_owned())
    }
}

impl Outgoing for ToPeer {
    async fn send(&mut self, bytes: Bytes) -> Result<(), String> {
        self.0.send(bytes).await.map_err(|_| "the channel has ended".to_owned())
    }
}

struct Peer {
    packets: PacketReader,
    from: mpsc::Receiver<Bytes>,
    to: mpsc::Sender<Bytes>,
}

fn settings(partial_uploads: PartialUploads) -> Arc<Settings> {
    Arc::new(Settings {
        name: "scripted".to_owned(),
        addresses: Vec::new(),
        host_key: HostKey::AcceptAny,
        algorithms: Algorithms::new(Side::Backend, Base::Modern),
        login_folder: None,
        names: crate::policy::Names::Exact,
        partial_uploads,
        unsupported_attributes: UnsupportedAttributes::Refuse,
        send_proxy_protocol: false,
        connects_at_once: Connector::DEFAULT_CONNECTS_AT_ONCE_MAX,
        source_address: None,
        connect_timeout: Duration::from_secs(10),
        reply_timeout: Duration::from_secs(10),
        realpath_timeout: Duration::from_secs(1),
        keepalive: Duration::from_secs(10),
    })
}

/// `extensions`: name and version.
async fn connected_as(
    extensions: &'static [(&'static str, &'static str)],
    partial_uploads: PartialUploads,
) -> (Arc<Server>, Peer) {
    let limits = Limits { packet: 262_144, read: 261_120, write: 261_120, open_handles: 9 };
    connected_to(extensions, limits, partial_uploads).await
}

async fn connected_to(
    extensions: &'static [(&'static str, &'static str)],
    limits: Limits,
    partial_uploads: PartialUploads,
) -> (Arc<Server>, Peer) {
    let (settings, home) = (settings(partial_uploads), Some(names(&["/home/me"])));
    initialized(&settings, extensions, limits, home).await
}

/// `home`: the server's response to REALPATH, if any.
async fn initialized(
    settings: &Arc<Settings>,
    extensions: &'static [(&'static str, &'static str)],
    limits: Limits,
    home: Option<ResponseBody>,
) -> (Arc<Server>, Peer) {
    let (to, incoming) = mpsc::channel(64);
    let (outgoing, from) = mpsc::channel(64);
    let mut peer = Peer { packets: PacketReader::new(MAX_PACKET), from, to };
    let ended = CancellationToken::new();
    let initialize =
        login::initialize(settings, FromPeer(incoming), ToPeer(outgoing), ended, false);
    let script = async {
        assert_eq!(decode_init(peer.packet().await).unwrap(), 3);
        let pair = |(name, value): &(&'static str, &'static str)| {
            (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()))
        };
        let version = Version { version: 3, extensions: extensions.iter().map(pair).collect() };
        let mut packet = BytesMut::new();
        version.encode(&mut packet);
        peer.to.send(packet.freeze()).await.unwrap();
        if extensions.iter().any(|(name, _)| name.starts_with("limits")) {
            let request = peer.request().await;
            assert_eq!(request.body, Q::Extended(Extension::Limits));
            // Its response comes after the next one's.
            let realpath = peer.request().await;
            if let Some(home) = home {
                peer.answer(realpath.id, home).await;
            }
            peer.answer(request.id, A::Extended(limits.encode())).await;
        } else {
            let realpath = peer.request().await;
            if let Some(home) = home {
                peer.answer(realpath.id, home).await;
            }
        }
    };
    let (server, ()) = tokio::join!(initialize, script);
    (Arc::new(server.unwrap()), peer)
}

async fn connected() -> (Arc<Server>, Peer) {
    let extensions = &[("limits@openssh.com", "1"), ("posix-rename@openssh.com", "1")];
    connected_as(extensions, PartialUploads::Keep).await
}

impl Peer {
    async fn packet(&mut self) -> Bytes {
        loop {
            if let Some(packet) = self.packets.next().unwrap() {
                return packet;
            }
            let bytes = timeout(Duration::from_secs(60), self.from.recv()).await;
            self.packets
                .push(bytes.expect("a request was expected").expect("the channel has ended"));
        }
    }

    async fn request(&mut self) -> Request {
        Request::decode(self.packet().await).unwrap()
    }

    async fn answer(&mut self, id: u32, body: ResponseBody) {
        let mut packet = BytesMut::new();
        Response { id, body }.encode(&mut packet);
        // In parts, as a channel may deliver them.
        for part in packet.chunks(10_000) {
            self.to.send(Bytes::copy_from_slice(part)).await.unwrap();
        }
    }

    /// Receives a request and answers it.
    async fn serve(&mut self, body: ResponseBody) -> RequestBody {
        let request = self.request().await;
        self.answer(request.id, body).await;
        request.body
    }

    async fn nothing(&mut self) {
        assert_eq!(self.packets.next(), Ok(None));
        let more = timeout(Duration::from_millis(50), self.from.recv()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

fn names(names: &[&'static str]) -> ResponseBody {
    let name = |name: &&'static str| Name {
        name: Bytes::from_static(name.as_bytes()),
        longname: Bytes::new(),
        attributes: Attributes::default(),
    };
    A::Names(names.iter().map(name).collect())
}

fn status(code: StatusCode, message: &'static str) -> ResponseBody {
    A::Status { code, message: Bytes::from_static(message.as_bytes()) }
}

fn ok() -> ResponseBody {
    status(StatusCode::OK, "")
}

fn handle() -> ResponseBody {
    A::Handle(Bytes::from_static(b"\xff\0h"))
}

fn data(length: usize) -> ResponseBody {
    A::Data(Bytes::from(vec![b'x'; length]))
}

fn of_size(size: u64) -> ResponseBody {
    A::Attributes(Attributes { size: Some(size), ..Attributes::default() })
}

fn path(given: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), given.as_bytes()).unwrap()
}

fn read() -> ReadFile {
    ReadFile { path: path("/f"), offset: 0, representation: Representation::Image }
}

fn write(mode: WriteMode) -> WriteFile {
    WriteFile { path: path("/f"), mode, representation: Representation::Image }
}

async fn opened(server: &Arc<Server>, peer: &mut Peer, mode: OpenMode) -> Arc<dyn OpenFile> {
    let operation = OpenHandle { path: path("/f"), mode };
    let (file, request) = tokio::join!(file::open(server, &operation), peer.serve(handle()));
    assert!(matches!(request, Q::Open { .. }));
    file.unwrap()
}

/// An open download; its first READs are in flight.
async fn open_read(server: &Arc<Server>, peer: &mut Peer) -> Box<dyn ReadTransfer> {
    let operation = read();
    let script = async {
        assert!(matches!(peer.serve(of_size(1)).await, Q::Stat { .. }));
        assert!(matches!(peer.serve(handle()).await, Q::Open { .. }));
    };
    let (transfer, ()) = tokio::join!(transfer::open(server, &operation), script);
    transfer.unwrap()
}

/// Two connections of one account.
async fn two_connected(partial: PartialUploads) -> [(Arc<Server>, Peer); 2] {
    let account = Account::new(&Arc::default(), b"me");
    let ((first, broken), (second, back)) =
        (connected_as(&[], partial).await, connected_as(&[], partial).await);
    let of_account = |server: Arc<Server>| {
        Arc::new(Arc::into_inner(server).unwrap().with_account(account.clone()))
    };
    [(of_account(first), broken), (of_account(second), back)]
}

/// An upload that has written seven bytes.
async fn started_upload(peer: &mut Peer, server: &Arc<Server>) -> Arc<dyn OpenFile> {
    let file = opened(server, peer, new_file()).await;
    let writing = tokio::spawn(file.write_at(0, Bytes::from_static(b"content")));
    peer.serve(ok()).await;
    writing.await.unwrap().unwrap();
    file
}

fn new_file() -> OpenMode {
    OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() }
}

fn read_write() -> OpenMode {
    OpenMode { read: true, write: true, ..OpenMode::default() }
}
