//! TLS towards backends: versions, verification, and sessions that data connections resume.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::CertificateAndKey;
use super::trust::Verifier;
use crate::net::Stream;
use crate::net::buffered::{BufferedTcp, DATA_BUFFER_SIZE};

/// Whether data connections to a backend resume the control connection's TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionReuse {
    /// They do. TLS 1.2 is offered first: its sessions can be resumed any number of times, while a TLS
    /// 1.3 ticket is used once and an upload brings no new one. TLS 1.3 is offered only to servers that
    /// refuse TLS 1.2.
    #[default]
    Auto,
    /// They do not. TLS 1.3 with hybrid post-quantum key exchange is preferred.
    None,
}

/// TLS settings of a backend.
#[derive(Clone)]
pub struct ClientTls {
    preferred: Arc<ClientConfig>,
    /// Used when the server refuses the preferred versions.
    fallback: Option<Arc<ClientConfig>>,
    server_name: ServerName<'static>,
    reuse: SessionReuse,
}

/// Fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// `tls.server_name`, or the host of the first address, is neither a DNS name nor an IP address.
    #[error("\"{0}\" is not a valid server name: expected a DNS name or an IP address")]
    ServerName(String),
    /// The system's certificate store is empty, and `tls.ca` is absent.
    #[error(
        "the system has no trusted certificates: install ca-certificates, or name the backend's \
         certificate authority with `tls.ca`"
    )]
    NoSystemRoots,
    /// rustls does not accept the settings.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// No verifier can be built from the trusted authorities.
    #[error("cannot use the trusted certificate authorities: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

impl ClientTls {
    /// `roots`: `None` for the system's. `verify: false` accepts any certificate.
    pub fn new(
        server_name: &str,
        roots: Option<RootCertStore>,
        verify: bool,
        reuse: SessionReuse,
    ) -> Result<Self, ClientTlsError> {
        use rustls::version::{TLS12, TLS13};
        let server_name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| ClientTlsError::ServerName(server_name.to_owned()))?;
        let roots = Arc::new(match (roots, verify) {
            (Some(roots), _) => roots,
            (None, false) => RootCertStore::empty(),
            (None, true) => system_roots()?,
        });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if verify {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            Arc::new(Verifier(inner.build()?))
        } else {
            Arc::new(AcceptAny(provider.clone()))
        };
        let config = |versions: &[&'static SupportedProtocolVersion]| {
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions)?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone());
            Ok::<_, rustls::Error>(Arc::new(builder.with_no_client_auth()))
        };
        let (preferred, fallback) = match reuse {
            SessionReuse::Auto => (config(&[&TLS12])?, Some(config(&[&TLS13])?)),
            SessionReuse::None => (config(&[&TLS13, &TLS12])?, None),
        };
        Ok(Self { preferred, fallback, server_name, reuse })
    }

    /// Authenticates the gateway with a certificate, where the server asks for one.
    pub fn with_certificate(mut self, certificate: &CertificateAndKey) -> Self {
        let certified = CertifiedKey::clone(&certificate.certified);
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        for config in [Some(&mut self.preferred), self.fallback.as_mut()].into_iter().flatten() {
            Arc::make_mut(config).client_auth_cert_resolver = resolver.clone();
        }
        self
    }

    /// Whether it has a certificate of its own.
    pub fn has_certificate(&self) -> bool {
        self.preferred.client_auth_cert_resolver.has_certs()
    }

    /// For another server, whose certificate must be for this name.
    pub fn with_server_name(&self, name: &str) -> Result<Self, ClientTlsError> {
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| ClientTlsError::ServerName(name.to_owned()))?;
        Ok(Self { server_name, ..self.clone() })
    }

    /// The TLS of one control connection and its data connections, which share a private session store.
    pub fn session(&self, fallback: bool) -> ClientTls {
        let config = match &self.fallback {
            Some(config) if fallback => config,
            _ => &self.preferred,
        };
        let mut config = ClientConfig::clone(config);
        config.resumption = match self.reuse {
            SessionReuse::Auto => Resumption::in_memory_sessions(1),
            SessionReuse::None => Resumption::disabled(),
        };
        Self { preferred: Arc::new(config), fallback: None, ..self.clone() }
    }

    /// Whether other versions can be tried after the server refused the preferred ones.
    pub fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// The client's half of the handshake, on a control connection.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<Stream> {
        let connector = TlsConnector::from(self.preferred.clone());
        let tcp = BufferedTcp::for_control(tcp);
        let tls = connector.connect(self.server_name.clone(), tcp).await?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }

    /// As [`ClientTls::connect`], on a data connection.
    pub async fn connect_data(&self, tcp: TcpStream) -> io::Result<Stream> {
        let connector = TlsConnector::from(self.preferred.clone());
        let tcp = BufferedTcp::for_data(tcp, Vec::new());
        let mut tls = connector.connect(self.server_name.clone(), tcp).await?;
        tls.get_mut().1.set_buffer_limit(Some(DATA_BUFFER_SIZE));
        Ok(Stream::Tls(Box::new(tls.into())))
    }
}

fn system_roots() -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(ClientTlsError::NoSystemRoots) } else { Ok(roots) }
}

/// `danger_accept_any`: the connection is encrypted, but its server is not authenticated.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
