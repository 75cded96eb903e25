//! Servers whose data connections must resume the control connection's TLS session.

use super::{client, gateway, server};
use crate::support::pattern;
use crate::support::servers::endpoint;

const TRANSFERS: usize = 20;

fn many_transfers(name: &'static str) {
    let endpoint = endpoint(name);
    let gateway = gateway(&[("back", server(&endpoint))]);
    let bytes = pattern(40_000 + TRANSFERS);
    for listener in ["back", "back-tls"] {
        let mut client = client(&gateway, listener);
        let folder = format!("reuse-{name}-{listener}");
        client.expect(&format!("MKD /{folder}"), 257);
        client.expect(&format!("CWD /{folder}"), 250);
        for number in 0..TRANSFERS {
            let stored = client.upload(&format!("STOR {number}.bin"), &bytes[number..]);
            assert_eq!(stored.code, 226, "upload {number}: {}", stored.text);
        }
        let (names, last) = client.download("NLST");
        assert_eq!((names.iter().filter(|b| **b == b'\n').count(), last.code), (TRANSFERS, 226));
        for number in 0..TRANSFERS {
            let (read, last) = client.download(&format!("RETR {number}.bin"));
            assert_eq!(last.code, 226, "download {number}: {}", last.text);
            assert!(read == bytes[number..], "download {number}: {} bytes differ", read.len());
            let on_disk = endpoint.home.join(&folder).join(format!("{number}.bin"));
            assert!(std::fs::read(on_disk).expect("the file") == bytes[number..], "{number}");
        }
        client.expect("QUIT", 221);
    }
}

#[test]
fn vsftpd_with_require_ssl_reuse_accepts_data_connections() {
    many_transfers("vsftpd-reuse");
}

#[test]
fn proftpd_with_its_default_accepts_data_connections() {
    many_transfers("proftpd-tls");
}
