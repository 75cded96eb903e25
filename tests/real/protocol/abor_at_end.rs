//! ABOR near the end of an upload's data, with each kind of backend: the reply, the file and the
//! record agree on the outcome.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use super::check_in_sync;
use super::cuts::KINDS;
use crate::support::backend_fixture::host_keys;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::raw::Raw;
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const BACKENDS: [&str; 3] = ["local", "ftp", "sftp"];
static WHOLE: [u8; 100_000] = [7; 100_000];
/// From the end of data to ABOR: from within the grace period to after the reply.
const STEP: Duration = Duration::from_micros(200);
const STEPS: u32 = 40;

fn data_ports() -> String {
    let block = ports::block(32);
    format!(
        "data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n",
        block.start(),
        block.end()
    )
}

/// A listener for each backend, whose `partial_uploads` is `kind`.
fn start(kind: &str, folder: &std::path::Path) -> (Gateway, Gateway) {
    let mut password = tempfile::NamedTempFile::new().expect("a file");
    password.write_all(PASSWORD.as_bytes()).expect("writing the password");
    let users = format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash());
    let local =
        format!("local: {{ protocol: local, folder: {folder:?}, partial_uploads: {kind} }}");
    let ftp =
        "protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: { mode: none }".to_owned();
    let server = Gateway::start(&format!(
        "listeners:\n  ftp: {{ {ftp} }}\n  \
           sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         {}backends:\n  {local}\n{users}routes:\n  - {{ authenticate: gateway, backend: local }}\n",
        host_keys(),
        data_ports(),
    ));
    let listeners = BACKENDS.map(|backend| format!("  {backend}: {{ {ftp} }}\n")).concat();
    let routes = BACKENDS.map(|backend| {
        format!(
            "  - {{ match: {{ listeners: [{backend}] }}, authenticate: gateway, backend: {backend} }}\n"
        )
    });
    let login =
        format!("login: {{ user: {USER}, password_file: password }}, partial_uploads: {kind}");
    let gateway = Gateway::start_by(
        Command::new(PROGRAM),
        &format!(
            "listeners:\n{listeners}{}backends:\n  {local}\n  \
               ftp: {{ protocol: ftp, address: \"{}\", {login} }}\n  \
               sftp: {{ protocol: sftp, address: \"{}\", host_key: \"{}\", {login} }}\n\
             {users}routes:\n{}",
            data_ports(),
            server.address("ftp"),
            server.address("sftp"),
            keys().fingerprints[0],
            routes.concat(),
        ),
        &[("password", password.path())],
    );
    (gateway, server)
}

#[test]
fn after_an_abor_near_the_end_of_data_the_file_and_the_reply_agree() {
    for kind in KINDS {
        let folder = tempfile::tempdir().expect("a folder");
        let (gateway, _server) = start(kind, folder.path());
        for backend in BACKENDS {
            let (mut raw, _) = Raw::connect(gateway.address(backend));
            raw.login(USER, PASSWORD);
            raw.expect("TYPE I", 200);
            for step in 0..STEPS {
                let how = format!("{kind} {backend}, {step}");
                let file = folder.path().join(format!("{backend}-{step}"));
                let mut data = raw.begin(&format!("STOR {backend}-{step}"));
                data.write_all(&WHOLE).expect("sending the file");
                drop(data);
                std::thread::sleep(STEP * step);
                raw.send_bytes(b"ABOR\r\n");
                let (first, second) = (raw.read(), raw.read());
                let there = std::fs::read(&file).ok();
                match (first.code, second.code) {
                    (226, 225) => assert!(there.is_some_and(|bytes| bytes == WHOLE), "{how}"),
                    (426, 226) if kind == "keep" => {}
                    (426, 226) => assert!(there.is_none(), "{how}"),
                    codes => panic!("{how}: {codes:?}: {} {}", first.text, second.text),
                }
                check_in_sync(&mut raw);
            }
            let reply = raw.upload("STOR again", &WHOLE);
            assert_eq!(reply.code, 226, "{kind} {backend}: {}", reply.text);
            raw.expect("QUIT", 221);
        }
    }
}
