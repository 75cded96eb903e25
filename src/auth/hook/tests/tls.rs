//! Hooks under TLS: only the server with a trusted certificate for the URL's name hears a password.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::tls::{ClientTls, SessionReuse};

/// A server whose certificate is for `name`, and a client that trusts it as `localhost`.
async fn decided(name: &str, is_trusted: bool) -> (Result<Option<Answer>, HookError>, bool) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    let trusted = if is_trusted { &made } else { &other };
    roots.add(trusted.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else {
            return false;
        };
        read(&mut tls).await;
        tls.write_all(ok("{\"allow\": true}").as_bytes()).await.unwrap();
        tls.shutdown().await.unwrap();
        true
    });
    let tls = ClientTls::new("localhost", Some(roots), true, SessionReuse::None).unwrap();
    let tls = Some(Arc::new(tls));
    let server = Server::Tcp { address, authority: "localhost".into(), tls };
    let hook = hook(Endpoint { server, path: "/".into() }, LIMIT, Duration::ZERO);
    let decided = ask(&hook, &question("alice", "secret")).await;
    (decided, served.await.unwrap())
}

#[tokio::test]
async fn a_trusted_certificate_for_the_name_is_required() {
    let (decided, asked) = self::decided("localhost", true).await;
    assert!(asked && decided.unwrap().is_some());
    for (name, is_trusted, setting) in [
        ("login.example.com", true, "the host of the hook's `url`"),
        ("localhost", false, "the hook's `ca`"),
    ] {
        let (decided, asked) = self::decided(name, is_trusted).await;
        let error = decided.unwrap_err();
        assert!(!asked, "it was asked");
        assert_eq!(error.fault, HookFault::Unreachable);
        assert!(error.to_string().contains(setting), "{error}");
        assert!(!error.to_string().contains("`tls."), "{error}");
    }
}
