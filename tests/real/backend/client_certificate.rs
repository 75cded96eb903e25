//! Servers that want a client certificate from the gateway (`certificate` and `key` of a backend's `tls`).

use serde_json::Value;

use super::{client, gateway};
use crate::support::client_pki::ClientCa;
use crate::support::pattern;
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::servers::{Software, with_client_certificates};
use crate::support::{PASSWORD, USER};

#[test]
fn servers_that_want_a_certificate_get_the_gateways() {
    let strangers = ClientCa::new("strangers");
    let stranger = strangers.client("gateway");
    for software in [Software::Vsftpd, Software::ProFtpd] {
        let server = with_client_certificates(software);
        let backend = |tls: String| {
            let ca = pki().ca.display();
            format!(
                "address: \"127.0.0.1:{}\", tls: {{ mode: required, ca: {ca}, server_name: localhost{tls} }}",
                server.ftp_port()
            )
        };
        let with = |certificate: &std::path::Path, key: &std::path::Path| {
            format!(", certificate: {}, key: {}", certificate.display(), key.display())
        };
        let own = with(&pki().client, &pki().client_key);
        let gateway = gateway(&[
            ("own", backend(own.clone())),
            ("fresh", backend(format!("{own}, session_reuse: none"))),
            ("none", backend(String::new())),
            ("stranger", backend(with(&stranger.certificate, &stranger.key))),
        ]);
        let bytes = pattern(90_000);
        // ProFTPD wants data connections to resume.
        let reuse = software == Software::ProFtpd;
        for listener in ["own", "fresh"].into_iter().take(if reuse { 1 } else { 2 }) {
            let mut client = client(&gateway, listener);
            for turn in 0..3 {
                assert_eq!(client.upload("STOR file", &bytes[turn..]).code, 226, "{listener}");
                assert_eq!(client.download("RETR file").0, bytes[turn..], "{listener}");
            }
            let on_disk = std::fs::read(server.home.join("file")).expect("the file");
            assert!(on_disk == bytes[2..], "{listener}");
        }
        for (listener, remedy) in [
            ("none", "may require a client certificate: set `tls.certificate` and `tls.key`"),
            ("stranger", "may not accept the gateway's certificate (`tls.certificate`)"),
        ] {
            let (mut raw, _) = Raw::connect(gateway.address(listener));
            raw.expect(&format!("USER {USER}"), 331);
            let reply = raw.expect(&format!("PASS {PASSWORD}"), 421);
            assert!(!reply.text.contains("certificate,"), "{}", reply.text);
            let outage = |line: &Value| {
                line["event"] == "backend"
                    && line["backend"] == listener
                    && line.to_string().contains(remedy)
            };
            gateway.await_log(outage, std::time::Duration::from_secs(15));
        }
    }
}
