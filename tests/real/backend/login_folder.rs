//! The folder after a login: servers with unusual PWD replies, and routes with `root: home`.

use std::os::unix::fs::{chown, symlink};
use std::time::Duration;

use super::{before, client, gateway, greeted, sftp_server};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::scripted::Scripted;
use crate::support::servers::{asyncssh, sftp_endpoint};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, ports};

const TIMEOUT: Duration = Duration::from_secs(15);

/// A server with MLST that handles one file at a time; its only entry is `sub`.
fn server(pwd: &'static str) -> Scripted {
    Scripted::start(move |peer| {
        peer.greet()?;
        peer.answer("PWD", pwd);
        peer.answer("FEAT", "211-\r\n MLST type*;\r\n211 end");
        loop {
            let line = peer.until_any(&["STOR", "MLST"])?;
            match line.as_str() {
                "MLST sub" => peer.reply("250-\r\n type=dir; sub\r\n250 end")?,
                line if line.starts_with("MLST") => peer.reply("550 no such file")?,
                _ => drop(peer.take()?),
            }
        }
    })
}

fn stored(server: &Scripted) -> Vec<String> {
    server.lines().into_iter().filter(|line| line.starts_with("STOR")).collect()
}

#[test]
fn an_ftp_client_stores_in_the_login_folder() {
    for pwd in [
        "257 \"/home/x\" is the current directory",
        "257 /home/x",
        "257-\"/home/x\" is where you are\r\n257 and that is all",
        "250 \"/home/x\"",
    ] {
        let server = server(pwd);
        let gateway = before(&server, "");
        let mut client = client(&gateway, "back");
        assert!(client.expect("PWD", 257).text.contains("\"/home/x\""), "{pwd}");
        assert_eq!(client.upload("STOR name", b"bytes").code, 226, "{pwd}");
        assert_eq!(stored(&server), ["STOR /home/x/name"], "{pwd}");
    }
}

#[test]
fn an_ftp_client_stores_in_an_unknown_login_folder() {
    for (pwd, shown) in [
        ("257 \"C:\\home\\x\" is current", "257 \"C:\\home\\x\" is current"),
        ("257 'USER.DATA.'", "'USER.DATA.'"),
        ("257 \"'USER.DATA.'\" is the working directory", "USER.DATA"),
        ("502 not here", "502 not here"),
        ("550 \x1b[31mno", "550 \\u{1b}[31mno"),
        ("500 what?", "500 what?"),
    ] {
        let server = server(pwd);
        let gateway = before(&server, "");
        let mut client = client(&gateway, "back");
        assert!(client.expect("PWD", 257).text.contains("\"/\""), "{pwd}");
        assert_eq!(client.upload("STOR name", b"bytes").code, 226, "{pwd}");
        assert_eq!(client.upload("STOR /other", b"bytes").code, 226, "{pwd}");
        client.expect("CWD none", 550);
        client.expect("CWD sub", 250);
        assert_eq!(client.upload("STOR name", b"bytes").code, 226, "{pwd}");
        let refusal = client.passive();
        let reply = client.command("STOU");
        drop(refusal);
        assert!(reply.code >= 500 && reply.text.contains("login_folder"), "{}", reply.text);
        assert_eq!(stored(&server), ["STOR name", "STOR other", "STOR sub/name"], "{pwd}");
        assert_eq!(server.count("CWD"), 0, "{:?}", server.lines());
        let is_refusal = |event: &serde_json::Value| event["request"] == "PWD";
        let event = gateway.await_log(is_refusal, TIMEOUT);
        assert_eq!((&event["level"], &event["backend"]), (&"WARN".into(), &"back".into()));
        let answer = event["reply"].as_str().unwrap_or_default();
        assert!(answer.contains(shown), "{answer}");
        let log = gateway.log_tail(usize::MAX);
        assert_eq!(log.matches("\"request\":\"PWD\"").count(), 1, "{log}");
    }
}

#[test]
fn an_sftp_client_stores_in_the_login_folder() {
    for (pwd, expected) in [
        ("257 /home/x", "STOR /home/x/name"),
        ("257 \"C:\\home\\x\"", "STOR name"),
        ("502 not here", "STOR name"),
    ] {
        let server = server(pwd);
        let gateway = Gateway::start(&format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             backends:\n  back: {{ protocol: ftp, address: \"{}\" }}\n\
             routes:\n  - {{ authenticate: backend, backend: back }}\n",
            host_keys(),
            server.address,
        ));
        let site = SftpSite::new(gateway.address("front").port());
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("name"), b"bytes").expect("writing a file");
        sftp(&site, home.path(), "put name\n", &[]).expect_ok(pwd);
        assert_eq!(stored(&server), [expected], "{pwd}");
        assert_eq!(server.count("CWD"), 0, "{:?}", server.lines());
    }
}

#[test]
fn login_folder_overrides_the_servers_reply() {
    for pwd in ["257 \"/elsewhere\"", "502 not here"] {
        let server = server(pwd);
        let gateway = before(&server, ", login_folder: /home/x");
        let mut client = client(&gateway, "back");
        assert!(client.expect("PWD", 257).text.contains("\"/home/x\""), "{pwd}");
        assert_eq!(client.upload("STOR name", b"bytes").code, 226, "{pwd}");
        client.expect("CWD /", 250);
        assert_eq!(stored(&server), ["STOR /home/x/name"], "{pwd}");
        server.assert_saw("CWD /");
    }
}

#[test]
fn paths_below_a_root_stay_absolute() {
    let server = server("502 not here");
    let keys = format!("address: \"{}\"", server.address);
    let yaml = super::configuration(&[("back", keys)]);
    let gateway = Gateway::start(&yaml.replace("backend: back }", "backend: back, root: /srv }"));
    let mut client = client(&gateway, "back");
    assert_eq!(client.upload("STOR name", b"bytes").code, 226);
    assert_eq!(stored(&server), ["STOR /srv/name"]);
}

/// sshd shows the whole machine: the login's folder is not its `/`.
#[test]
fn root_home_is_the_login_folder_of_an_sftp_server() {
    let endpoint = sftp_endpoint("sshd");
    let port = ports::block(2);
    let gateway = Gateway::start(&format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {}-{} }}\n\
         backends:\n  back: {{ {} }}\n\
         routes:\n  - {{ authenticate: backend, backend: back, root: home }}\n",
        host_keys(),
        port.start(),
        port.end(),
        sftp_server(&endpoint),
    ));
    let disk = tempfile::tempdir_in(endpoint.home).expect("a folder");
    let owner = std::fs::metadata(endpoint.home).expect("the home");
    let (uid, gid) = {
        use std::os::unix::fs::MetadataExt;
        (owner.uid(), owner.gid())
    };
    chown(disk.path(), Some(uid), Some(gid)).expect("giving a folder away");
    symlink("/etc", disk.path().join("out")).expect("a link");
    let folder = disk.path().file_name().and_then(|name| name.to_str()).expect("a name");

    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    assert!(client.expect("PWD", 257).text.contains("\"/\""));
    assert_eq!(client.upload(&format!("STOR /{folder}/name"), b"bytes").code, 226);
    assert_eq!(std::fs::read(disk.path().join("name")).expect("the file"), b"bytes");
    client.expect("CWD /etc", 550);
    client.expect(&format!("CWD ../../../{folder}"), 250);
    let (listed, _) = client.download("LIST");
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert!(listed.contains("out") && !listed.contains("/etc"), "{listed}");

    let home = tempfile::tempdir().expect("a client's home");
    let site = SftpSite::new(gateway.address("sftp").port());
    let output = sftp(&site, home.path(), &format!("pwd\nls /{folder}\nget /{folder}/name\n"), &[]);
    output.expect_ok("sshd");
    assert_eq!(std::fs::read(home.path().join("name")).expect("the file"), b"bytes");
}

/// Both fronts with an SFTP server that shows the whole machine and does not report the user's folder.
#[test]
fn an_sftp_server_with_an_unknown_login_folder_gets_relative_names() {
    for answer in ["fails", ".", "C:\\Users\\x"] {
        let server = asyncssh::with_realpath(answer);
        let port = ports::block(1);
        let fingerprint = &keys().fingerprints[0];
        let gateway = Gateway::start(&format!(
            "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n  \
             sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             data_ports:\n  pool: {{ range: {}-{} }}\n\
             backends:\n  back: {{ protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{fingerprint}\" }}\n\
             routes:\n  - {{ authenticate: backend, backend: back }}\n",
            host_keys(),
            port.start(),
            port.end(),
            server.port(),
        ));
        let (mut client, _) = Raw::connect(gateway.address("ftp"));
        client.login(USER, PASSWORD);
        client.expect("TYPE I", 200);
        client.expect("MKD in", 257);
        client.expect("CWD in", 250);
        for name in ["name", "/other"] {
            assert_eq!(client.upload(&format!("STOR {name}"), b"bytes").code, 226, "{answer}");
        }
        client.expect("CWD /etc", 550);
        let home = tempfile::tempdir().expect("a client's home");
        let site = SftpSite::new(gateway.address("sftp").port());
        std::fs::write(home.path().join("put"), b"bytes").expect("writing a file");
        let batch = "pwd\nls\nput put\nrename put in/put\nget in/put back\n";
        sftp(&site, home.path(), batch, &[]).expect_ok(answer);
        for name in ["in/name", "other", "in/put"] {
            let there = std::fs::read(server.home.join(name));
            assert_eq!(there.expect(name), b"bytes", "{answer}");
        }
        let event = gateway.await_log(|event| event["request"] == "REALPATH", TIMEOUT);
        assert_eq!(event["level"], "WARN", "{event}");
    }
}

#[test]
fn a_session_continues_after_an_abort_without_a_known_login_folder() {
    for feat in ["502 not here", "211-\r\n SIZE\r\n211 end"] {
        let server = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("PWD", "502 not here");
            peer.answer("FEAT", feat);
            peer.until("RETR")?;
            peer.reply("150 here it comes")?;
            let mut data = peer.data()?;
            while std::io::Write::write_all(&mut data, &[b'x'; 4096]).is_ok() {}
            peer.reply("426 cut")?;
            peer.until("STOR")?;
            peer.take()?;
            peer.serve()
        });
        let gateway = before(&server, "");
        let mut client = client(&gateway, "back");
        let mut data = client.begin("RETR name");
        std::io::Read::read_exact(&mut data, &mut [0]).expect("a byte");
        drop(data);
        assert_eq!(client.read().code / 100, 4);
        assert_eq!(client.upload("STOR name", b"bytes").code, 226, "{feat}");
        assert_eq!(server.connections(), 1, "{feat}");
    }
}

/// A server that answers neither way has accepted the login all the same.
#[test]
fn an_unknown_login_folder_does_not_fail_the_login() {
    let server = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("PWD")?;
        // No reply.
        super::scripted_logins::wait_for_the_end(peer)
    });
    // After a missing reply, replies no longer match commands: the gateway reconnects and does not ask again.
    let silent =
        gateway(&[("back", format!("address: \"{}\", reply_timeout: 1s", server.address))]);
    let mut client = greeted(&silent, "back");
    client.login(USER, PASSWORD);
    assert!(client.expect("PWD", 257).text.contains("\"/\""));
}
