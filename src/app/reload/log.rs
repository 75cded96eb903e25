//! What the log says of a configuration that is put in force.

use crate::app::generation::Generation;
use crate::net::{CertificateEnd, CertificateKind};

/// A start prints the warnings of the check; where files are read again by themselves, nobody sees them.
pub(super) fn log_expired(ends: &[CertificateEnd], now: i64) {
    for CertificateEnd { kind, used_by, file, from, until } in ends {
        use CertificateKind::{Certificate, ClientCertificate, HostCertificate};
        let is_own = matches!(kind, Certificate | ClientCertificate | HostCertificate);
        if is_own && !(*from..=*until).contains(&now) {
            tracing::warn!(
                used_by,
                file,
                "a certificate that was read again has expired, or is not valid yet"
            );
        }
    }
}

pub(super) fn log_listeners(previous: &Generation, next: &Generation) {
    for (listener, address) in &next.addresses {
        if !previous.addresses.iter().any(|(name, at)| (name, at) == (listener, address)) {
            tracing::info!(listener, %address, "listening");
        }
    }
    for (listener, address) in &previous.addresses {
        if !next.addresses.iter().any(|(_, at)| at == address) {
            tracing::info!(listener, %address, "no longer listening");
        }
    }
}
