//! Who listens at a port of this machine: proc(5) says it of the own processes, and root of all.

use std::net::SocketAddr;

use crate::net::{ListeningSocket, listening_sockets};
use crate::op::escape::printable;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub pid: u32,
    /// The program's name, escaped.
    pub program: String,
}

/// The listening sockets, and the processes that have them.
pub(super) struct Holders {
    sockets: Vec<ListeningSocket>,
    /// By the number of the socket.
    processes: std::collections::HashMap<u64, Holder>,
}

/// Who is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// Nobody listens there.
    Nobody,
    Process(Holder),
    /// A process that this user may not see.
    Hidden,
}

impl Holders {
    /// As it is now.
    pub(super) fn look() -> Self {
        let sockets = listening_sockets();
        let mut processes = std::collections::HashMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(descriptors) = std::fs::read_dir(entry.path().join("fd")) else { continue };
            let links = descriptors.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
            let inodes = links.filter_map(|link| {
                link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
            });
            for inode in inodes.filter(|inode| sockets.iter().any(|it| it.inode == *inode)) {
                processes.entry(inode).or_insert_with(|| Holder { pid, program: program(pid) });
            }
        }
        Self { sockets, processes }
    }

    /// Who keeps others from listening at `address`.
    pub(super) fn at(&self, address: SocketAddr) -> At {
        let mut there = self.sockets.iter().filter(|socket| socket.occupies(address)).peekable();
        if there.peek().is_none() {
            return At::Nobody;
        }
        let mut known = there.filter_map(|socket| self.processes.get(&socket.inode));
        known.next().map_or(At::Hidden, |holder| At::Process(holder.clone()))
    }
}

fn program(pid: u32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    printable(name.trim_ascii_end()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_at_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let At::Process(holder) = Holders::look().at(address) else { panic!("nobody is there") };
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.program.is_empty());
        drop(listener);
        assert_eq!(Holders::look().at(address), At::Nobody);
    }
}
