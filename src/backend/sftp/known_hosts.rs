//! Known host keys (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

/// A `known_hosts` file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), hashed names included.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Entry>,
}

/// What a file has about a server's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// No line has this key for this host.
    Unknown,
    Revoked,
}

impl KnownHosts {
    /// Reads a whole file; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            if fields.first().is_none_or(|first| first.starts_with('#')) {
                continue;
            }
            let entry = Entry::from_str(&fields.join(" ")).map_err(|e| {
                format!("line {number} is not a known_hosts line (names, key type, key): {e}")
            })?;
            lines.push(entry);
        }
        Ok(Self { lines })
    }

    pub(super) fn check(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let mut verdict = Verdict::Unknown;
        for line in self.lines_of(host, port) {
            if line.public_key().key_data() != key.key_data() {
                continue;
            }
            match line.marker() {
                Some(Marker::Revoked) => return Verdict::Revoked,
                // An authority's key is no host's key.
                Some(Marker::CertAuthority) => {}
                None => verdict = Verdict::Known,
            }
        }
        verdict
    }

    /// The kinds of a host's known keys.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let known = self.lines_of(host, port).filter(|line| line.marker().is_none());
        known.map(|line| line.public_key().algorithm()).collect()
    }

    /// Whether an authority is trusted to sign the host's certificates.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        self.lines_of(host, port).any(|line| line.marker() == Some(&Marker::CertAuthority))
    }

    /// Whether this authority's certificates are accepted for the host (`@cert-authority`).
    pub(super) fn trusts(&self, host: &str, port: u16, authority: &KeyData) -> bool {
        let mut signers = self.lines_of(host, port);
        signers.any(|line| {
            line.marker() == Some(&Marker::CertAuthority)
                && line.public_key().key_data() == authority
        })
    }

    /// Whether a line for the host has this key as `@revoked`: its own, or an authority's.
    pub(super) fn revokes(&self, host: &str, port: u16, key: &KeyData) -> bool {
        let mut lines = self.lines_of(host, port);
        lines.any(|line| {
            line.marker() == Some(&Marker::Revoked) && line.public_key().key_data() == key
        })
    }

    fn lines_of(&self, host: &str, port: u16) -> impl Iterator<Item = &Entry> {
        let host = host.to_ascii_lowercase();
        let name = match port {
            22 => host,
            port => format!("[{host}]:{port}"),
        };
        self.lines.iter().filter(move |line| covers(line.host_patterns(), &name))
    }
}

/// `name`: as OpenSSH writes it, `[host]:port` unless the port is 22.
fn covers(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|hmac| hmac.chain_update(name).verify_slice(hash).is_ok()),
        HostPatterns::Patterns(patterns) => {
            let matches = |pattern: &str| {
                let pattern = pattern.to_ascii_lowercase();
                // `[host]:22` is the same as `host`.
                let plain = pattern.strip_prefix('[').and_then(|p| p.strip_suffix("]:22"));
                wildcard(plain.unwrap_or(&pattern).as_bytes(), name.as_bytes())
            };
            let (refused, named): (Vec<_>, Vec<_>) =
                patterns.iter().partition(|pattern| pattern.starts_with('!'));
            named.iter().any(|pattern| matches(pattern))
                && !refused.iter().any(|pattern| matches(&pattern[1..]))
        }
    }
}

/// `*` is any run of bytes, `?` is one.
pub(super) fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The position of the last `*`, and how far it matches.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match &mut star {
                Some((at, reach)) => {
                    *reach += 1;
                    (p, n) = (*at + 1, *reach);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn verdict(text: &str, host: &str, port: u16) -> Verdict {
        KnownHosts::parse(text).unwrap().check(host, port, &key(ONE))
    }

    #[test]
    fn names_match_by_pattern_and_port() {
        for (names, host, port, known) in [
            ("example.com", "example.com", 22, true),
            ("Example.com", "EXAMPLE.com", 22, true),
            ("example.com", "example.com", 2222, false),
            ("[example.com]:2222", "example.com", 2222, true),
            ("[example.com]:2222", "example.com", 22, false),
            ("[example.com]:22", "example.com", 22, true),
            ("a,example.com,10.0.0.1", "10.0.0.1", 22, true),
            ("*.example.com", "sftp.example.com", 22, true),
            ("*.example.com", "example.com", 22, false),
            ("[*.example.com]:2222", "sftp.example.com", 2222, true),
            ("*", "any", 22, true),
            ("10.0.0.?", "10.0.0.7", 22, true),
            ("10.0.0.?", "10.0.0.17", 22, false),
            ("*.example.com,!bad.example.com", "bad.example.com", 22, false),
            ("*.example.com,!bad.example.com", "good.example.com", 22, true),
            ("!bad.example.com", "good.example.com", 22, false),
            ("2001:db8::1", "2001:db8::1", 22, true),
            ("[2001:db8::1]:2222", "2001:db8::1", 2222, true),
        ] {
            let expected = if known { Verdict::Known } else { Verdict::Unknown };
            assert_eq!(verdict(&format!("{names} {ONE}"), host, port), expected, "{names} {host}");
        }
    }

    #[test]
    fn hashed_names_match() {
        let text = format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {ONE}");
        assert_eq!(verdict(&text, "example.com", 22), Verdict::Known);
        assert_eq!(verdict(&text, "example.com", 2222), Verdict::Unknown);
        assert_eq!(verdict(&text, "example.org", 22), Verdict::Unknown);
    }

    #[test]
    fn comments_and_markers_are_understood_and_a_host_may_have_several_keys() {
        let text = format!(
            "# a comment\n\n  \t\nexample.com {OTHER} with a comment\n@cert-authority * {ONE}\nexample.com\t {ONE}\n"
        );
        assert_eq!(verdict(&text, "example.com", 22), Verdict::Known);
        assert_eq!(verdict(&text, "example.org", 22), Verdict::Unknown);
        let revoked = format!("{text}@revoked * {ONE}\n");
        assert_eq!(verdict(&revoked, "example.com", 22), Verdict::Revoked);
        let known = KnownHosts::parse(&revoked).unwrap();
        let algorithms = [Algorithm::Ed25519, Algorithm::Ed25519];
        assert_eq!(known.algorithms("example.com", 22), algorithms);
        assert_eq!(known.check("example.com", 22, &key(OTHER)), Verdict::Known);
    }

    #[test]
    fn an_error_names_the_line() {
        for bad in ["example.com", "example.com ssh-ed25519 AAAA", "@strange a b c", "|1|x| a b"] {
            let error = KnownHosts::parse(&format!("# fine\n{bad}\n")).unwrap_err();
            assert!(error.starts_with("line 2 "), "{error}");
        }
    }
}
