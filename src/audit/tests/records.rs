//! What records say, whatever the names are.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boon::{Compiler, Schemas};
use proptest::prelude::*;
use serde_json::Value;

use super::super::{json, xferlog};
use super::*;
use crate::auth::CertificateSummary;
use crate::net::{Peer, Protection, Protocol};
use crate::op::{Failure, FailureKind};

const INSTANCE: &str = "0123456789abcdef";

fn document(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    fs::read_to_string(path).unwrap()
}

/// Validates records against docs/audit.schema.json.
fn validate(records: &[Value]) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = serde_json::from_str(&document("audit.schema.json")).unwrap();
    compiler.add_resource("audit.json", schema).unwrap();
    let index = compiler.compile("audit.json", &mut schemas).unwrap();
    for record in records {
        if let Err(error) = schemas.validate(record, index) {
            panic!("{record:#}\n{error:#}");
        }
    }
}

fn written(event: &Event<'_>) -> Value {
    let now = UNIX_EPOCH + Duration::from_micros(1_790_000_000_123_456);
    let line = json::record(INSTANCE, now, event, true);
    let is_printable = |c: char| !c.is_control() && (c == ' ' || !c.is_whitespace());
    assert!(line.chars().all(is_printable), "{line:?}");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// The name that a record has, byte for byte.
fn name(record: &Value, field: &str) -> Vec<u8> {
    let text = |field: &str| record[field].as_str().map(str::to_owned);
    match text(&format!("{field}_hex")) {
        None => text(field).unwrap().into_bytes(),
        Some(digits) => {
            let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
            pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
        }
    }
}

#[test]
fn every_kind_of_record_fits_the_schema() {
    let tls = Protection {
        protocol: Protocol::Tls,
        version: Some("1.3"),
        cipher: Some("TLS13_AES_256_GCM_SHA384".to_owned()),
        key_exchange: Some("X25519MLKEM768".to_owned()),
    };
    let resumed = Protection { key_exchange: None, version: Some("1.2"), ..tls.clone() };
    let peer = Peer { address: address("192.0.2.1:21"), protection: Some(resumed) };
    let certificate = CertificateSummary {
        serial: u64::MAX,
        key_id: "alice\n\u{202e}".to_owned(),
        authority: "SHA256:7TJTftCboJeWgImhO60Auf1uIL7rkdJp9FdpJ0JZG3o".to_owned(),
    };
    let groups = ["partners".to_owned()];
    let full = Subject {
        software: Some("SSH-2.0-x"),
        protection: Some(&tls),
        server_name: Some("ftp.example"),
        certificate: Some(Certificate {
            subject: "CN=alice",
            fingerprint: "a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4",
        }),
        account: Some(Account {
            user: b"caf\xe9",
            login_name: Some(b"caf\xe9@example"),
            groups: &groups,
            method: "publickey",
            checked_by: Some("hook"),
            hook: Some("directory"),
            fingerprint: Some("SHA256:7TJTftCboJeWgImhO60Auf1uIL7rkdJp9FdpJ0JZG3o"),
            certificate: Some(&certificate),
            route: Some(3),
            backend: Some(BackendServer {
                name: "files",
                peer: Some(&peer),
                certificate: Some(&certificate),
            }),
        }),
        ..subject(b"x")
    };
    let before_login = Subject { account: None, ..full };
    let failure = Failure::client(FailureKind::LoginRefused, "login incorrect").with_detail("why");
    let totals = SessionTotals { uploads: 1, uploaded_bytes: 5, downloads: 0, downloaded_bytes: 0 };
    let hashed = FileTransfer {
        to: Some(b"/b"),
        bytes_read: 3,
        size: Some(9),
        sha256: Some([0xab; 32]),
        ..file(b"/a", "download")
    };
    let event = |subject, what, outcome, failure| Event {
        seconds: Some(0.5),
        rule: Some("rule"),
        ..Event::new(subject, what, outcome, failure)
    };
    let refused = event(before_login, What::ClientRefused("no-tls"), "refused", None);
    let operation = What::Operation { name: "rename", path: b"/a", to: Some(b"/\xff") };
    let records: Vec<_> = [
        event(full, What::Login, "ok", None),
        event(subject(b"bob"), What::Login, "refused", Some(&failure)),
        Event { seconds: None, ..event(full, What::Login, "key-refused", Some(&failure)) },
        Event { reason: Some("why"), ..refused },
        event(full, What::DataConnection("PASV"), "refused", Some(&failure)),
        event(full, operation, "permission-denied", Some(&failure)),
        event(full, What::Transfer(hashed), "ok", None),
        event(full, What::SessionEnd(totals), "ok", None),
    ]
    .iter()
    .map(written)
    .collect();
    validate(&records);
    let [login, .., operation, transfer, _] = &records[..] else { panic!() };
    assert_eq!(login["time"], "2026-09-21T14:13:20.123456Z");
    assert_eq!(login["user"], "caf\\xe9");
    assert_eq!(name(login, "user"), b"caf\xe9");
    assert_eq!(name(login, "login_name"), b"caf\xe9@example");
    assert_eq!(login["encryption"]["post_quantum"], true);
    assert!(login["backend"]["encryption"]["post_quantum"].is_null());
    assert_eq!(login["backend"]["address"], "192.0.2.1");
    assert_eq!(name(operation, "to"), b"/\xff");
    assert_eq!(operation["detail"], "why");
    assert_eq!(transfer["sha256"], "ab".repeat(32));
}

/// The examples in docs/audit.md are records, and there is one of each kind.
#[test]
fn the_documented_examples_fit_the_schema() {
    let page = document("audit.md");
    let blocks = page.split("```").filter_map(|block| block.strip_prefix("json\n"));
    let examples: Vec<Value> = blocks
        .map(|text| serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}")))
        .collect();
    validate(&examples);
    let schema: Value = serde_json::from_str(&document("audit.schema.json")).unwrap();
    for event in schema["properties"]["event"]["enum"].as_array().unwrap() {
        assert!(examples.iter().any(|example| example["event"] == *event), "{event}");
    }
    // Each field has its row in a table.
    let properties = schema["properties"].as_object().unwrap();
    let nested = ["client", "authentication", "backend"].map(|outer| &properties[outer]);
    let nested = nested.into_iter().chain([&schema["$defs"]["encryption"]]);
    let names = nested.flat_map(|it| it["properties"].as_object().unwrap().keys());
    for name in properties.keys().chain(names) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/audit.md");
    }
}

/// Only where the output asks for it.
#[test]
fn a_hash_is_left_out_where_it_is_not_asked_for() {
    let hashed = FileTransfer { sha256: Some([1; 32]), ..file(b"/a", "upload") };
    let event = Event::new(subject(b"a"), What::Transfer(hashed), "ok", None);
    let line = json::record(INSTANCE, SystemTime::now(), &event, false);
    assert!(!line.contains("sha256"), "{line}");
}

#[test]
fn a_long_name_is_shortened() {
    let long = "é".repeat(100_000);
    let what = What::Operation { name: "symlink", path: b"/a", to: Some(long.as_bytes()) };
    let record = written(&Event::new(subject(b"a"), what, "ok", None));
    assert!(record["to"].as_str().unwrap().ends_with("é… (200000 bytes)"));
    assert!(record["to_hex"].is_null());
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let text = "\\PC{0,8}|.{0,8}|\\p{C}{0,3}|[ \"\\\\\n\r\t=*/_]{0,8}";
    (text, any::<Vec<u8>>(), any::<bool>()).prop_map(|(text, bytes, both)| {
        if both { [text.as_bytes(), &bytes].concat() } else { text.into_bytes() }
    })
}

proptest! {
    #[test]
    fn names_can_be_recovered_byte_for_byte(user in hostile(), path in hostile(), to in hostile()) {
        let what = What::Operation { name: "rename", path: &path, to: Some(&to) };
        let record = written(&Event::new(subject(&user), what, "ok", None));
        for (field, expected) in [("user", user), ("path", path), ("to", to)] {
            prop_assert_eq!(name(&record, field), expected, "{}", record);
        }
    }

    #[test]
    fn a_line_of_xferlog_has_18_fields(user in hostile(), path in hostile(), ok: bool) {
        let outcome = if ok { "ok" } else { "aborted" };
        let event = Event::new(subject(&user), What::Transfer(file(&path, "upload")), outcome, None);
        let line = xferlog::line(UNIX_EPOCH, &event).unwrap();
        prop_assert!(line.chars().all(|c| !c.is_control() && (c == ' ' || !c.is_whitespace())));
        let fields: Vec<_> = line.split(' ').collect();
        prop_assert_eq!(fields.len(), 18, "{}", line);
        prop_assert!(fields.iter().all(|field| !field.is_empty()));
        prop_assert_eq!(fields[17], if ok { "c" } else { "i" });
    }
}

#[test]
fn xferlog_has_transfers_as_proftpd_writes_them() {
    let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let line = |what, outcome, seconds| {
        let event = Event::new(subject(b"alice"), what, outcome, None);
        xferlog::line(now, &Event { seconds: Some(seconds), ..event })
    };
    let transfer = |path, direction| What::Transfer(file(path, direction));
    assert_eq!(
        line(transfer(b"/a b\tc\x07\xe9", "upload"), "ok", 2.9).unwrap(),
        "Mon Sep 21 14:13:20 2026 2 192.0.2.9 5 /a_b_c_\\xe9 b _ i r alice ftp 0 * c"
    );
    let text = FileTransfer { is_text: true, ..file(b"/x", "download") };
    assert_eq!(
        line(What::Transfer(text), "partial", 0.1).unwrap(),
        "Mon Sep 21 14:13:20 2026 0 192.0.2.9 5 /x a _ o r alice ftp 0 * i"
    );
    assert_eq!(line(What::Login, "ok", 0.1), None);
    assert_eq!(line(transfer(b"/x", "copy"), "ok", 0.1), None);
}
