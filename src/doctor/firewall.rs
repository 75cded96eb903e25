//! What firewalls must let through, from the configuration.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::audit::{Output, Receiver, SyslogSettings};
use crate::auth::hook;
use crate::backend::ftp::DataMode;
use crate::config::{BackendSettings, Compiled};
use crate::data::{Advertise, Host, PoolSettings, Ports};
use crate::op::escape::printable;

/// Connections of TCP that a firewall must let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Who connects.
    pub source: String,
    /// To which address or name.
    pub destination: String,
    /// To which ports.
    pub ports: String,
    /// What for.
    pub purpose: String,
}

const CLIENTS: &str = "clients";
const GATEWAY: &str = "gateway";
const HIGH_PORTS: &str = "1024-65535";

impl Opening {
    pub(super) fn new(
        source: impl Into<String>,
        destination: impl Into<String>,
        ports: impl Into<String>,
        purpose: impl Into<String>,
    ) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            ports: ports.into(),
            purpose: purpose.into(),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "source": self.source,
            "destination": self.destination,
            "protocol": "tcp",
            "ports": self.ports,
            "purpose": self.purpose,
        })
    }
}

/// What a configuration needs, in the order: clients, servers, others.
pub fn openings(config: &Compiled) -> Vec<Opening> {
    let mut all = Vec::new();
    for listener in &config.listeners {
        let source = sources(&listener.proxy_protocol);
        let purpose = format!("control connections, listener \"{}\"", listener.name);
        control(&source, &listener.addresses, &purpose, &mut all);
        let named = |pool: &&PoolSettings| Some(&pool.name) == listener.data_ports.as_ref();
        if let Some(pool) = config.pools.iter().find(named) {
            let purpose = format!("data connections, listener \"{}\"", listener.name);
            passive(&sources(&pool.proxy_protocol), pool, &listener.addresses, &purpose, &mut all);
        }
        if listener.active_allowed {
            let from = match &listener.active_source_ports {
                Some(ports) => format!("{GATEWAY}, ports {}-{}", ports.start(), ports.end()),
                None => GATEWAY.to_owned(),
            };
            let purpose = format!("active data connections, listener \"{}\"", listener.name);
            all.push(Opening::new(from, CLIENTS, HIGH_PORTS, purpose));
        }
    }
    for listener in &config.sftp_listeners {
        let purpose = format!("SFTP, listener \"{}\"", listener.name);
        control(&sources(&listener.proxy_protocol), &listener.addresses, &purpose, &mut all);
    }
    for (name, backend) in &config.backends {
        of_backend(name, backend, config, &mut all);
    }
    others(config, &mut all);
    all.dedup();
    all
}

/// The data ports as clients outside see them, where all FTP listeners have the same ones.
pub fn client_ports(config: &Compiled) -> Option<RangeInclusive<u16>> {
    let mut used = config.listeners.iter().filter_map(|listener| listener.data_ports.as_ref());
    let name = used.next()?;
    if used.any(|other| other != name) {
        return None;
    }
    let pool = config.pools.iter().find(|pool| pool.name == *name)?;
    let Ports::Range(range) = &pool.ports else { return None };
    let outside = pool.advertise.iter().find(|entry| entry.clients.is_none());
    let shift = |port: u16| {
        u16::try_from(i32::from(port) + outside.map_or(0, |entry| entry.port_offset)).ok()
    };
    Some(shift(*range.start())?..=shift(*range.end())?)
}

fn sources(proxies: &[IpNet]) -> String {
    let shown: Vec<_> = proxies.iter().map(ToString::to_string).collect();
    if shown.is_empty() { CLIENTS.to_owned() } else { format!("proxies {}", shown.join(", ")) }
}

fn control(source: &str, addresses: &[SocketAddr], purpose: &str, all: &mut Vec<Opening>) {
    for address in addresses {
        let ports = address.port().to_string();
        all.push(Opening::new(source, own(address.ip()), ports, purpose));
    }
}

fn own(ip: IpAddr) -> String {
    if ip.is_unspecified() { GATEWAY.to_owned() } else { ip.to_string() }
}

fn passive(
    source: &str,
    pool: &PoolSettings,
    listeners: &[SocketAddr],
    purpose: &str,
    all: &mut Vec<Opening>,
) {
    for entry in &pool.advertise {
        let source = match &entry.clients {
            Some(network) if source == CLIENTS => format!("{CLIENTS} in {network}"),
            _ => source.to_owned(),
        };
        let destinations = match &entry.address {
            Some(Host::Ip(ip)) => vec![ip.to_string()],
            Some(Host::Name(name)) => vec![name.clone()],
            None => listeners.iter().map(|address| own(address.ip())).collect(),
        };
        for destination in destinations {
            all.push(Opening::new(&source, destination, ports(pool, entry.port_offset), purpose));
        }
    }
    let is_complete = |entry: &Advertise| entry.clients.is_none();
    if !pool.advertise.iter().any(is_complete) {
        for address in listeners {
            all.push(Opening::new(source, own(address.ip()), ports(pool, 0), purpose));
        }
    }
}

fn ports(pool: &PoolSettings, offset: i32) -> String {
    let shift = |port: u16| i32::from(port) + offset;
    match &pool.ports {
        Ports::Range(range) if range.start() == range.end() => shift(*range.start()).to_string(),
        Ports::Range(range) => format!("{}-{}", shift(*range.start()), shift(*range.end())),
        Ports::Ephemeral(_) => "any".to_owned(),
    }
}

fn of_backend(name: &str, backend: &BackendSettings, config: &Compiled, all: &mut Vec<Opening>) {
    let (addresses, source) = match backend {
        BackendSettings::Ftp(it) => (&it.addresses, it.source_address),
        BackendSettings::Sftp(it) => (&it.addresses, it.source_address),
        BackendSettings::Local(_) => return,
    };
    let source = source.map_or_else(|| GATEWAY.to_owned(), |ip| ip.to_string());
    for address in addresses {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        all.push(Opening::new(&source, host, port, format!("backend \"{name}\"")));
        let BackendSettings::Ftp(ftp) = backend else { continue };
        let purpose = format!("data connections, backend \"{name}\"");
        match ftp.data_mode {
            DataMode::Passive => {
                let ports = format!("{HIGH_PORTS}, or the server's passive ports");
                all.push(Opening::new(&source, host, ports, purpose));
            }
            DataMode::Active => {
                let named = |pool: &&PoolSettings| Some(&pool.name) == ftp.data_ports.as_ref();
                if let Some(pool) = config.pools.iter().find(named) {
                    let own: Vec<_> =
                        pool.listen.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
                    passive(host, pool, &own, &purpose, all);
                }
            }
        }
    }
}

fn others(config: &Compiled, all: &mut Vec<Opening>) {
    let mut to = |address: &str, purpose: String| {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        all.push(Opening::new(GATEWAY, host, port, purpose));
    };
    for output in &config.audit {
        if let Output::Syslog(SyslogSettings { receiver: Receiver::Tcp { address, .. }, .. }) =
            &output.output
        {
            to(address, "audit records (syslog)".to_owned());
        }
    }
    for it in &config.login_hooks {
        if let hook::Server::Tcp { address, .. } = &it.endpoint.server {
            to(address, format!("login hook \"{}\"", it.name));
        }
    }
    if let Some(address) = config.metrics.filter(|address| !address.ip().is_loopback()) {
        let ports = address.port().to_string();
        all.push(Opening::new("monitoring", own(address.ip()), ports, "metrics and health"));
    }
}

/// For people.
pub(super) fn table(openings: &[Opening]) -> String {
    let titles = Opening::new("FROM", "TO", "TCP PORTS", "FOR");
    let rows: Vec<[String; 4]> = std::iter::once(&titles)
        .chain(openings)
        .map(|it| {
            [&it.source, &it.destination, &it.ports, &it.purpose]
                .map(|text| printable(text.as_bytes()).to_string())
        })
        .collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let [a, b, c] = [0, 1, 2].map(width);
    let mut text = String::new();
    for [source, destination, ports, purpose] in &rows {
        let _ = writeln!(text, "  {source:<a$}  {destination:<b$}  {ports:<c$}  {purpose}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
listeners:
  public: { protocol: ftp, address: "0.0.0.0:2121", data_ports: public, active: { allowed: true } }
data_ports:
  public:
    range: 50000-50099
    advertise:
      - { clients: 10.0.0.0/8, address: 10.0.0.11 }
      - { address: 203.0.113.7, port_offset: 1000 }
  legacy: { range: 51000-51009, advertise: [{ address: 10.0.0.11 }] }
backends:
  stock: { protocol: ftp, address: "stock.example:21" }
  old: { protocol: ftp, address: "10.0.0.9:21", data_mode: active, data_ports: legacy }
routes:
  - { match: { users: [a] }, backend: old, authenticate: backend }
  - { backend: stock, authenticate: backend }
"#;

    #[test]
    fn every_way_of_a_configuration_is_listed() {
        let config = crate::config::load_str(CONFIG, "t").map_err(|e| e.to_string()).unwrap();
        let found: Vec<_> = openings(&config)
            .into_iter()
            .map(|it| format!("{} > {} : {}", it.source, it.destination, it.ports))
            .collect();
        assert_eq!(
            found,
            [
                "clients > gateway : 2121",
                "clients in 10.0.0.0/8 > 10.0.0.11 : 50000-50099",
                "clients > 203.0.113.7 : 51000-51099",
                "gateway > clients : 1024-65535",
                "gateway > stock.example : 21",
                "gateway > stock.example : 1024-65535, or the server's passive ports",
                "gateway > 10.0.0.9 : 21",
                "10.0.0.9 > 10.0.0.11 : 51000-51009",
            ]
        );
        assert_eq!(client_ports(&config), Some(51_000..=51_099));
        let text = table(&openings(&config));
        assert!(text.starts_with("  FROM"), "{text}");
        assert_eq!(text.lines().count(), 9);
    }
}
