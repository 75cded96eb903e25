//! The keys of `listeners`.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::config::algorithms::Algorithms;
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::{Many, section};
use crate::config::values::*;
use crate::net::tls::CertificateUser;
use crate::op::Greeting;

section! {
    /// Addresses that clients connect to.
    Listener {
        /// The protocol: ftp (with or without TLS) or sftp.
        [required] protocol: Leaf<ListenerProtocol>,
        /// IP address and port to listen on, or a list of them. Port 0: any free port.
        [required] address: OneOrMore<SocketAddr>,
        /// The text that clients read before the login, of one or more lines: in the 220 reply of FTP, and
        /// as the SSH banner. At most 8 KiB, and 500 bytes a line. Absent: a 220 reply of the gateway's
        /// own, and no banner.
        greeting: Leaf<Greeting>,
        /// ftp: TLS towards clients. Absent: none.
        tls: ListenerTls,
        /// ftp: the pool that passive data connections use. Absent: PASV and EPSV are refused.
        data_ports: Leaf<Text>,
        /// ftp: active mode (PORT and EPRT). Absent: refused.
        active: Active,
        /// sftp: the file with the host's private key (OpenSSH or PEM format, not encrypted), or a list
        /// with one of each kind.
        host_keys: OneOrMore<FileName>,
        /// sftp: a file with a host key's certificate (`ssh-keygen -s CA -h`), or a list with one for each,
        /// for clients that trust the authority (@cert-authority). Absent: none.
        host_certificates: OneOrMore<FileName>,
        /// sftp: a file with the public keys of certificate authorities, one a line, or a list of files. Their
        /// user certificates are accepted for `users` that they name as principals. Absent: none.
        trusted_user_ca_keys: OneOrMore<FileName>,
        /// sftp: a file with revoked keys, or a list of files: public keys or SHA-256 fingerprints, one a
        /// line, or a key revocation list (`ssh-keygen -k`). They are read again when they change; while one
        /// cannot be read, no key is accepted.
        revoked_keys: OneOrMore<FileName>,
        /// sftp: the authentication methods that are offered: publickey, password, or a list. Absent: those
        /// with which a user of the listener's routes can log in.
        methods: OneOrMore<Method>,
        /// sftp: when new session keys are negotiated. Absent: the defaults.
        rekey: Rekey,
        /// sftp: how long a client may be silent before a keepalive is sent; after three without an
        /// answer the connection ends. Default: 60s.
        keepalive: Leaf<Positive>,
        /// sftp: channels open at once on one connection. Default: 10.
        channels: Leaf<UpTo<1000>>,
        /// sftp: modern (default); strict, which passes ssh-audit without a finding; or legacy: also
        /// SHA-1, CBC, ssh-rsa and finite fields, for clients that support nothing better. Or one of
        /// them as `base`, with further algorithms to `add`.
        algorithms: Algorithms,
        /// Networks of load balancers. All connections must come from there and start with a PROXY
        /// protocol header (version 1 or 2, before TLS) with the client's address. Absent: clients
        /// connect directly, without a header.
        proxy_protocol: OneOrMore<IpNet>,
    }
    hints [
        "host_key" => "write host_keys, with one file or a list",
        "port" => "the port is part of `address`",
        "banner" => "write greeting",
        "host_certificate" => "write host_certificates, with one file or a list",
        "trusted_ca" => "write trusted_user_ca_keys",
        "passive_ports" => "passive ports are defined in a pool; name it with `data_ports`",
    ]
}

section! {
    /// When new SSH session keys are negotiated, whichever comes first.
    Rekey {
        /// After this much data in one direction, from 1MiB to 1GiB. Default: 1GiB.
        bytes: Leaf<RekeyBytes>,
        /// After this time. Default: 1h.
        time: Leaf<Positive>,
    }
}

section! {
    /// TLS towards clients.
    ListenerTls {
        /// none, optional (AUTH TLS is offered), required (AUTH TLS is required before the login), or
        /// implicit (TLS from the first byte).
        [required] mode: Leaf<ListenerTlsMode>,
        /// PEM file with the certificate and its chain.
        certificate: Leaf<FileName>,
        /// PEM file with the certificate's private key.
        key: Leaf<FileName>,
        /// Instead of certificate and key: several, chosen by the server name that the client sends (SNI)
        /// among the names in the certificates. The first is for clients without a name, or with
        /// another.
        certificates: Many<ListenerCertificate>,
        /// resumed: a data connection must resume its control connection's TLS session, so that nobody
        /// else can take the transfer. any (default): not required.
        data_sessions: Leaf<DataSessions>,
        /// Whether an upload that ends without TLS's close_notify is treated as incomplete. Default: true.
        require_close_notify: Leaf<bool>,
        /// Whether clients need a certificate: none (default), optional, or required. If they have one, each
        /// control connection begins a new TLS session, and a data connection must resume it or have the
        /// same certificate.
        client_certificate: Leaf<ClientCertificateMode>,
        /// PEM file with the authorities that issue the clients' certificates, or a list of files.
        client_ca: OneOrMore<FileName>,
        /// File with the certificates that these authorities have revoked (CRL, PEM or DER), or a list of
        /// files. Each authority must have one; after its date for the next update none of its certificates
        /// is accepted. A file that changes is read again at once.
        client_crl: OneOrMore<FileName>,
        /// The field of a client's certificate that names the user, who can log in under that name only:
        /// common-name (default: of the subject), email, dns or upn (of the subject alternative name), or
        /// any, for certificates that are not tied to users.
        certificate_user: Leaf<CertificateUser>,
    }
    hints [
        "client_crls" => "write client_crl, with one file or a list",
        "client_cas" => "write client_ca, with one file or a list",
    ]
}

section! {
    /// A certificate with its key.
    ListenerCertificate {
        /// PEM file with the certificate and its chain.
        [required] certificate: Leaf<FileName>,
        /// PEM file with the certificate's private key.
        [required] key: Leaf<FileName>,
    }
}

section! {
    /// Active mode towards clients.
    Active {
        /// Whether PORT and EPRT are served: the gateway connects to the client, to its own address
        /// and ports from 1024 only.
        [required] allowed: Leaf<bool>,
        /// The source ports of data connections, for firewalls that require them: a range
        /// ("20000-20009"), or one port, such as 20, which needs CAP_NET_BIND_SERVICE. Two connections
        /// to the same port of a client need two. Absent: any port.
        source_ports: Leaf<PortRange>,
    }
}
