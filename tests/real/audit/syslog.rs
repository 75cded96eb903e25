//! A syslog receiver over TLS (RFC 5425), scripted, which goes away and comes back.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::support::PASSWORD;
use crate::support::audit::Schema;
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;

type Tls = BufReader<StreamOwned<ServerConnection, TcpStream>>;

fn server_config() -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&pki().certificate).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&pki().key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).expect("a configuration"))
}

fn accept(listener: &TcpListener) -> Tls {
    let (tcp, _) = listener.accept().expect("a connection");
    tcp.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let connection = ServerConnection::new(server_config()).expect("a connection");
    BufReader::new(StreamOwned::new(connection, tcp))
}

/// The record of the next message; checks its octet count and header (RFC 5424, RFC 5425).
fn next(tls: &mut Tls) -> Value {
    let mut length = Vec::new();
    tls.read_until(b' ', &mut length).expect("an octet count");
    let length = String::from_utf8(length).expect("digits");
    let mut message = vec![0; length.trim_end().parse().expect("a length")];
    tls.read_exact(&mut message).expect("a message");
    let message = String::from_utf8(message).expect("UTF-8");
    let fields: Vec<_> = message.splitn(8, ' ').collect();
    assert_eq!((fields[3], fields[6]), ("lockgate", "-"), "{message}");
    let record: Value =
        serde_json::from_str(fields[7]).unwrap_or_else(|e| panic!("{e}: {message}"));
    assert_eq!((&record["event"], &record["time"]), (&fields[5].into(), &fields[1].into()));
    // Facility local3; informational, notice or warning.
    let expected = match (record["outcome"].as_str(), record["fault"].as_str()) {
        (_, Some("gateway")) => "<156>1",
        (Some("ok"), _) => "<158>1",
        _ => "<157>1",
    };
    assert_eq!(fields[0], expected, "{message}");
    record
}

fn receiver(address: SocketAddr, more: &str) -> String {
    format!(
        "{{ syslog: {{ address: \"{address}\", ca: {}, facility: local3{more} }}, when_unavailable: refuse }}",
        pki().ca.display()
    )
}

#[test]
fn a_receiver_over_tls_gets_all_records_also_after_it_was_away() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let site = start(&receiver(address, ""));
    let schema = Schema::load();
    let mut tls = accept(&listener);
    // The handshake takes place while this reads.
    let login = std::thread::scope(|scope| {
        let first = scope.spawn(|| next(&mut tls));
        assert!(becomes_true(|| {
            let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
            client.expect(&format!("USER {USER}"), 331);
            client.command(&format!("PASS {PASSWORD}")).code == 230
        }));
        first.join().expect("the reader")
    });
    schema.validate(&login);
    let mut seen = vec![login];
    while seen.last().expect("a record")["event"] != "session-end" {
        seen.push(next(&mut tls));
    }
    assert!(seen.iter().any(|record| record["event"] == "login" && record["outcome"] == "ok"));

    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.login(USER, PASSWORD);
    assert_eq!(client.upload("STOR \u{fc}", b"x").code, 226);
    assert_eq!(next(&mut tls)["event"], "login");
    assert_eq!(next(&mut tls)["path"], "/\u{fc}");
    // It goes away: what cannot be recorded is refused.
    drop((tls, listener));
    let series = "lockgate_audit_unavailable{output=\"syslog\"}";
    assert!(becomes_true(|| site.gateway.metric(series) == Some(1)));
    client.expect("MKD d", 450);
    let listener = TcpListener::bind(address).expect("the same port");
    let mut tls = accept(&listener);
    let refused = next(&mut tls);
    schema.validate(&refused);
    assert_eq!((&refused["path"], &refused["outcome"]), (&"/d".into(), &"busy".into()));
    assert!(becomes_true(|| client.command("MKD e").code == 257));
    loop {
        let record = next(&mut tls);
        schema.validate(&record);
        if record["path"] == "/e" {
            assert_eq!(record["outcome"], "ok");
            break;
        }
    }
}

/// A receiver with a certificate for another name gets nothing, and the log says why.
#[test]
fn a_receiver_that_is_not_trusted_gets_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let site = start(&receiver(address, ", server_name: logs.example.com"));
    let mut tls = accept(&listener);
    let mut received = Vec::new();
    let end = tls.read_to_end(&mut received);
    assert!(end.is_err() && received.is_empty(), "{end:?}");
    let line = site.gateway.await_log(|event| event["event"] == "audit", TIMEOUT);
    let expected = "it is not valid for \"logs.example.com\": if it is genuine, set `audit.syslog.server_name`";
    assert!(line["reason"].as_str().is_some_and(|it| it.contains(expected)), "{line}");
    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.expect(&format!("USER {USER}"), 331);
    client.expect(&format!("PASS {PASSWORD}"), 421);
}
