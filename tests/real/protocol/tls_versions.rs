//! TLS versions: 1.2 and 1.3, nothing older.

use std::process::Command;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use super::{Fixture, Plan};
use crate::support::pki::pki;
use crate::support::process::{Output, run};
use crate::support::raw::{Raw, client_config};
use crate::support::{PASSWORD, USER};

fn start(mode: &'static str) -> Fixture {
    Plan { tls: mode, ..Plan::default() }.start()
}

#[test]
fn tls_1_2_and_1_3_are_served() {
    let fixture = start("implicit");
    let (mut newest, _) = Raw::connect_implicit(fixture.address());
    newest.login(USER, PASSWORD);
    let fixture = start("required");
    for version in [&TLS12, &TLS13] {
        let mut raw = fixture.connect();
        raw.set_tls(client_config(&[version]));
        raw.auth_tls();
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        assert_eq!(raw.upload("STOR file", b"bytes").code, 226);
        assert_eq!(raw.download("RETR file").0, b"bytes");
    }
}

/// Prints the version that its own server accepts from this client, then the gateway's reaction to
/// the same offer.
const OLD_TLS: &str = r#"
import socket, ssl, sys, threading
port, certificate, key, version_name = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
version = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2}[version_name]
def context(kind):
    made = ssl.SSLContext(kind)
    made.set_ciphers("ALL:@SECLEVEL=0")
    made.minimum_version = made.maximum_version = version
    return made
client = context(ssl.PROTOCOL_TLS_CLIENT)
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
server = context(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.wrap_socket(listener.accept()[0], server_side=True)).start()
with client.wrap_socket(socket.create_connection(listener.getsockname(), 10)) as own:
    print("own", own.version())
try:
    with client.wrap_socket(socket.create_connection(("127.0.0.1", port), 10)) as gateway:
        print("gateway", gateway.version())
except ssl.SSLError as error:
    print("gateway", error.reason)
"#;

#[test]
fn tls_1_1_is_refused() {
    let fixture = start("implicit");
    let offer = |version: &str| -> Output {
        let mut command = Command::new("python3");
        command.args(["-W", "ignore", "-c", OLD_TLS, &fixture.address().port().to_string()]);
        command.arg(&pki().certificate).arg(&pki().key).arg(version);
        run(&mut command, b"", Duration::from_secs(20)).expect_ok("offering TLS")
    };
    let refused = offer("1.1");
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    // Such an old offer lacks extensions that rustls checks before the version.
    let refusals = ["SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_PROTOCOL_VERSION"];
    let refusals = refusals.map(|reason| format!("own TLSv1.1\ngateway {reason}\n"));
    assert!(refusals.contains(&text), "{text}");
    let accepted = offer("1.2");
    let text = String::from_utf8_lossy(&accepted.stdout).into_owned();
    assert_eq!(text, "own TLSv1.2\ngateway TLSv1.2\n");
}
