//! Certificates that must be refused, and those that the gateway signs.

mod certificates;
mod minted;
mod revoked;

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::Builder;
use russh::keys::{Algorithm, Certificate, PrivateKey};

const NOW: u64 = 1_800_000_000;

fn key() -> PrivateKey {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()
}

/// Valid for 100 s at `NOW`, for nobody unless `change` adds principals.
fn certificate(
    authority: &PrivateKey,
    key: &PrivateKey,
    change: impl FnOnce(&mut Builder),
) -> Certificate {
    signed(authority, key, (NOW - 50, NOW + 50), change)
}

fn signed(
    authority: &PrivateKey,
    key: &PrivateKey,
    (from, until): (u64, u64),
    change: impl FnOnce(&mut Builder),
) -> Certificate {
    let public = key.public_key();
    let mut builder = Builder::new_with_random_nonce(&mut safe_rng(), public, from, until).unwrap();
    change(&mut builder);
    builder.sign(authority).unwrap()
}

fn for_alice(builder: &mut Builder) {
    builder.valid_principal("alice").unwrap();
}

fn line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}
