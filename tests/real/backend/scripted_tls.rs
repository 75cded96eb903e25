//! TLS to a scripted server.

use std::io;
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{before, greeted};
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::Reply;
use crate::support::scripted::{Peer, Scripted};
use crate::support::{PASSWORD, USER};

pub(super) fn config(
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("the default versions");
    let config = builder.with_no_client_auth().with_single_cert(vec![chain], key);
    Arc::new(config.expect("a certificate and its key"))
}

/// With the test CA's certificate.
fn trusted() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| {
        let chain = CertificateDer::from_pem_file(&pki().certificate).expect("the certificate");
        config(chain, PrivateKeyDer::from_pem_file(&pki().key).expect("the key"))
    });
    made.clone()
}

/// With a self-signed certificate.
fn untrusted() -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signing");
    config(certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
}

fn gateway(backend: &Scripted, mode: &str) -> Gateway {
    let ca = pki().ca.display();
    before(
        backend,
        &format!(", reply_timeout: 5s, tls: {{ mode: {mode}, ca: {ca}, server_name: localhost }}"),
    )
}

fn login(backend: &Scripted, mode: &str) -> Reply {
    let gateway = gateway(backend, mode);
    let mut client = greeted(&gateway, "back");
    client.expect(&format!("USER {USER}"), 331);
    client.command(&format!("PASS {PASSWORD}"))
}

#[track_caller]
fn assert_no_credentials(backend: &Scripted) {
    assert_eq!((backend.count("USER"), backend.count("PASS")), (0, 0), "{:?}", backend.lines());
    let lines = backend.lines().concat();
    assert!(!lines.contains(PASSWORD) && !lines.contains(USER), "{lines}");
}

fn after_auth(peer: &mut Peer, injected: &[u8]) -> io::Result<()> {
    peer.greet()?;
    peer.until("AUTH")?;
    peer.send(&[b"234 go on\r\n", injected].concat())?;
    peer.start_tls(trusted())?;
    peer.answer("PASS", "530 the real answer");
    peer.serve()
}

/// Taken as replies, they would bypass the login: an attacker's bytes would be the replies to USER
/// and PASS.
#[test]
fn replies_in_clear_after_the_234_are_discarded() {
    let one = Scripted::start(|peer| after_auth(peer, b"230 injected\r\n"));
    assert_eq!(login(&one, "required").text, "530 the real answer\r\n");
    assert_eq!((one.count("USER"), one.count("PASS")), (1, 1));
    let many = Scripted::start(|peer| after_auth(peer, "230 injected\r\n".repeat(8).as_bytes()));
    assert_eq!(login(&many, "required").text, "530 the real answer\r\n");
    let part = Scripted::start(|peer| after_auth(peer, b"230 inj"));
    assert_eq!(login(&part, "required").text, "530 the real answer\r\n");
}

#[test]
fn no_password_is_sent_to_a_server_with_an_untrusted_certificate() {
    for mode in ["required", "implicit"] {
        let backend = Scripted::start(move |peer| {
            if mode == "required" {
                peer.greet()?;
                peer.until("AUTH")?;
                peer.reply("234 go on")?;
            }
            peer.start_tls(untrusted())?;
            peer.greet()?;
            peer.serve()
        });
        let reply = login(&backend, mode);
        assert_eq!(reply.code, 421, "{}", reply.text);
        assert!(
            reply.text.contains("TLS connection to the backend server failed"),
            "{}",
            reply.text
        );
        assert!(backend.connections() > 0);
        assert_no_credentials(&backend);
    }
}

#[test]
fn no_password_is_sent_in_clear() {
    for refusal in ["500 AUTH is not known", "502 no", "534 no", "431 no", "220 what?", "331 hm"] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("AUTH", refusal);
            peer.serve()
        });
        let reply = login(&backend, "required");
        // Any 2xx is taken as acceptance; then the handshake fails.
        assert_eq!(reply.code, 421, "{refusal}: {}", reply.text);
        assert_eq!(backend.count("AUTH"), 1, "{refusal}");
        assert_no_credentials(&backend);
    }
}

#[test]
fn a_login_at_a_server_without_prot_p_fails() {
    for (verb, refusal) in [("PROT", "504 only PROT C"), ("PBSZ", "500 what?")] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.until("AUTH")?;
            peer.reply("234 go on")?;
            peer.start_tls(trusted())?;
            peer.answer(verb, refusal);
            peer.serve()
        });
        let reply = login(&backend, "required");
        assert_eq!(reply.code, 421, "{}", reply.text);
        assert!(reply.text.contains("does not protect data connections"), "{}", reply.text);
        assert_eq!(backend.count(verb), 1);
    }
}

/// Implicit TLS protects data connections without PBSZ and PROT, which not every such server supports.
#[test]
fn an_implicit_server_may_refuse_prot() {
    let backend = Scripted::start(|peer| {
        peer.start_tls(trusted())?;
        peer.greet()?;
        peer.answer("PBSZ", "500 PBSZ is not known here");
        peer.answer("PROT", "502 PROT is not known here");
        peer.serve()
    });
    let reply = login(&backend, "implicit");
    assert_eq!(reply.code, 230, "{}", reply.text);
}

#[test]
fn a_server_that_closes_instead_of_the_handshake_is_a_failed_login() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("AUTH")?;
        peer.reply("234 go on")
    });
    let reply = login(&backend, "required");
    assert_eq!(reply.code, 421, "{}", reply.text);
    assert_no_credentials(&backend);
}
