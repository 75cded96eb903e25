//! Login hooks against scripted servers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use prometheus::Registry;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

mod answers;
mod caching;
mod protocol;
mod tls;

const LIMIT: Duration = Duration::from_secs(5);

/// A server that gives each request the same answer, and what it was asked.
struct Scripted {
    address: String,
    requests: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Scripted {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
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

    fn endpoint(&self) -> Endpoint {
        let (address, authority) = (self.address.clone(), self.address.clone());
        let server = Server::Tcp { address, authority, tls: None };
        Endpoint { server, path: "/login?from=lockgate".into() }
    }

    fn hook(&self) -> LoginHook {
        hook(self.endpoint(), LIMIT, Duration::from_secs(60))
    }

    /// The number of requests so far.
    fn asked(&mut self) -> usize {
        let mut asked = 0;
        while self.requests.try_recv().is_ok() {
            asked += 1;
        }
        asked
    }
}

/// A request with its body.
async fn read(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> (String, Value) {
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

fn hook(endpoint: Endpoint, timeout: Duration, cache_max: Duration) -> LoginHook {
    let token = Some(Token::new("open-sesame").unwrap());
    let metrics = HookMetrics::register(&Registry::new()).unwrap();
    let name = "directory".into();
    let settings = Settings { name, endpoint, token, timeout, requests_at_once: 4, cache_max };
    LoginHook::new(settings, &metrics)
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn question<'a>(user: &'a str, password: &'a str) -> Question<'a> {
    Question {
        user: user.as_bytes(),
        shown: Shown::Password(password.as_bytes()),
        certificate: None,
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        listener: "public",
        protocol: "ftps",
        encrypted: true,
        backend: "files",
    }
}

/// The answer, `None` for a refusal, or the fault.
async fn ask(hook: &LoginHook, question: &Question<'_>) -> Result<Option<Answer>, HookError> {
    match hook.ask(question, |answer| Ok(answer.clone())).await {
        Ok(Verdict::Allowed(answer)) => Ok(Some(answer)),
        Ok(Verdict::Refused(_)) => Ok(None),
        Err(NoVerdict::Hook(error)) => Err(error),
        Err(NoVerdict::Question(bad)) => panic!("{bad}"),
    }
}

fn key() -> russh::keys::PublicKey {
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a comment";
    russh::keys::PublicKey::from_openssh(line).unwrap()
}
