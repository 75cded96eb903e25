//! Accounts of a scripted server that may store and rename, but neither list nor read.

use std::time::Duration;

use super::{before, client};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::curl::curl_sftp;
use crate::support::clients::openssh::{remote, scp, sftp};
use crate::support::gateway::Gateway;
use crate::support::scripted::Scripted;

const DENIED: &str = "550 Permission denied";

fn drop_box(features: &'static str) -> Scripted {
    Scripted::start(move |peer| {
        peer.greet()?;
        peer.answer("FEAT", features);
        for look in ["SIZE", "MDTM", "MLST", "MLSD", "LIST", "STAT", "CWD"] {
            peer.answer(look, DENIED);
        }
        loop {
            peer.until_any(&["STOR", "APPE"])?;
            peer.take()?;
        }
    })
}

const FEATURES: [&str; 2] =
    ["211-\r\n SIZE\r\n211 end", "211-\r\n MLST type*;size*;\r\n SIZE\r\n211 end"];

fn sftp_before(backend: &Scripted, keys: &str) -> Gateway {
    Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back: {{ protocol: ftp, address: \"{}\"{keys} }}\n\
         routes:\n  - {{ authenticate: backend, backend: back }}\n",
        host_keys(),
        backend.address,
    ))
}

#[test]
fn ftp_clients_store_and_rename() {
    for features in FEATURES {
        let backend = drop_box(features);
        let gateway = before(&backend, "");
        let mut client = client(&gateway, "back");
        assert_eq!(client.upload("STOR in/a.part", b"data").code, 226);
        client.expect("RNFR in/a.part", 350);
        client.expect("RNTO in/a", 250);
        assert_eq!(client.upload("APPE in/a", b"more").code, 226);
        client.expect("MKD in/d", 257);
        client.expect("RMD in/d", 250);
        client.expect("DELE in/a", 250);
        assert!(client.command("CWD in").text.contains(DENIED));
        assert!(client.command("SIZE in/a").text.contains(DENIED));
        assert_eq!((backend.count("RNFR"), backend.count("RNTO")), (1, 1));
    }
}

#[test]
fn sftp_clients_store_and_rename() {
    for features in FEATURES {
        let backend = drop_box(features);
        let gateway = sftp_before(&backend, "");
        let site = SftpSite::new(gateway.address("front").port());
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("own"), b"own").expect("writing a file");
        let batch = "put own /in/a.part\nrename /in/a.part /in/a\nrename -l /in/a /in/b\n\
                     rename -l /in/b /in/c\nmkdir /in/d\nrmdir /in/d\nrm /in/c\n";
        sftp(&site, home.path(), batch, &[]).expect_ok(features);
        scp(&site, home.path(), "own", &remote(&site, "/in/copied")).expect_ok(features);
        let own = home.path().join("own");
        curl_sftp(&site, "/in/curled", &["-T".as_ref(), own.as_os_str()]).expect_ok(features);
        let unchecked =
            |line: &serde_json::Value| line.to_string().contains("unchecked_rename: refuse");
        gateway.await_log(unchecked, Duration::from_secs(5));
        let warnings = gateway.log_tail(1000).matches("unchecked_rename: refuse").count();
        assert_eq!(warnings, 1, "once for the server");
    }
}

#[test]
fn a_plain_rename_is_refused_with_unchecked_rename_refuse() {
    for features in FEATURES {
        let backend = drop_box(features);
        let gateway = sftp_before(&backend, ", unchecked_rename: refuse");
        let site = SftpSite::new(gateway.address("front").port());
        let home = tempfile::tempdir().expect("a client's home");
        let renamed = sftp(&site, home.path(), "rename -l /in/a /in/b\n", &[]);
        assert!(renamed.status.is_some_and(|status| !status.success()));
        assert_eq!(backend.count("RNTO"), 0);
        // posix-rename may overwrite.
        sftp(&site, home.path(), "rename /in/a /in/b\n", &[]).expect_ok(features);
        assert_eq!(backend.count("RNTO"), 1);
    }
}
