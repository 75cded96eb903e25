use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// A pool of passive data ports (`data_ports`) as configured.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The name in the configuration, for messages and metric labels.
    pub name: String,
    pub ports: Ports,
    /// Every port listens on each of these.
    pub listen: Vec<IpAddr>,
    /// First match; without one, the address that the control connection came to.
    pub advertise: Vec<Advertise>,
}

#[derive(Debug, Clone)]
pub enum Ports {
    Range(RangeInclusive<u16>),
    /// As many as said, chosen by the kernel at start. For `demo`: no firewall knows them.
    Ephemeral(u16),
}

/// Which address a PASV reply names for clients of a network.
#[derive(Debug, Clone)]
pub struct Advertise {
    /// `None`: every client.
    pub clients: Option<IpNet>,
    pub address: IpAddr,
}
