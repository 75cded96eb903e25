//! Servers, clients and fixtures of the tests with real software, on 127.0.0.1 or in network namespaces.

pub mod actions;
pub mod audit;
pub mod backend_fixture;
pub mod big_file;
pub mod cells;
pub mod client_pki;
pub mod clients;
pub mod gateway;
pub mod haproxy;
pub mod limits;
pub mod mainframe;
pub mod metrics;
pub mod netns;
pub mod pki;
pub mod ports;
pub mod process;
pub mod raw;
pub mod relay;
pub mod scripted;
pub mod servers;
pub mod sftp_actions;
pub mod sftp_fixture;
pub mod small_disk;
pub mod ssh;
pub mod ssh_ca;
pub mod wait;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// The account of every test server.
pub const USER: &str = "ftptest";
pub const PASSWORD: &str = "Secret.123";

/// Whether this is the tier of big files and long runs (`tests/run --full`).
pub fn full() -> bool {
    std::env::var_os("LOCKGATE_FULL").is_some_and(|value| value == "1")
}

/// How a control connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    None,
    /// AUTH TLS.
    Explicit,
    Implicit,
}

impl Tls {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
        }
    }
}

/// How a client opens data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataMode {
    Pasv,
    Epsv,
    /// PORT and EPRT alternately.
    Active,
}

impl DataMode {
    pub const ALL: [Self; 3] = [Self::Pasv, Self::Epsv, Self::Active];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pasv => "pasv",
            Self::Epsv => "epsv",
            Self::Active => "active",
        }
    }
}

/// Pseudo-random bytes, the same in every run.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A hash with the least cost, for fast tests.
pub fn argon2_hash() -> String {
    argon2_hash_with(8)
}

/// As [`argon2_hash`], with this memory cost in KiB.
pub fn argon2_hash_with(memory: u32) -> String {
    let params = Params::new(memory, 1, 1, None).expect("argon2's parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(b"lockgate-test").expect("a salt");
    argon2.hash_password(PASSWORD.as_bytes(), &salt).expect("hashing a password").to_string()
}
