//! A client of the admin address that sends exactly what a test specifies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::support::pki::pki;
use crate::support::raw::dial;

const TIMEOUT: Duration = Duration::from_secs(15);

/// What came back; a status of 0: nothing.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// With the status line.
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends these bytes and reads to the end.
pub fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Response {
    // The gateway may close before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// `GET /status` and fields, each with its line end, after Host.
pub fn request(line: &str, host: &str, fields: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes()
}

/// In clear, with the host by which a browser would call it.
pub fn ask(address: SocketAddr, line: &str, fields: &str) -> Response {
    exchange(dial(address), &request(line, &address.to_string(), fields))
}

/// Under TLS; also the certificate that the gateway showed.
pub fn tls(address: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&pki().ca).expect("the CA")).expect("a CA");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("TLS");
    let tcp = dial(address);
    tcp.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    StreamOwned::new(session, tcp)
}
