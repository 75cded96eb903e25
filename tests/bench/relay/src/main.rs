//! Relays TCP ports from one address to the same ports of another, so that an FTP server's passive
//! range can be relayed along with its control port.
//!
//! Without a delay it is the plain relay that no gateway can beat by much. With one it is a distance:
//! each direction is late by the delay, the handshake included, and no rate is limited.

mod delayed;
mod plain;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

const USAGE: &str = "usage: lockgate-bench-relay LISTEN-IP TO-IP DELAY-MS PORT|FIRST-LAST...";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((listen, to, delay, ports)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    for port in ports {
        let address = SocketAddr::new(listen, port);
        match TcpListener::bind(address).await {
            Ok(listener) => _ = tokio::spawn(serve(listener, SocketAddr::new(to, port), delay)),
            Err(error) => {
                eprintln!("cannot listen on {address}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("ready");
    std::future::pending().await
}

fn parse(arguments: &[String]) -> Option<(IpAddr, IpAddr, Duration, Vec<u16>)> {
    let [listen, to, delay, ranges @ ..] = arguments else { return None };
    let mut ports = Vec::new();
    for text in ranges {
        ports.extend(range(text)?);
    }
    let delay = Duration::from_millis(delay.parse().ok()?);
    (!ports.is_empty()).then_some((listen.parse().ok()?, to.parse().ok()?, delay, ports))
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

async fn serve(listener: TcpListener, to: SocketAddr, delay: Duration) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => _ = tokio::spawn(connection(client, to, delay)),
            Err(error) => {
                eprintln!("cannot accept for {to}: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(client: TcpStream, to: SocketAddr, delay: Duration) {
    // Over the distance a client learns after one round trip that it is connected, the server half a
    // round trip later. This client has learnt it already, so the server is late by all three parts.
    tokio::time::sleep(delay * 3).await;
    let Ok(server) = TcpStream::connect(to).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    match delay {
        Duration::ZERO => plain::relay(client, server).await,
        _ => delayed::relay(client, server, delay).await,
    }
}
