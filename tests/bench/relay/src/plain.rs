//! Relays bytes as they arrive.

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

const BUFFER: usize = 256 * 1024;

pub async fn relay(mut client: TcpStream, mut server: TcpStream) {
    // A cut on one side closes both: the two ends report it.
    let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
}
