//! The keys of `data_ports`: pools of passive data ports.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::{Many, section};
use crate::config::values::*;
use crate::data::ClientMatch;

section! {
    /// A pool of passive data ports.
    Pool {
        /// First and last port, both included ("50000-50099"), or one port.
        [required] range: Leaf<PortRange>,
        /// Addresses that every port listens on. Default: those of the listeners that use the pool; also
        /// 0.0.0.0 if a backend uses it, or nothing does.
        listen: OneOrMore<IpAddr>,
        /// The address and ports in replies to PASV and EPSV, by the client's network; the first match
        /// applies. Absent: the address that the client connected to.
        advertise: Many<Advertise>,
        /// What a data connection's source must share with its control connection's: address (default),
        /// network (the first 24 bits of an IPv4 address, 48 of an IPv6 address: for clients behind a
        /// carrier's NAT), or session (only the TLS session that it resumes).
        client_match: Leaf<ClientMatch>,
        /// Ports that are reserved for one client address at a time. Default: 1000.
        reservations_per_address: Leaf<Count>,
        /// How long PASV and EPSV wait for a free port before they are refused. Default: 10s.
        wait: Leaf<Duration>,
        /// Networks of load balancers. All data connections must come from there and start with a PROXY
        /// protocol header, as on a listener. Absent: clients connect directly, without a header.
        proxy_protocol: OneOrMore<IpNet>,
        /// This replica's part of the range, where several replicas share a configuration. Absent: the
        /// whole range.
        slice: Slice,
    }
}

section! {
    /// The address and ports for clients of a network.
    Advertise {
        /// The clients' network. Absent: every client.
        clients: Leaf<IpNet>,
        /// The address in PASV replies, or a name, which is looked up every minute (of several addresses
        /// of a family the lowest is used). `{index}` in it is replaced by the index of the replica's
        /// slice. Absent: the address that the client connected to.
        address: Leaf<AdvertisedHost>,
        /// Instead of address: the environment variable with it, such as the address of a pod's node.
        address_env: Leaf<Text>,
        /// What is added to the port number, where NAT changes ports. Default: 0.
        port_offset: Leaf<PortOffset>,
        /// Instead of port_offset: the ports that clients connect to, one for each port of the whole
        /// range, in the same order.
        ports: Leaf<PortRange>,
    }
}

section! {
    /// A replica's part of a range: slices are adjacent, in the order of their index. If the range does
    /// not divide evenly, the first slices have one port more.
    Slice {
        /// The number of slices: the maximum number of replicas, at most the number of ports.
        [required] of: Leaf<UpTo<65535>>,
        /// The environment variable with the replica's index, from 0, or with a name that ends in -N,
        /// such as a StatefulSet's pod name.
        [required] index_env: Leaf<Text>,
    }
}
