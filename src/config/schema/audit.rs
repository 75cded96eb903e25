//! The keys of `audit`.

use crate::audit::{Facility, Format, WhenUnavailable};
use crate::config::leaf::Leaf;
use crate::config::read::section;
use crate::config::values::*;

section! {
    /// An output of the audit: file, stdout or syslog.
    Audit {
        /// A file to append to, created with mode 0640. SIGHUP opens it again.
        file: Leaf<PathName>,
        /// true: standard output. The log goes to standard error.
        stdout: Leaf<bool>,
        /// A syslog receiver (RFC 5424).
        syslog: Syslog,
        /// json (default), or xferlog, which has transfers only; for files and standard output.
        format: Leaf<Format>,
        /// json: whether a file that is transferred whole, in order, is recorded with its SHA-256. Default:
        /// false.
        sha256: Leaf<bool>,
        /// When records cannot be written: serve (default: go on, and count those that are lost), or refuse
        /// (new logins and operations, until they can be written again).
        when_unavailable: Leaf<WhenUnavailable>,
    }
    hints [
        "path" => "write file",
        "output" => "write file, stdout: true, or syslog",
        "address" => "it belongs to the receiver: syslog: { address: … }",
        "socket" => "it belongs to the receiver: syslog: { socket: … }",
    ]
}

section! {
    /// A syslog receiver.
    Syslog {
        /// Its name or address, with the port unless it is 6514 (with TLS) or 514 (without).
        address: Leaf<HostPort>,
        /// Instead of address, a Unix socket, such as /dev/log.
        socket: Leaf<PathName>,
        /// address: required (default) or none.
        tls: Leaf<SyslogTls>,
        /// address: PEM file with the certificate authorities to trust. Absent: the system's.
        ca: Leaf<FileName>,
        /// address: the name in the receiver's certificate. Default: the host of the address.
        server_name: Leaf<Text>,
        /// daemon, auth, authpriv, ftp (default), audit, or local0 to local7.
        facility: Leaf<Facility>,
    }
    hints ["port" => "the port is part of `address`"]
}
