//! Tests of the TLS server: handshakes, resumption, evidence.

use std::io::{Read, Write};
use std::time::Instant;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::tls::CertificateAndKey;

/// Like GnuTLS: ChangeCipherSpec alone, then the rest of the last flight.
fn handshake_in_pieces(mut tcp: std::net::TcpStream, config: Arc<ClientConfig>) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    loop {
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        let piece = if flight.first() == Some(&20) { 6 } else { flight.len() };
        tcp.write_all(&flight[..piece]).unwrap();
        tcp.write_all(&flight[piece..]).unwrap();
        if !tls.is_handshaking() {
            break;
        }
        tls.read_tls(&mut tcp).unwrap();
        tls.process_new_packets().unwrap();
    }
    // Until the server closes.
    let _ = tcp.read_to_end(&mut Vec::new());
}

struct Ends {
    server: ServerTls,
    client: ClientConfig,
}

fn ends(versions: &[&'static rustls::SupportedProtocolVersion]) -> Ends {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain = vec![made.cert.der().clone()];
    let server = ServerTls::new(CertificateAndKey::new(chain, key).unwrap(), None).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ends { server, client }
}

/// Both ends of a TCP connection, the client's under TLS in a task that reads one byte.
async fn dial(client: &ClientConfig) -> (tokio::task::JoinHandle<()>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.clone()));
    let near = tokio::spawn(async move {
        let name = ServerName::try_from("localhost").unwrap();
        let mut near = connector.connect(name, near).await.unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut near).await.unwrap();
    });
    (near, far)
}

/// A control session whose client has received its tickets.
async fn control(server: &ServerTls, client: &ClientConfig) -> ControlTls {
    let control = server.control_session();
    control.note_handshake_allowed();
    let (near, far) = dial(client).await;
    let mut stream = control.accept_control(far).await.unwrap().unwrap();
    tokio::io::AsyncWriteExt::write_u8(&mut stream, 7).await.unwrap();
    tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
    near.await.unwrap();
    control
}

async fn data(control: &ControlTls, client: &ClientConfig) -> bool {
    let (near, far) = dial(client).await;
    let accepted =
        control.accept_data((far, Vec::new()), Instant::now(), Direction::Download).await;
    let DataHandshake { mut stream, resumed, .. } = accepted.unwrap();
    tokio::io::AsyncWriteExt::write_u8(&mut stream, 7).await.unwrap();
    tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
    near.await.unwrap();
    resumed
}

#[tokio::test]
async fn a_client_that_offers_another_control_session_shares_its_store() {
    use rustls::client::{Resumption, Tls12Resumption};
    for ids_only in [false, true] {
        let only_12 = &[&rustls::version::TLS12][..];
        let Ends { server, mut client } =
            ends(if ids_only { only_12 } else { rustls::ALL_VERSIONS });
        if ids_only {
            let resumption = Resumption::in_memory_sessions(8);
            client.resumption = resumption.tls12_resumption(Tls12Resumption::SessionIdOnly);
        }
        let alone = control(&server, &client).await;
        assert!(!alone.resumption_evidence().shares_store);
        let another = control(&server, &client).await;
        assert!(
            alone.resumption_evidence().shares_store && another.resumption_evidence().shares_store,
            "{ids_only}"
        );
    }
}

#[tokio::test]
async fn a_data_connection_may_resume_a_related_session() {
    let Ends { server, client } = ends(rustls::ALL_VERSIONS);
    let mut stranger = client.clone();
    stranger.resumption = Default::default();
    let one = control(&server, &client).await;
    let two = control(&server, &client).await;
    let third = control(&server, &stranger).await;
    for _ in 0..12 {
        assert!(data(&one, &client).await && data(&two, &client).await);
    }
    assert!(data(&third, &stranger).await);
    assert!(!data(&third, &client).await);
    assert!(!data(&one, &stranger).await);
}

#[tokio::test]
async fn a_last_flight_in_pieces_is_acknowledged_at_once() {
    let Ends { server, client } = ends(rustls::ALL_VERSIONS);
    let client = Arc::new(client);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut times = Vec::new();
    for _ in 0..11 {
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let config = client.clone();
        let peer = std::thread::spawn(move || handshake_in_pieces(near, config));
        let (far, _) = listener.accept().await.unwrap();
        let control = server.control_session();
        let start = Instant::now();
        let accepted = control
            .accept_data((far, Vec::new()), Instant::now(), Direction::Download)
            .await
            .unwrap();
        times.push(start.elapsed());
        drop(accepted.stream);
        peer.join().unwrap();
    }
    times.sort();
    // A late acknowledgement takes 40 ms each time; a busy machine does not.
    assert!(times[2].as_millis() < 35, "{times:?}");
}
