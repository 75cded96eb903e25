//! The ports of listeners, data connections and metrics: free, held by the running gateway, or by somebody
//! else.

use std::io;
use std::net::SocketAddr;

use super::finding::Findings;
use super::holder::{At, Holder, Holders};
use super::running::RunningGateway;
use crate::config::Compiled;
use crate::data::Ports;
use crate::net;

/// The state of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Free,
    Gateway,
    /// Another process listens there.
    Taken(Holder),
    /// In use, perhaps by the running gateway: this user cannot see it.
    Hidden,
    /// In use, and nobody listens: an outgoing connection has the port.
    Outgoing,
    NotLocal,
    /// This user may not listen there.
    Denied,
    Failed(String),
}

/// Tries every address. Sockets are bound for a moment, and never listen.
pub(super) fn examine(config: &Compiled, running: &RunningGateway) -> Findings {
    let mut all = Findings::new("");
    let holders = Holders::look();
    let look = |address: SocketAddr| {
        let bound = net::bind(address).map(drop);
        state(bound, || holders.at(address), running, address.port())
    };
    let listeners = config.listeners.iter().map(|it| (&it.name, &it.addresses));
    let sftp = config.sftp_listeners.iter().map(|it| (&it.name, &it.addresses));
    for (name, addresses) in listeners.chain(sftp) {
        let mut findings = Findings::new(format!("listener \"{name}\""));
        for address in addresses.iter().filter(|address| address.port() != 0) {
            judge(*address, &look(*address), running, &mut findings);
        }
        all.append(findings);
    }
    for pool in &config.pools {
        let Ports::Range(range) = &pool.ports else { continue };
        let mut findings = Findings::new(format!("data ports \"{}\"", pool.name));
        for ip in &pool.listen {
            let states = range.clone().map(|port| (port, look(SocketAddr::new(*ip, port))));
            judge_range(*ip, states.collect(), running, &mut findings);
        }
        all.append(findings);
    }
    if let Some(address) = config.metrics.filter(|address| address.port() != 0) {
        let mut findings = Findings::new("metrics");
        judge(address, &look(address), running, &mut findings);
        all.append(findings);
    }
    all
}

fn state(
    bound: io::Result<()>,
    holder: impl FnOnce() -> At,
    running: &RunningGateway,
    port: u16,
) -> State {
    let error = match bound {
        Ok(()) => return State::Free,
        Err(error) => error,
    };
    let held = |or: State| match holder() {
        At::Nobody => or,
        At::Process(holder) if running.has_process(holder.pid) => State::Gateway,
        At::Process(holder) => State::Taken(holder),
        At::Hidden if running.has_data_port(port) => State::Gateway,
        At::Hidden => State::Hidden,
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => held(State::Outgoing),
        io::ErrorKind::AddrNotAvailable => State::NotLocal,
        io::ErrorKind::PermissionDenied => held(State::Denied),
        _ => State::Failed(error.to_string()),
    }
}

fn judge(address: SocketAddr, state: &State, running: &RunningGateway, findings: &mut Findings) {
    judge_shown(&address.to_string(), state, running, findings);
}

/// Ports in the same state are told together.
fn judge_range(
    ip: std::net::IpAddr,
    states: Vec<(u16, State)>,
    running: &RunningGateway,
    findings: &mut Findings,
) {
    let mut groups: Vec<(State, Vec<u16>)> = Vec::new();
    for (port, state) in states {
        match groups.iter_mut().find(|(known, _)| *known == state) {
            Some((_, ports)) => ports.push(port),
            None => groups.push((state, vec![port])),
        }
    }
    for (state, ports) in groups {
        let ip = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        judge_shown(&format!("{ip}:{}", ranges(&ports)), &state, running, findings);
    }
}

/// `50000-50003, 50009`: the ports are in ascending order.
pub(super) fn ranges(ports: &[u16]) -> String {
    let mut all: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match all.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => all.push((port, port)),
        }
    }
    let shown =
        all.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    shown.collect::<Vec<_>>().join(", ")
}

fn judge_shown(shown: &str, state: &State, running: &RunningGateway, findings: &mut Findings) {
    match state {
        State::Free if running.pid().is_some() => findings.warning_with(
            format!("{shown} is free, although a gateway runs here"),
            "it has another configuration than this file: reload or restart it to apply this one",
        ),
        State::Free => findings.ok(format!("{shown} is free")),
        State::Gateway => findings.ok(format!("{shown} is held by the running gateway")),
        State::Taken(Holder { pid, program }) => findings.problem(
            format!("{shown} is in use by {program} (process {pid})"),
            "stop that program, or choose other ports; the gateway does not start",
        ),
        State::Hidden => {
            let message = format!("{shown} is in use, and this user cannot see by which program");
            let remedy =
                "run doctor as the gateway's user or as root; `ss -tlnp` shows the program to root";
            match running {
                RunningGateway::None => findings.problem(message, remedy),
                RunningGateway::Runs { .. } | RunningGateway::Unknown { .. } => {
                    findings.skipped(message, remedy);
                }
            }
        }
        State::Outgoing => findings.problem(
            format!(
                "{shown} is in use by a connection of this machine: the gateway does not start"
            ),
            "keep the kernel from using the ports for outgoing connections: `sysctl -w \
             net.ipv4.ip_local_reserved_ports=…`, and the same line in /etc/sysctl.d",
        ),
        State::NotLocal => findings.problem(
            format!("{shown}: not an address of this machine"),
            "`ip address` lists those that are; write one of them",
        ),
        State::Denied => findings.problem(
            format!("this user may not listen at {shown}"),
            "run doctor as the gateway's user; if it is that one, give its unit \
             `AmbientCapabilities=CAP_NET_BIND_SERVICE`, or lower \
             `sysctl net.ipv4.ip_unprivileged_port_start`",
        ),
        State::Failed(error) => findings.problem(format!("{shown}: {error}"), ""),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::finding::Level;
    use super::*;

    fn running() -> RunningGateway {
        let data_ports = BTreeSet::from([50_000]);
        RunningGateway::Runs { socket: "/s".into(), pid: 7, pids_before: vec![6], data_ports }
    }

    fn error(kind: io::ErrorKind) -> io::Result<()> {
        Err(kind.into())
    }

    #[test]
    fn the_holder_of_a_port_decides() {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        let holder = |pid| Holder { pid, program: "vsftpd".into() };
        for (bound, at, port, expected) in [
            (Ok(()), At::Nobody, 21, State::Free),
            (error(AddrInUse), At::Process(holder(7)), 21, State::Gateway),
            (error(AddrInUse), At::Process(holder(6)), 21, State::Gateway),
            (error(AddrInUse), At::Process(holder(8)), 21, State::Taken(holder(8))),
            (error(PermissionDenied), At::Process(holder(8)), 21, State::Taken(holder(8))),
            (error(PermissionDenied), At::Nobody, 21, State::Denied),
            (error(AddrInUse), At::Hidden, 21, State::Hidden),
            (error(AddrInUse), At::Hidden, 50_000, State::Gateway),
            (error(AddrInUse), At::Nobody, 50_000, State::Outgoing),
            (error(AddrNotAvailable), At::Nobody, 21, State::NotLocal),
        ] {
            assert_eq!(state(bound, || at, &running(), port), expected);
        }
    }

    #[test]
    fn states_are_judged() {
        let judged = |state: State, running: &RunningGateway| {
            let mut findings = Findings::new("t");
            judge("10.0.0.1:21".parse().unwrap(), &state, running, &mut findings);
            findings.levels()[0].0
        };
        assert_eq!(judged(State::Free, &RunningGateway::None), Level::Ok);
        assert_eq!(judged(State::Free, &running()), Level::Warning);
        assert_eq!(judged(State::Hidden, &RunningGateway::None), Level::Problem);
        assert_eq!(judged(State::Hidden, &running()), Level::Skipped);
        assert_eq!(judged(State::Denied, &RunningGateway::None), Level::Problem);
    }

    #[test]
    fn ports_in_one_state_are_told_together() {
        let mut findings = Findings::new("t");
        let states = [(1, State::Free), (2, State::Outgoing), (3, State::Free), (4, State::Free)];
        judge_range("::1".parse().unwrap(), states.into(), &RunningGateway::None, &mut findings);
        let levels = findings.levels();
        assert_eq!(levels[0], (Level::Ok, "[::1]:1, 3-4 is free"));
        assert_eq!(levels[1].0, Level::Problem);
        assert_eq!(ranges(&[65_534, 65_535]), "65534-65535");
    }
}
