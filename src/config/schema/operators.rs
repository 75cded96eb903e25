//! The keys of what operators see: `metrics`, `admin` and `log`.

use std::net::SocketAddr;

use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::section;
use crate::config::values::*;
use crate::config::{LogFormat, LogLevel};

section! {
    /// Where metrics are served, read only.
    Metrics {
        /// IP address and port.
        [required] address: Leaf<SocketAddr>,
        /// Users that have metrics of their own, or one of them: their names are labels. Absent: none.
        users: OneOrMore<Text>,
        /// So many others have them, too: those who moved most bytes since the start. At most 100. Absent:
        /// none.
        top_users: Leaf<UpTo<100>>,
        /// `true`: /ready answers 503 while no server of any backend is up. Default: false.
        ready_needs_backend: Leaf<bool>,
    }
}

section! {
    /// Where operators look at the running gateway and change it: a socket, an address, or both.
    Admin {
        /// Path of a Unix socket, which the gateway creates for its own user. Absent: none.
        socket: Leaf<PathName>,
        /// IP address and port of the same over HTTPS, with the status page for browsers. In clear
        /// only on a loopback address. Absent: none.
        address: Leaf<SocketAddr>,
        /// The file with the certificate of `address` in PEM format, intermediate certificates after it. It and
        /// the key are read again when they have changed.
        certificate: Leaf<FileName>,
        /// The file with its private key, in PEM format.
        key: Leaf<FileName>,
        /// A file that contains only the token that `address` requires of everybody, of at least 32 characters.
        /// It is read again when it has changed.
        token_file: Leaf<FileName>,
        /// Further names or IP addresses by which browsers reach `address`, or a list of them. Absent: its own, those of the
        /// certificate, and localhost where that leads to it.
        hosts: OneOrMore<Text>,
    }
    hints [
        "token" => "secrets do not belong in this file; use token_file",
        "tls" => "write `certificate` and `key` directly under `admin`",
        "port" => "it is part of `address`",
    ]
}

section! {
    /// What is logged, and how.
    Log {
        /// text (default) or json.
        format: Leaf<LogFormat>,
        /// error, warn, info (default), debug or trace.
        level: Leaf<LogLevel>,
    }
}
