//! Syslog receivers: what they get, also after they were gone.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixDatagram, UnixListener};
use tokio::time::timeout;

use super::*;

fn to(receiver: Receiver) -> Output {
    Output::Syslog(SyslogSettings { receiver, facility: Facility::Local(3) })
}

/// The next message with its octet count (RFC 5425 section 4.3).
async fn message(tcp: &mut BufReader<TcpStream>) -> String {
    let mut length = Vec::new();
    timeout(TIMEOUT, tcp.read_until(b' ', &mut length)).await.unwrap().unwrap();
    let length: usize = str::from_utf8(&length).unwrap().trim_end().parse().unwrap();
    let mut message = vec![0; length];
    timeout(TIMEOUT, tcp.read_exact(&mut message)).await.unwrap().unwrap();
    String::from_utf8(message).unwrap()
}

/// Checks the header of RFC 5424; returns the record.
fn record_of(message: &str) -> &str {
    let fields: Vec<_> = message.splitn(8, ' ').collect();
    let [priority, time, host, app, process, id, data, record] = fields[..] else {
        panic!("{message}")
    };
    // local3 and informational.
    assert_eq!(priority, "<158>1", "{message}");
    assert!(humantime::parse_rfc3339(time).is_ok() && !host.is_empty(), "{message}");
    assert_eq!((app, id, data), ("lockgate", "transfer", "-"), "{message}");
    assert_eq!(process, std::process::id().to_string());
    assert!(record.is_ascii(), "{record}");
    record
}

#[tokio::test]
async fn messages_over_tcp_arrive_also_after_the_receiver_was_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = Receiver::Tcp { address: address.to_string(), tls: None };
    let (audit, writers, registry) = start(to(receiver));
    assert!(audit.admits().is_err(), "not connected yet");
    let (tcp, _) = timeout(TIMEOUT, listener.accept()).await.unwrap().unwrap();
    let mut tcp = BufReader::new(tcp);
    until("the admission", || audit.admits().is_ok()).await;
    record(&audit, "/größe 1");
    record(&audit, "/2");
    assert_eq!(path_of(record_of(&message(&mut tcp).await)), "/größe 1");
    assert_eq!(path_of(record_of(&message(&mut tcp).await)), "/2");
    // The connection's end is noticed without a record.
    drop((tcp, listener));
    until("the refusal", || audit.admits().is_err()).await;
    record(&audit, "/3");
    let listener = TcpListener::bind(address).await.unwrap();
    let (tcp, _) = timeout(TIMEOUT, listener.accept()).await.unwrap().unwrap();
    let mut tcp = BufReader::new(tcp);
    assert_eq!(path_of(record_of(&message(&mut tcp).await)), "/3");
    until("the admission", || audit.admits().is_ok()).await;
    record(&audit, "/4");
    writers.close().await;
    assert_eq!(path_of(record_of(&message(&mut tcp).await)), "/4");
    assert_eq!(tcp.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(metric(&registry, "lockgate_audit_lost_total"), 0.0);
}

/// A receiver that talks, as some do, is still a receiver.
#[tokio::test]
async fn what_a_receiver_sends_is_ignored() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (audit, writers, _) = start(to(Receiver::Tcp { address, tls: None }));
    let (mut tcp, _) = timeout(TIMEOUT, listener.accept()).await.unwrap().unwrap();
    tcp.write_all(&[b'x'; 1000]).await.unwrap();
    until("the admission", || audit.admits().is_ok()).await;
    record(&audit, "/1");
    let mut tcp = BufReader::new(tcp);
    assert_eq!(path_of(record_of(&message(&mut tcp).await)), "/1");
    writers.close().await;
}

#[tokio::test]
async fn a_datagram_socket_gets_a_message_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (audit, writers, registry) = start(to(Receiver::Socket(path.clone())));
    let receive = async |socket: &UnixDatagram| {
        let mut message = vec![0; 65536];
        let length = timeout(TIMEOUT, socket.recv(&mut message)).await.unwrap().unwrap();
        path_of(record_of(str::from_utf8(&message[..length]).unwrap()))
    };
    record(&audit, "/1");
    assert_eq!(receive(&socket).await, "/1");
    // The daemon is restarted.
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    record(&audit, "/2");
    until("the refusal", || audit.admits().is_err()).await;
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(receive(&socket).await, "/2");
    record(&audit, "/3");
    writers.close().await;
    assert_eq!(receive(&socket).await, "/3");
    assert_eq!(metric(&registry, "lockgate_audit_lost_total"), 0.0);
}

/// What is longer than any datagram must not hold up the others.
#[tokio::test]
async fn a_message_that_no_datagram_can_carry_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut messages = std::collections::VecDeque::from(["x".repeat(1 << 20), "short".to_owned()]);
    let mut connection = super::super::syslog::Connection::new(Receiver::Socket(path));
    assert_eq!(connection.write(&mut messages).await.unwrap(), 1);
    assert!(messages.is_empty());
    let mut message = [0; 16];
    assert_eq!(socket.recv(&mut message).await.unwrap(), 5);
}

#[tokio::test]
async fn a_stream_socket_gets_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let (audit, writers, _) = start(to(Receiver::Socket(path)));
    let (stream, _) = timeout(TIMEOUT, listener.accept()).await.unwrap().unwrap();
    record(&audit, "/a\nb");
    record(&audit, "/2");
    writers.close().await;
    let mut lines = BufReader::new(stream).lines();
    for expected in ["/a\nb", "/2"] {
        let line = timeout(TIMEOUT, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert_eq!(path_of(record_of(&line)), expected);
    }
    assert_eq!(lines.next_line().await.unwrap(), None);
}
