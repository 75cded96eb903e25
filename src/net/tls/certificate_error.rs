//! Errors of our own about a peer's certificate, inside of rustls' errors; and what its errors mean.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

/// An error of our own, as rustls takes it.
pub(super) fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// The cause of a failed handshake, where that is such an error.
pub(super) fn cause<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    match error.get_ref()?.downcast_ref()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
            error.downcast_ref()
        }
        _ => None,
    }
}

/// Of webpki's errors, which rustls hands on without types of its own, those that openssl's usual commands lead
/// to.
pub(super) fn explained(error: &CertificateError) -> String {
    let text = format!("{error:?}");
    if text.contains("CaUsedAsEndEntity") {
        "it is the certificate of an authority (CA:TRUE), as `openssl req -x509` makes them, which cannot be \
         that of a peer: issue one with it, or make it with `basicConstraints=CA:FALSE`"
            .to_owned()
    } else if text.contains("UnsupportedCertVersion") {
        "it has X.509 version 1, as `openssl x509 -req` makes them: issue it again with extensions \
         (`-extfile`, or `-copy_extensions copy`)"
            .to_owned()
    } else {
        error.to_string()
    }
}
