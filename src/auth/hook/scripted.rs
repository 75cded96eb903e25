//! A scripted server of login hooks, for unit tests.

use std::time::Duration;

use prometheus::Registry;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// A server that gives each request the same answer, and what it was asked.
pub(crate) struct Scripted {
    pub(super) address: String,
    pub(super) requests: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Scripted {
    pub(crate) async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::unbounded_channel();
        let answer = answer.into();
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let request = read(&mut tcp).await;
                let _ = sender.send(request);
                // A client that has seen enough closes.
                let _ = tcp.write_all(&answer).await;
            }
        });
        Self { address, requests }
    }

    /// A server at this address, of which nothing is known.
    pub(crate) fn at(address: &str) -> Self {
        let (_, requests) = mpsc::unbounded_channel();
        Self { address: address.to_owned(), requests }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let (address, authority) = (self.address.clone(), self.address.clone());
        let server = Server::Tcp { address, authority, tls: None };
        Endpoint { server, path: "/login?from=lockgate".into() }
    }

    pub(crate) fn hook(&self) -> LoginHook {
        hook(self.endpoint(), LIMIT, Duration::from_secs(60))
    }

    /// The questions so far.
    pub(crate) fn questions(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).map(|(_, question)| question).collect()
    }

    /// The number of questions so far.
    pub(crate) fn asked(&mut self) -> usize {
        self.questions().len()
    }
}

/// The hook "directory" with a token.
pub(super) fn hook(endpoint: Endpoint, timeout: Duration, cache_max: Duration) -> LoginHook {
    let token = Some(Token::new("open-sesame").unwrap());
    let metrics = HookMetrics::register(&Registry::new()).unwrap();
    let name = "directory".into();
    let settings = Settings { name, endpoint, token, timeout, requests_at_once: 4, cache_max };
    LoginHook::new(settings, &metrics)
}

/// A request with its body.
pub(super) async fn read(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> (String, Value) {
    let mut text = Vec::new();
    loop {
        let byte = stream.read_u8().await.unwrap();
        text.push(byte);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let header = String::from_utf8(text).unwrap();
    let length = header.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (header, serde_json::from_slice(&body).unwrap())
}

/// A whole answer with this body.
pub(crate) fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
