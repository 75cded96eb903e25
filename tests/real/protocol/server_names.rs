//! The client's server name (SNI) chooses the certificate (`tls.certificates`) and the route
//! (`server_names`).

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};
use serde_json::Value;
use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::curl::{CurlOptions, curl, curl_sftp};
use crate::support::clients::{SftpSite, Site, TlsVersion};
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::raw::{Raw, Wire};
use crate::support::{DataMode, PASSWORD, Tls, USER, argon2_hash, pattern, ports};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
const LISTENERS: [&str; 2] = ["explicit", "implicit"];
const CURL_TIMEOUT: Duration = Duration::from_secs(60);

struct Fixture {
    gateway: Gateway,
    /// In the order of the configuration: for localhost, `*.example.com` and `files.example.net`.
    certificates: [PathBuf; 3],
    folder: TempDir,
}

fn start(data_sessions: &str) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["files", "partner"] {
        let backend = folder.path().join(name);
        std::fs::create_dir(&backend).expect("making a folder");
        std::fs::write(backend.join("which"), name).expect("writing a file");
    }
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.replace("any.", "*.")]);
        let made = made.expect("making a certificate");
        let path = folder.path().join(name);
        std::fs::write(&path, made.cert.pem()).expect("writing a certificate");
        let key = path.with_extension("key");
        std::fs::write(key, made.signing_key.serialize_pem()).expect("writing a key");
        path
    };
    let (wild, exact) = (make("any.example.com"), make("files.example.net"));
    let entry = |certificate: &PathBuf, key: PathBuf| {
        format!("{{ certificate: {}, key: {} }}", certificate.display(), key.display())
    };
    let list = [
        entry(&pki().certificate, pki().key.clone()),
        entry(&wild, wild.with_extension("key")),
        entry(&exact, exact.with_extension("key")),
    ]
    .join(", ");
    let listener = |mode: &str| {
        format!(
            "{{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, \
             tls: {{ mode: {mode}, data_sessions: {data_sessions}, certificates: [{list}] }} }}"
        )
    };
    let pool = ports::block(4);
    let config = format!(
        "listeners:\n  explicit: {}\n  implicit: {}\n\
         \x20 sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n  partner: {{ protocol: local, \
         folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ match: {{ server_names: [\"*.Example.com\", files.example.net] }}, \
         authenticate: gateway, backend: partner }}\n\
         \x20 - {{ authenticate: gateway, backend: files }}\n",
        listener("optional"),
        listener("implicit"),
        host_keys(),
        pool.start(),
        pool.end(),
        folder.path().join("files"),
        folder.path().join("partner"),
        argon2_hash(),
    );
    let gateway = Gateway::start(&config);
    Fixture { gateway, certificates: [pki().certificate.clone(), wild, exact], folder }
}

impl Fixture {
    /// A client that has logged in. An address as the name: it sends none.
    fn client(&self, listener: &str, name: &str, config: Arc<ClientConfig>) -> Raw {
        let address = self.gateway.address(listener);
        let mut raw = if listener == "implicit" {
            Raw::connect_implicit_as(address, config, name).0
        } else {
            let mut raw = Raw::connect(address).0;
            raw.set_tls(config);
            raw.set_server_name(name);
            raw.auth_tls();
            raw
        };
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }

    fn certificate(&self, index: usize) -> Vec<u8> {
        let path = &self.certificates[index];
        CertificateDer::from_pem_file(path).expect("reading a certificate").to_vec()
    }
}

/// The tests compare the certificates themselves.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[version]).expect("a known TLS version");
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Arc::new(builder.with_no_client_auth())
}

#[test]
fn each_server_name_gets_its_certificate_and_resumes_its_session() {
    let fixture = start("resumed");
    for (listener, version) in LISTENERS.into_iter().flat_map(|it| VERSIONS.map(|v| (it, v))) {
        for (name, index) in [
            ("localhost", 0),
            ("ftp.example.com", 1),
            ("FTP.Example.COM", 1),
            ("files.example.net", 2),
            ("a.ftp.example.com", 0),
            ("unknown.example.net", 0),
            ("127.0.0.1", 0),
        ] {
            let case = format!("{listener} {:?} {name}", version.version);
            let mut raw = fixture.client(listener, name, config(version));
            assert!(raw.peer_certificate() == fixture.certificate(index), "{case}");
            let bytes = pattern(50_000 + case.len());
            assert_eq!(raw.upload("STOR file", &bytes).code, 226, "{case}");
            let tcp = raw.begin("RETR file");
            let data = raw.data(tcp);
            assert!(data.resumed(), "{case}");
            assert_received(&mut raw, data, &bytes, &case);
        }
    }
}

/// Reads a download to its end.
#[track_caller]
fn assert_received(raw: &mut Raw, mut data: Wire, bytes: &[u8], case: &str) {
    let mut received = Vec::new();
    data.read_to_end(&mut received).expect("reading a file");
    assert!(received == bytes && raw.read().code == 226, "{case}");
}

#[test]
fn a_data_connection_is_served_whatever_server_name_it_sends() {
    let fixture = start("any");
    let bytes = pattern(50_000);
    for (listener, version) in LISTENERS.into_iter().flat_map(|it| VERSIONS.map(|v| (it, v))) {
        let mut raw = fixture.client(listener, "ftp.example.com", config(version));
        // Where the name is no certificate's, that of the control connection.
        for (name, index) in [
            ("files.example.net", 2),
            ("localhost", 0),
            ("unknown.example.net", 1),
            ("127.0.0.1", 1),
        ] {
            let case = format!("{listener} {:?} {name}", version.version);
            // A fresh store: nothing to resume.
            raw.set_tls(config(version));
            raw.set_server_name(name);
            assert_eq!(raw.upload("STOR file", &bytes).code, 226, "{case}");
            raw.set_tls(config(version));
            let tcp = raw.begin("RETR file");
            let data = raw.data(tcp);
            assert!(
                !data.resumed() && data.peer_certificate() == fixture.certificate(index),
                "{case}"
            );
            assert_received(&mut raw, data, &bytes, &case);
        }
    }
}

/// curl trusts one certificate only and sends the URL's name on data connections, too.
#[test]
fn curl_gets_the_certificate_of_its_server_name() {
    let fixture = start("resumed");
    let sent = fixture.folder.path().join("sent");
    std::fs::write(&sent, pattern(70_000)).expect("writing a file");
    for (listener, tls, scheme) in
        [("explicit", Tls::Explicit, "ftp"), ("implicit", Tls::Implicit, "ftps")]
    {
        let port = fixture.gateway.address(listener).port();
        for (name, index) in [("ftp.example.com", 1), ("files.example.net", 2)] {
            for (trusted, path) in fixture.certificates.iter().enumerate() {
                let home = tempfile::tempdir().expect("a client's home");
                // Of TLS 1.3 curl uses each ticket once.
                let options = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::V12 };
                let mut command = curl(&Site::new(port, tls), options, home.path());
                command.arg("--cacert").arg(path);
                command.arg("--resolve").arg(format!("{name}:{port}:127.0.0.1"));
                let url = format!("{scheme}://{name}:{port}/{listener}-{name}");
                command.arg("--upload-file").arg(&sent).arg(&url).arg("--next");
                command.args([
                    "--silent",
                    "--show-error",
                    "--ipv4",
                    "--ssl-reqd",
                    "--tls-max",
                    "1.2",
                ]);
                command.arg("--user").arg(format!("{USER}:{PASSWORD}"));
                command.arg("--cacert").arg(path);
                command.arg("--resolve").arg(format!("{name}:{port}:127.0.0.1")).arg(&url);
                let output = run(&mut command, b"", CURL_TIMEOUT);
                let case = format!("{listener} {name} {trusted}: {}", output.describe());
                assert_eq!(output.ok(), trusted == index, "{case}");
                assert!(!output.ok() || output.stdout == pattern(70_000), "{case}");
            }
        }
    }
}

#[test]
fn the_server_name_of_the_control_connection_chooses_the_route() {
    let fixture = start("any");
    for listener in LISTENERS {
        for (name, backend) in [
            ("ftp.example.com", "partner"),
            ("FTP.example.COM", "partner"),
            ("files.example.net", "partner"),
            ("a.ftp.example.com", "files"),
            ("example.com", "files"),
            ("localhost", "files"),
            ("127.0.0.1", "files"),
        ] {
            let mut raw = fixture.client(listener, name, config(&TLS13));
            // A data connection's name does not matter.
            raw.set_server_name("ftp.example.com");
            let (bytes, _) = raw.download("RETR which");
            assert_eq!(String::from_utf8_lossy(&bytes), backend, "{listener} {name}");
            let sent = |login: &Value| login["server_name"].as_str().map(str::to_lowercase);
            let expected = Some(name.to_lowercase()).filter(|name| name != "127.0.0.1");
            let is_login = |line: &Value| {
                line["event"] == "login"
                    && line["listener"] == listener
                    && line["backend"] == backend
                    && sent(line) == expected
            };
            fixture.gateway.await_log(is_login, TIMEOUT);
        }
    }
    let mut plain = Raw::connect(fixture.gateway.address("explicit")).0;
    plain.login(USER, PASSWORD);
    assert_eq!(plain.download("RETR which").0, b"files");
    let sftp = SftpSite::new(fixture.gateway.address("sftp").port());
    assert_eq!(curl_sftp(&sftp, "which", &[]).expect_ok("curl").stdout, b"files");
}
