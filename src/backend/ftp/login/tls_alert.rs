//! What a server's TLS alert tells about client certificates (RFC 8446 section 6.2).

use std::io;

use rustls::{AlertDescription as A, Error};

/// The cause and the remedy, if the server may have refused the gateway's certificate, or missed one.
/// `has_certificate`: the gateway has one for this server.
pub(super) fn explain(error: &io::Error, has_certificate: bool) -> Option<String> {
    let Error::AlertReceived(alert) = error.get_ref()?.downcast_ref()? else { return None };
    let about_certificates = matches!(
        alert,
        A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::CertificateRequired
            // TLS 1.2 has no alert for a missing certificate.
            | A::HandshakeFailure
    );
    let what = match (about_certificates, has_certificate) {
        (false, _) => return None,
        (true, true) => {
            "the server may not accept the gateway's certificate (`tls.certificate`): is its authority \
             known there, and is it valid for clients?"
        }
        (true, false) => {
            "the server may require a client certificate: set `tls.certificate` and `tls.key`"
        }
    };
    Some(format!("{error}; {what}"))
}
