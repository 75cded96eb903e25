//! What protects a connection: version and algorithms of TLS or SSH, for records.

use std::fmt;
use std::net::SocketAddr;

/// The result of a TLS or SSH negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// TLS or SSH.
    pub protocol: Protocol,
    /// `1.2`, `1.3`; `2.0` for SSH. Absent: not known.
    pub version: Option<&'static str>,
    /// The cipher suite of TLS, or SSH's cipher from the client to the server. Absent: not known.
    pub cipher: Option<String>,
    /// The group of TLS, or SSH's key exchange method. Absent: not known, as in a resumed session of TLS
    /// 1.2, whose keys come from an earlier exchange.
    pub key_exchange: Option<String>,
}

/// The protocol that protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TLS (RFC 5246, RFC 8446).
    Tls,
    /// SSH (RFC 4253).
    Ssh,
}

/// The server at the other end of a backend's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address and port.
    pub address: SocketAddr,
    /// What protects the connection; `None`: it is in clear.
    pub protection: Option<Protection>,
}

impl Protection {
    /// Whether the key exchange withstands a quantum computer, alone or as a part of a hybrid: ML-KEM (FIPS
    /// 203) or Streamlined NTRU Prime. `None`: the key exchange is not known.
    pub fn is_post_quantum(&self) -> Option<bool> {
        let name = self.key_exchange.as_ref()?.to_ascii_lowercase();
        Some(["mlkem", "sntrup"].iter().any(|family| name.contains(family)))
    }
}

impl Protocol {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Ssh => "SSH",
        }
    }
}

/// One line, with `?` for what is not known: `TLS 1.3 TLS13_AES_256_GCM_SHA384 X25519MLKEM768`, `SSH
/// mlkem768x25519-sha256 aes128-gcm@openssh.com`.
impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cipher = self.cipher.as_deref().unwrap_or("?");
        match self.protocol {
            Protocol::Tls => {
                let group = self.key_exchange.as_deref().unwrap_or("resumed");
                write!(f, "TLS {} {cipher} {group}", self.version.unwrap_or("?"))
            }
            Protocol::Ssh => {
                let method = self.key_exchange.as_deref().unwrap_or("?");
                write!(f, "SSH {method} {cipher}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(protocol: Protocol, key_exchange: Option<&str>) -> Protection {
        let (cipher, version) = (Some("AES".to_owned()), Some("1.3"));
        Protection { protocol, version, cipher, key_exchange: key_exchange.map(str::to_owned) }
    }

    #[test]
    fn hybrid_key_exchanges_are_post_quantum() {
        for (protocol, name, expected) in [
            (Protocol::Tls, "X25519MLKEM768", true),
            (Protocol::Tls, "secp256r1MLKEM768", true),
            (Protocol::Tls, "X25519", false),
            (Protocol::Tls, "secp256r1", false),
            (Protocol::Ssh, "mlkem768x25519-sha256", true),
            (Protocol::Ssh, "sntrup761x25519-sha512@openssh.com", true),
            (Protocol::Ssh, "curve25519-sha256", false),
            (Protocol::Ssh, "diffie-hellman-group14-sha1", false),
        ] {
            assert_eq!(with(protocol, Some(name)).is_post_quantum(), Some(expected), "{name}");
        }
        assert_eq!(with(Protocol::Tls, None).is_post_quantum(), None);
        // What rustls and russh call theirs.
        let names = |group: rustls::NamedGroup| group.as_str().unwrap().to_owned();
        let hybrid = names(rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(with(Protocol::Tls, Some(&hybrid)).is_post_quantum(), Some(true));
        let hybrid = russh::kex::MLKEM768X25519_SHA256;
        assert_eq!(with(Protocol::Ssh, Some(hybrid.as_ref())).is_post_quantum(), Some(true));
    }

    #[test]
    fn it_is_readable() {
        assert_eq!(with(Protocol::Tls, Some("X25519")).to_string(), "TLS 1.3 AES X25519");
        assert_eq!(with(Protocol::Tls, None).to_string(), "TLS 1.3 AES resumed");
        assert_eq!(with(Protocol::Ssh, Some("kex")).to_string(), "SSH kex AES");
    }
}
