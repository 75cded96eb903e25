//! Bytes of closed connections that the kernel has still to deliver. In a container they are lost with its
//! network, as soon as the process has ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::task;

/// The tables of the process's network namespace.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
const INTERVAL: Duration = Duration::from_millis(100);
/// Peers that have acknowledged nothing for so long are gone.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Linux's FIN_WAIT1, LAST_ACK and CLOSING: the peer has not acknowledged the end.
const ENDING: [&str; 3] = ["04", "09", "0B"];

/// Ports that connections are accepted at.
#[derive(Debug, Clone, Default)]
pub struct ServedPorts {
    /// Of listeners.
    pub control: BTreeSet<u16>,
    /// What is sent from them is a part of a file, or of a listing.
    pub data: BTreeSet<u16>,
}

/// Waits until peers have acknowledged everything that was sent from these ports on connections that are
/// closed, for at most `limit`, and no longer than they acknowledge something. Returns the number of bytes
/// that are left of data connections: who does not receive a last reply loses no file. Where the kernel does
/// not tell (no `/proc`), there is nothing to wait for.
pub async fn undelivered(ports: ServedPorts, limit: Duration) -> u64 {
    let (deadline, ports) = (Instant::now() + limit, Arc::new(ports));
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        let ports = ports.clone();
        let asked = task::spawn_blocking(move || {
            let tables = TABLES.map(|table| std::fs::read_to_string(table).unwrap_or_default());
            let left = |ports| tables.iter().map(|table| unacknowledged(table, ports)).sum::<u64>();
            (left(&ports.data), left(&ports.control))
        });
        let Ok((of_data, of_control)) = asked.await else { return 0 };
        let bytes = of_data + of_control;
        let now = Instant::now();
        if bytes < least {
            (least, since) = (bytes, now);
        }
        if bytes == 0 || now >= deadline || now - since >= STALL_TIMEOUT {
            return of_data;
        }
        sleep(INTERVAL).await;
    }
}

/// The bytes, and the ends, that peers of closed connections have not acknowledged.
fn unacknowledged(table: &str, ports: &BTreeSet<u16>) -> u64 {
    let of_line = |line: &str| {
        // The number, the local address, the peer's, the state, the lengths of both queues, …
        let mut fields = line.split_ascii_whitespace().skip(1);
        let port = fields.next()?.rsplit_once(':')?.1;
        let port = u16::from_str_radix(port, 16).ok().filter(|port| ports.contains(port));
        let state = fields.nth(1)?;
        let queued = fields.next()?.split_once(':')?.0;
        port.filter(|_| ENDING.contains(&state))?;
        u64::from_str_radix(queued, 16).ok()
    };
    table.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test]
    async fn waits_until_the_peer_has_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let data = |port| ServedPorts { data: BTreeSet::from([port]), ..ServedPorts::default() };
        let ports = || data(address.port());
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(4096).unwrap();
        let (client, accepted) = tokio::join!(client.connect(address), listener.accept());
        let (mut client, (mut server, _)) = (client.unwrap(), accepted.unwrap());
        SockRef::from(&server).set_send_buffer_size(1 << 20).unwrap();
        server.write_all(&[7; 300_000]).await.unwrap();
        assert_eq!(undelivered(ports(), Duration::ZERO).await, 0, "the connection is still open");
        drop(server);
        assert!(undelivered(ports(), Duration::ZERO).await > 100_000);
        assert_eq!(undelivered(data(1), Duration::ZERO).await, 0, "another port");

        let control = ServedPorts { control: ports().data, ..ServedPorts::default() };
        assert_eq!(undelivered(control, Duration::ZERO).await, 0, "no file");

        let mut content = Vec::new();
        let (read, left) = tokio::join!(
            client.read_to_end(&mut content),
            undelivered(ports(), Duration::from_secs(10))
        );
        assert_eq!((read.unwrap(), left), (300_000, 0));
    }

    #[test]
    fn counts_only_connections_that_end() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:7530 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0 1\n\
            1: 0100007F:7530 0200007F:C000 01 00000100:00000000 01:00000014 0 0 0 2\n\
            2: 0100007F:7530 0200007F:C001 04 00001001:00000000 01:00000014 0 0 0 0\n\
            3: 00000000000000000000000001000000:7531 00:C001 09 00000001:00000000 01:0 0 0 0\n\
            4: 0100007F:0016 0200007F:C002 04 00001000:00000000 01:00000014 0 0 0 0\n\
            5: rubbish\n";
        assert_eq!(unacknowledged(table, &BTreeSet::from([0x7530, 0x7531])), 0x1002);
    }
}
