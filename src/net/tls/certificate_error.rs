//! Why a certificate is not accepted, where rustls has no error of its own.

use rustls::CertificateError;

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
