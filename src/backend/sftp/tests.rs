//! Against a server that answers as each test says.

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
use super::{HostKey, Settings, file, listing, login, operations, transfer, upload};
use crate::backend::{OpenFile, PartialUploads};
use crate::data::{Sink, Source};
use crate::op::{
    Failure, FailureKind, Onto, OpenMode, Operation, RemotePath, Representation, WriteMode,
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
        self.0.recv().await.ok_or_else(|| "the end".to_owned())
    }
}

impl Outgoing for ToPeer {
    async fn send(&mut self, bytes: Bytes) -> Result<(), String> {
        self.0.send(bytes).await.map_err(|_| "the end".to_owned())
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
        legacy_algorithms: false,
        partial_uploads,
        connect_timeout: Duration::from_secs(10),
        reply_timeout: Duration::from_secs(10),
        keepalive: Duration::from_secs(10),
    })
}

/// `extensions`: name and version.
async fn connected_as(
    extensions: &'static [(&'static str, &'static str)],
    partial_uploads: PartialUploads,
) -> (Arc<Server>, Peer) {
    let (to, incoming) = mpsc::channel(64);
    let (outgoing, from) = mpsc::channel(64);
    let mut peer = Peer { packets: PacketReader::new(MAX_PACKET), from, to };
    let settings = settings(partial_uploads);
    let greet =
        login::greet(&settings, FromPeer(incoming), ToPeer(outgoing), CancellationToken::new());
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
            let limits = Limits { packet: 262_144, read: 261_120, write: 261_120, open_handles: 9 };
            let asked = peer.request().await;
            assert_eq!(asked.body, Q::Extended(Extension::Limits));
            // Its answer comes behind the next one's.
            let home = peer.request().await;
            peer.answer(home.id, names(&["/home/me"])).await;
            peer.answer(asked.id, A::Extended(limits.encode())).await;
        } else {
            let home = peer.request().await;
            peer.answer(home.id, names(&["/home/me"])).await;
        }
    };
    let (server, ()) = tokio::join!(greet, script);
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
            self.packets.push(bytes.expect("a request was expected").expect("the end"));
        }
    }

    async fn request(&mut self) -> Request {
        Request::decode(self.packet().await).unwrap()
    }

    async fn answer(&mut self, id: u32, body: ResponseBody) {
        let mut packet = BytesMut::new();
        Response { id, body }.encode(&mut packet);
        // In pieces, as channels cut them.
        for piece in packet.chunks(10_000) {
            self.to.send(Bytes::copy_from_slice(piece)).await.unwrap();
        }
    }

    /// Takes a request and answers it.
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

fn read() -> Operation {
    Operation::Read { path: path("/f"), offset: 0, representation: Representation::Image }
}

fn write(mode: WriteMode) -> Operation {
    Operation::Write { path: path("/f"), mode, representation: Representation::Image }
}

async fn opened(server: &Arc<Server>, peer: &mut Peer, mode: OpenMode) -> Arc<dyn OpenFile> {
    let operation = Operation::Open { path: path("/f"), mode };
    let (file, asked) = tokio::join!(file::open(server, &operation), peer.serve(handle()));
    assert!(matches!(asked, Q::Open { .. }));
    file.unwrap()
}

fn both() -> OpenMode {
    OpenMode { read: true, write: true, ..OpenMode::default() }
}

#[tokio::test]
async fn home_and_limits_are_asked_for_in_one_flight() {
    let (server, _peer) = connected().await;
    assert_eq!(server.home, path("/home/me"));
    assert_eq!((server.largest_read, server.largest_write), (261_120, 261_120));
    assert!(!server.abilities().sync);
    let (server, _peer) = connected_as(&[], PartialUploads::Keep).await;
    assert_eq!(server.largest_read, 32_768);
}

#[tokio::test]
async fn answers_in_any_order() {
    let (server, mut peer) = connected().await;
    let stat = |name: &str| Operation::Size(path(name), Representation::Image);
    let (a, b, c) = (stat("/1"), stat("/2"), stat("/3"));
    let asking = join_all([&a, &b, &c].map(|operation| operations::perform(&server, operation)));
    let answering = async {
        let asked = [peer.request().await, peer.request().await, peer.request().await];
        for Request { id, body } in asked.iter().rev() {
            let Q::Stat { path } = body else { panic!("{body:?}") };
            let size = u64::from(path[1] - b'0');
            peer.answer(*id, of_size(size)).await;
        }
    };
    let (answers, ()) = tokio::join!(asking, answering);
    let answers: Vec<_> = answers.into_iter().map(|a| format!("{:?}", a.unwrap())).collect();
    assert_eq!(answers, ["Size(1)", "Size(2)", "Size(3)"]);
}

#[tokio::test]
async fn requests_go_out_in_the_order_of_the_calls() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    let first = file.read_at(5, 10);
    let second = file.write_at(5, Bytes::from_static(b"abc"));
    let third = file.read_at(7, 10);
    // None was polled.
    assert!(matches!(peer.serve(data(10)).await, Q::Read { offset: 5, length: 10, .. }));
    let Q::Write { offset: 5, data: written, .. } = peer.serve(ok()).await else { panic!() };
    assert_eq!(written, "abc");
    assert!(matches!(peer.serve(data(3)).await, Q::Read { offset: 7, length: 10, .. }));
    assert_eq!(third.await.unwrap().unwrap().len(), 3);
    second.await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().len(), 10);
}

#[tokio::test]
async fn short_reads_and_ends() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    let reading = tokio::spawn(file.read_at(100, 1000));
    assert!(matches!(peer.serve(data(300)).await, Q::Read { offset: 100, length: 1000, .. }));
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 300);
    let reading = tokio::spawn(file.read_at(5000, 1000));
    peer.serve(status(StatusCode::EOF, "End of file")).await;
    assert!(reading.await.unwrap().unwrap().is_none());
    let reading = tokio::spawn(file.read_at(0, 10));
    peer.serve(data(11)).await;
    assert_eq!(reading.await.unwrap().unwrap_err().kind, FailureKind::Internal);
}

#[tokio::test]
async fn what_is_over_the_limits_is_split() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, both()).await;
    let reading = file.read_at(10, 100_000);
    let content: Bytes = (0..100_000usize).map(|n| (n * 7) as u8).collect();
    let mut at = 0;
    for length in [32_768usize, 32_768, 32_768, 1696] {
        let asked = peer.serve(A::Data(content.slice(at..at + length))).await;
        assert!(
            matches!(asked, Q::Read { offset, length: l, .. } if offset == 10 + at as u64 && l as usize == length)
        );
        at += length;
    }
    assert!(reading.await.unwrap().unwrap() == content);
    let writing = file.write_at(10, content.clone());
    let mut got = Vec::new();
    while got.len() < content.len() {
        let Q::Write { offset, data, .. } = peer.serve(ok()).await else { panic!() };
        assert_eq!(offset, 10 + got.len() as u64);
        assert!(data.len() <= 32_768);
        got.extend_from_slice(&data);
    }
    writing.await.unwrap();
    assert!(got == content);
}

#[tokio::test]
async fn the_end_of_the_channel_is_told_to_all() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    let waiting = [file.read_at(0, 10), file.read_at(10, 10)];
    peer.request().await;
    drop(peer);
    for reading in waiting {
        assert_eq!(reading.await.unwrap_err().kind, FailureKind::Unavailable);
    }
    let later = operations::perform(&server, &Operation::Stat(path("/x"))).await.unwrap_err();
    assert_eq!(later.kind, FailureKind::Unavailable);
    assert_eq!(file.close().await.unwrap_err().kind, FailureKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn silence_is_bounded_and_progress_is_no_silence() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    // Eight answers, each within the limit of ten seconds, sixty-four in all.
    let queue = tokio::spawn(join_all((0..8).map(|n| file.read_at(n * 10_000, 10))));
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        peer.serve(data(10)).await;
    }
    assert!(queue.await.unwrap().iter().all(Result::is_ok));
    let started = tokio::time::Instant::now();
    let silent = file.read_at(1_000_000, 10).await.unwrap_err();
    assert_eq!(silent.kind, FailureKind::Unavailable);
    assert!((10..=21).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn who_breaks_the_protocol_is_dropped() {
    for broken in [
        &b"\0\0\0\x05\x65\0\0\x27\x0f"[..],
        b"\0\0\0\x01\x65",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x09\x68\0\0\0\x02\xff\xff\xff\xff",
    ] {
        let (server, mut peer) = connected().await;
        let operation = Operation::Stat(path("/x"));
        let asking = operations::perform(&server, &operation);
        let breaking = async {
            peer.request().await;
            peer.to.send(Bytes::from_static(broken)).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asking, breaking);
        assert_eq!(answer.unwrap_err().kind, FailureKind::Unavailable, "{broken:?}");
    }
}

#[tokio::test]
async fn an_open_that_was_given_up_leaves_no_handle() {
    let (server, mut peer) = connected().await;
    let open = || Q::OpenDir { path: Bytes::from_static(b"/") };
    let answer = server.requests.ask(open());
    let request = peer.request().await;
    drop(answer);
    peer.answer(request.id, handle()).await;
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
    // Answered, but not yet taken.
    let answer = server.requests.ask(open());
    peer.serve(handle()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(answer);
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test]
async fn a_small_get_is_open_then_reads_and_a_close_nobody_waits_for() {
    let (server, mut peer) = connected().await;
    let operation = read();
    let (transfer, _) = tokio::join!(transfer::open(&server, &operation), peer.serve(handle()));
    let mut transfer = transfer.unwrap();
    let asked = [peer.request().await, peer.request().await, peer.request().await];
    assert!(matches!(asked[0].body, Q::FileStat { .. }));
    assert!(matches!(asked[1].body, Q::Read { offset: 0, length: 261_120, .. }));
    assert!(matches!(asked[2].body, Q::Read { offset: 261_120, .. }));
    peer.nothing().await;
    peer.answer(asked[2].id, status(StatusCode::EOF, "")).await;
    peer.answer(asked[0].id, of_size(4096)).await;
    peer.answer(asked[1].id, data(4096)).await;
    let Source::Reader(reader) = transfer.source() else { panic!() };
    let mut content = Vec::new();
    reader.read_to_end(&mut content).await.unwrap();
    assert_eq!(content.len(), 4096);
    transfer.finish().await.unwrap();
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test]
async fn what_a_short_answer_left_out_is_asked_for() {
    let (server, mut peer) = connected().await;
    let operation = read();
    let (transfer, _) = tokio::join!(transfer::open(&server, &operation), peer.serve(handle()));
    let mut transfer = transfer.unwrap();
    peer.serve(of_size(1000)).await;
    peer.serve(data(300)).await;
    peer.serve(status(StatusCode::EOF, "")).await;
    let Source::Reader(reader) = transfer.source() else { panic!() };
    let reading = async {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).await.unwrap();
        content
    };
    let script = async {
        assert!(matches!(peer.serve(data(1)).await, Q::Read { offset: 300, length: 260_820, .. }));
        assert!(matches!(peer.serve(data(699)).await, Q::Read { offset: 301, .. }));
        let end = status(StatusCode::EOF, "");
        assert!(matches!(peer.serve(end).await, Q::Read { offset: 1000, .. }));
    };
    let (content, ()) = tokio::join!(reading, script);
    assert_eq!(content.len(), 1000);
}

#[tokio::test]
async fn a_small_put_is_open_then_write_and_close_in_one_flight() {
    let (server, mut peer) = connected().await;
    let operation = write(WriteMode::From { offset: 0 });
    let (transfer, asked) = tokio::join!(upload::open(&server, &operation), peer.serve(handle()));
    let mut transfer = transfer.unwrap();
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    assert!(matches!(asked, Q::Open { flags: f, .. } if f == flags), "{asked:?}");
    let Sink::Writer(writer) = transfer.sink() else { panic!() };
    writer.write_all(b"content").await.unwrap();
    let finishing = tokio::spawn(transfer.finish());
    let (first, second) = (peer.request().await, peer.request().await);
    assert!(matches!(&first.body, Q::Write { offset: 0, data, .. } if data == "content"));
    assert!(matches!(second.body, Q::Close { .. }));
    peer.answer(second.id, ok()).await;
    peer.answer(first.id, ok()).await;
    finishing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refused_write_is_the_uploads_failure_and_the_part_goes() {
    for last in [false, true] {
        let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
        let operation = write(WriteMode::From { offset: 0 });
        let (transfer, _) = tokio::join!(upload::open(&server, &operation), peer.serve(handle()));
        let mut transfer = transfer.unwrap();
        let Sink::Writer(writer) = transfer.sink() else { panic!() };
        writer.write_all(b"content").await.unwrap();
        writer.flush().await.unwrap();
        let full = status(StatusCode::FAILURE, "No space left on device");
        let failure = if last {
            let finishing = tokio::spawn(transfer.finish());
            peer.serve(full).await;
            assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
            finishing.await.unwrap().unwrap_err()
        } else {
            peer.serve(full).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(writer.flush().await.is_err());
            let aborting = tokio::spawn(transfer.abort());
            assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
            aborting.await.unwrap().unwrap()
        };
        assert_eq!(failure.kind, FailureKind::NoSpace, "{last}");
        peer.nothing().await;
    }
}

#[tokio::test]
async fn a_file_that_was_not_wholly_written_never_gets_its_name() {
    let extensions = &[("posix-rename@openssh.com", "1")];
    let (server, mut peer) = connected_as(extensions, PartialUploads::TemporaryName).await;
    let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
    let operation = Operation::Open { path: path("/f"), mode };
    let script = async {
        assert!(matches!(peer.serve(status(StatusCode::NO_SUCH_FILE, "")).await, Q::Stat { .. }));
        let Q::Open { path, flags, .. } = peer.serve(handle()).await else { panic!() };
        assert!(path.starts_with(b"/.lockgate-") && path.ends_with(b".part"));
        assert!(flags.contains(OpenFlags::EXCLUSIVE) && !flags.contains(OpenFlags::TRUNCATE));
    };
    let (file, ()) = tokio::join!(file::open(&server, &operation), script);
    let file = file.unwrap();
    // Nobody waits for the write's answer.
    drop(file.write_at(0, Bytes::from_static(b"lost")));
    let closing = tokio::spawn(async move { file.close().await });
    peer.serve(status(StatusCode::FAILURE, "Input/output error")).await;
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    assert!(closing.await.unwrap().is_err());
    peer.nothing().await;
}

#[tokio::test]
async fn a_server_that_does_not_rename_onto_files_has_the_old_one_put_aside() {
    let (server, mut peer) = connected_as(&[], PartialUploads::TemporaryName).await;
    let operation = write(WriteMode::From { offset: 0 });
    let script = async {
        peer.serve(A::Attributes(Attributes {
            permissions: Some(0o100640),
            ..Attributes::default()
        }))
        .await;
        peer.serve(handle()).await;
        let Q::FileSetStat { attributes, .. } = peer.serve(ok()).await else { panic!() };
        assert_eq!(attributes.permissions, Some(0o640));
    };
    let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
    let finishing = tokio::spawn(transfer.unwrap().finish());
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    let refused = status(StatusCode::FAILURE, "File exists");
    let Q::Rename { from: new, to } = peer.serve(refused).await else { panic!() };
    assert_eq!(to, "/f");
    let Q::Rename { from, to: aside } = peer.serve(ok()).await else { panic!() };
    assert_eq!(from, "/f");
    assert_eq!(peer.serve(ok()).await, Q::Rename { from: new, to });
    assert_eq!(peer.serve(ok()).await, Q::Remove { path: aside });
    finishing.await.unwrap().unwrap();
}

#[tokio::test]
async fn reads_in_a_row_are_read_ahead_of_and_a_write_forgets_it() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    for n in 0..4 {
        let reading = tokio::spawn(file.read_at(n * 32_768, 32_768));
        assert!(matches!(peer.serve(data(32_768)).await, Q::Read { length: 32_768, .. }));
        reading.await.unwrap().unwrap();
    }
    let ahead = [peer.request().await, peer.request().await];
    assert!(matches!(ahead[0].body, Q::Read { offset: 131_072, length: 229_376, .. }));
    assert!(matches!(ahead[1].body, Q::Read { offset: 360_448, length: 229_376, .. }));
    peer.answer(ahead[0].id, data(229_376)).await;
    let served = file.read_at(131_072, 32_768).await.unwrap().unwrap();
    assert_eq!(served.len(), 32_768);
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {}
    drop(file.write_at(200_000, Bytes::from_static(b"new")));
    drop(file.read_at(163_840, 32_768));
    assert!(matches!(peer.serve(ok()).await, Q::Write { .. }));
    assert!(matches!(peer.serve(data(1)).await, Q::Read { offset: 163_840, length: 32_768, .. }));
}

#[tokio::test]
async fn a_listing_keeps_requests_under_way_and_ends_with_the_servers_word() {
    let (server, mut peer) = connected().await;
    let operation = Operation::List(path("/d"));
    let (listing, _) = tokio::join!(listing::open(&server, &operation), peer.serve(handle()));
    let mut listing = listing.unwrap();
    let first = [peer.request().await, peer.request().await];
    assert!(first.iter().all(|r| matches!(r.body, Q::ReadDir { .. })));
    peer.answer(first[0].id, names(&[".", "..", "a", "b/c"])).await;
    let batch = listing.next().await.unwrap().unwrap();
    assert_eq!(batch.iter().map(|e| &e.name[..]).collect::<Vec<_>>(), [b"a"]);
    peer.answer(first[1].id, status(StatusCode::PERMISSION_DENIED, "")).await;
    assert_eq!(listing.next().await.unwrap_err().kind, FailureKind::PermissionDenied);
}

#[tokio::test]
async fn what_the_server_does_not_offer_is_unsupported() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Keep).await;
    let rename = |onto| Operation::Rename { from: path("/a"), to: path("/b"), onto };
    for operation in [
        rename(Onto::Replaced),
        Operation::HardLink { from: path("/a"), to: path("/b") },
        Operation::FileSystem(path("/")),
        Operation::AccountNames { users: vec![1], groups: vec![] },
    ] {
        let refused: Failure = operations::perform(&server, &operation).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported, "{operation}");
    }
    let operation = rename(Onto::AsBackend);
    let (renamed, asked) = tokio::join!(operations::perform(&server, &operation), peer.serve(ok()));
    assert!(renamed.is_ok() && matches!(asked, Q::Rename { .. }));
}

#[tokio::test]
async fn a_folder_is_made_with_its_permissions() {
    let (server, mut peer) = connected().await;
    for permissions in [Some(0o700), None] {
        let made = Operation::MakeDirectory { path: path("/new"), permissions };
        let script = async {
            let asked = peer.request().await;
            let attributes = Attributes { permissions, ..Attributes::default() };
            assert_eq!(asked.body, Q::MakeDir { path: "/new".into(), attributes });
            peer.answer(asked.id, ok()).await;
        };
        let (made, ()) = tokio::join!(operations::perform(&server, &made), script);
        made.unwrap();
    }
}
