//! `audit`: outputs, and what contradicts itself.

use super::mistakes::one;
use super::*;
use crate::audit::{Facility, Format, Output, Receiver, WhenUnavailable};

fn with(audit: &str) -> Compiled {
    compiled(&format!("{}audit: {audit}\n", base()))
}

/// Expects one error in `audit: …`, which is line 30.
#[track_caller]
fn wrong(audit: &str, position: &str, message: &str) {
    let (from, to) = ("sessions: 10\n", format!("sessions: 10\naudit: {audit}\n"));
    one(from, &to, position, message);
}

/// The one warning of a check on a machine whose own address is 192.0.2.9.
#[track_caller]
fn warning(audit: &str) -> String {
    let folder = folder();
    let path = folder.path().join("lockgate.yaml");
    fs::write(&path, format!("{}audit: {audit}\n", apart(&base()))).unwrap();
    let own = |address| address == std::net::IpAddr::from([192, 0, 2, 9]);
    let machine = Machine { is_own: own, ..check_only() };
    let compiled = load_file(&path, &machine).unwrap_or_else(|report| panic!("{report}"));
    let warnings = compiled.warnings.problems().iter().map(|it| it.message.clone());
    warnings.collect::<Vec<_>>().join("\n").replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn an_entry_or_a_list_is_compiled() {
    let [one] = &with("{ file: a.jsonl }").audit[..] else { panic!() };
    assert!(
        matches!(&one.output, Output::File(path) if path.ends_with("a.jsonl") && path.is_absolute())
    );
    assert_eq!((one.format, one.sha256), (Format::Json, false));
    assert_eq!(one.when_unavailable, WhenUnavailable::Serve);
    let several = with(
        "[{ file: a, sha256: true, when_unavailable: refuse }, { stdout: true, format: xferlog }, \
         { syslog: { address: logs.example.com, ca: exchange-ca.crt } }, { syslog: { socket: /dev/log } }]",
    );
    let [file, stdout, tcp, socket] = &several.audit[..] else { panic!() };
    assert!(file.sha256 && file.when_unavailable == WhenUnavailable::Refuse);
    assert!(matches!(stdout.output, Output::Stdout) && stdout.format == Format::Xferlog);
    let Output::Syslog(tcp) = &tcp.output else { panic!() };
    assert!(
        matches!(&tcp.receiver, Receiver::Tcp { address, tls: Some(_) } if address == "logs.example.com:6514")
    );
    assert_eq!(tcp.facility, Facility::Ftp);
    let Output::Syslog(socket) = &socket.output else { panic!() };
    assert!(matches!(&socket.receiver, Receiver::Socket(path) if path.ends_with("log")));
    assert!(compiled(&base()).audit.is_empty());
}

#[test]
fn contradictions_are_errors() {
    wrong("{ format: json }", "30:1: audit", "has no output: write file, stdout: true, or syslog");
    wrong("{ stdout: false }", "30:1: audit", "has no output");
    wrong("{ file: a, stdout: true }", "30:27: audit.stdout", "an entry has one output");
    wrong("[]", "30:1: audit", "is an empty list");
    wrong("[{ file: a }, { file: ./a }]", "30:22: audit[1]", "has the output of line 30 again");
    wrong("{ file: files }", "30:16: audit.file", "is a folder");
    wrong("{ file: tls.crt/a }", "30:16: audit.file", "is not a folder");
    wrong(
        "{ file: none/a }",
        "30:16: audit.file",
        "does not exist, and the gateway does not start",
    );
    wrong(
        "{ file: a, output: stdout }",
        "30:19: audit.output",
        "write file, stdout: true, or syslog",
    );
    wrong("{ file: a, format: xferlog, sha256: true }", "30:44: audit.sha256", "no field for it");
    wrong("{ file: a, format: xml }", "30:27: audit.format", "is not one of json, xferlog");
    wrong("{ file: a, when_unavailable: block }", "30:37", "is not one of serve, refuse");
    let syslog = |inner: &str| format!("{{ syslog: {{ {inner} }} }}");
    let wrong =
        |inner: &str, position: &str, message: &str| wrong(&syslog(inner), position, message);
    wrong("facility: local0", "30:10: audit.syslog", "has no receiver: write address or socket");
    wrong(
        "address: a, socket: /dev/log, tls: none",
        "30:40: audit.syslog.socket",
        "an address or a socket",
    );
    wrong("socket: /dev/log, tls: required", "30:43: audit.syslog.tls", "a socket has no TLS");
    wrong("socket: /dev/log, ca: exchange-ca.crt", "30:42: audit.syslog.ca", "a socket has no TLS");
    wrong("socket: tls.crt", "30:28: audit.syslog.socket", "exists and is not a socket");
    wrong(
        "address: a, tls: none, ca: exchange-ca.crt",
        "30:47: audit.syslog.ca",
        "no effect with `tls: none`",
    );
    wrong("address: a, ca: missing.crt", "30:36: audit.syslog.ca", "missing.crt");
    wrong("address: a, facility: local8", "30:42: audit.syslog.facility", "local0 to local7");
    wrong(
        "address: a, ca: exchange-ca.crt, server_name: \"a b\"",
        "30:66: audit.syslog.server_name",
        "server name",
    );
    wrong(
        "address: a, ca: exchange-ca.crt, port: 1",
        "30:53: audit.syslog.port",
        "part of `address`",
    );
}

#[test]
fn xferlog_is_no_syslog_message() {
    let audit = "{ format: xferlog, syslog: { socket: /dev/log } }";
    wrong(audit, "30:18: audit.format", "a syslog receiver gets json");
}

#[test]
fn a_check_warns_of_clear_text_and_of_this_machine() {
    let clear =
        |address: &str| warning(&format!("{{ syslog: {{ address: {address}, tls: none }} }}"));
    assert!(clear("logs.example.com").contains("cross the network in clear"));
    assert!(clear("\"192.0.2.8:1\"").contains("cross the network in clear"));
    assert_eq!(clear("\"192.0.2.9:1\""), "");
    assert_eq!(clear("localhost"), "");
    let gone = warning("{ file: none/a }");
    assert!(gone.starts_with("the folder none does not exist"), "{gone}");
    let socket = warning("{ syslog: { socket: none } }");
    assert!(socket.starts_with("none cannot be found here"), "{socket}");
    assert_eq!(warning("{ file: a }"), "");
}

#[test]
fn a_receiver_without_an_address_is_reported() {
    let unknown = Machine {
        resolve: |names| {
            names.iter().map(|name| (name.clone(), Err("no such host".into()))).collect()
        },
        ..check_only()
    };
    let folder = folder();
    let path = folder.path().join("lockgate.yaml");
    let audit = "{ syslog: { address: logs.example.com, ca: exchange-ca.crt } }";
    fs::write(&path, format!("{}audit: {audit}\n", base())).unwrap();
    let compiled = load_file(&path, &unknown).unwrap_or_else(|report| panic!("{report}"));
    let warnings = compiled.warnings.to_string();
    assert!(warnings.contains("no audit record reaches this receiver until it does"), "{warnings}");
}
