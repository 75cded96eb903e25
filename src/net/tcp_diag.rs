//! What the kernel knows of a connection (sock_diag(7)): its round trip time, what is not acknowledged.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use tokio::net::TcpStream;

/// One response: the socket's description and its attributes.
const RESPONSE_MAX: usize = 8 * 1024;
/// Matches the socket by its addresses alone (`INET_DIAG_NOCOOKIE`).
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// The shortest round trip time of a connection in the last minutes. The kernel answers at once.
///
/// # Errors
/// Without sock_diag, where netlink sockets are forbidden, and for a closed connection.
pub fn round_trip(tcp: &TcpStream) -> io::Result<Duration> {
    let response = ask(tcp)?;
    let info = response.nlas.iter().find_map(|nla| match nla {
        // Clients delay acknowledgements by up to 40 ms when they have nothing to send: the smoothed time
        // includes that, the shortest does not. A new connection has no shortest.
        Nla::TcpInfo(info) if (1..u32::MAX).contains(&info.min_rtt) => Some(info.min_rtt),
        Nla::TcpInfo(info) => Some(info.rtt),
        _ => None,
    });
    let time = info.map(|micros| Duration::from_micros(micros.into()));
    time.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// How many bytes of an open connection the peer's kernel has not acknowledged.
///
/// # Errors
/// As [`round_trip`].
pub fn unacknowledged(tcp: &TcpStream) -> io::Result<u32> {
    Ok(ask(tcp)?.header.send_queue)
}

fn ask(tcp: &TcpStream) -> io::Result<InetResponse> {
    let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &request(local, peer), SendFlags::empty())?;
    let mut response = [0; RESPONSE_MAX];
    let (length, _) = recv(&socket, &mut response[..], RecvFlags::empty())?;
    parse(&response[..length])
}

fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let request = InetRequest {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: peer.port(),
            source_address: local.ip(),
            destination_address: peer.ip(),
            interface_id: 0,
            cookie: NO_COOKIE,
        },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn parse(response: &[u8]) -> io::Result<InetResponse> {
    let message = NetlinkMessage::<SockDiagMessage>::deserialize(response)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match message.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => Ok(*response),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_loopback_connection_has_a_short_round_trip_time() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            for tcp in [&near, &far] {
                let time = round_trip(tcp).unwrap();
                assert!(time > Duration::ZERO && time < Duration::from_millis(50), "{time:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_the_peer_has_no_room_for_is_not_acknowledged() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (_far, _) = listener.accept().await.unwrap();
            assert_eq!(unacknowledged(&near).unwrap(), 0);
            while near.try_write(&[7; 65_536]).is_ok() {}
            assert!(unacknowledged(&near).unwrap() > 65_536);
        }
    }
}
