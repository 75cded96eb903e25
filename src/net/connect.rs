use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Tries `host:port` addresses in order, each of a name's too. Brings the one that answered with it.
/// Each lookup and each attempt gets `limit`. The error tells of every attempt.
pub async fn connect(addresses: &[String], limit: Duration) -> Result<(TcpStream, &str), String> {
    let mut errors = Vec::new();
    for address in addresses {
        let candidates: Vec<SocketAddr> = match timeout(limit, lookup_host(address)).await {
            Ok(Ok(candidates)) => candidates.collect(),
            Ok(Err(e)) => {
                errors.push(format!("{address}: {e}"));
                continue;
            }
            Err(_) => {
                errors.push(format!("{address}: the name was not resolved in time"));
                continue;
            }
        };
        for candidate in candidates {
            match timeout(limit, TcpStream::connect(candidate)).await {
                Ok(Ok(tcp)) => {
                    super::prepare(&tcp);
                    return Ok((tcp, address));
                }
                Ok(Err(e)) => errors.push(format!("{candidate}: {e}")),
                Err(_) => errors.push(format!("{candidate}: not connected in time")),
            }
        }
    }
    Err(errors.join("; "))
}
