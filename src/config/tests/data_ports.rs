//! Pools: `advertise`, slices, source ports, and ports of backends.

use super::mistakes::one;
use super::*;
use crate::config::Severity;
use crate::data::{Host, Ports};

const RANGE: &str = "    range: 50000-50099\n";

fn with(more: &str) -> String {
    format!("{RANGE}    {more}\n")
}

/// The warnings about the base with more keys in its pool, each without its position.
#[track_caller]
fn warnings(more: &str) -> Vec<String> {
    let text = base().replace(RANGE, &with(more));
    let compiled = compiled(&text);
    let problems = compiled.warnings.problems();
    assert!(problems.iter().all(|it| it.severity == Severity::Warning));
    problems.iter().map(|it| format!("{}: {}", it.path, it.message)).collect()
}

#[test]
fn invalid_advertise_entries_are_errors() {
    let entry = |keys: &str| with(&format!("advertise: [{{ {keys} }}]"));
    let position = "10:";
    for (keys, message) in [
        ("address: ftp_.example.com:21", r#"host name (did you mean "ftp_.example.com"?)"#),
        ("address: 203.0.113.300", "is neither an IP address nor a host name"),
        ("address: \"[2001:db8::7]\"", r#"did you mean "2001:db8::7"?"#),
        ("address: \"::ffff:192.0.2.1\"", r#"did you mean "192.0.2.1"?"#),
        ("port_offset: 1.5", "not a whole number from -65534 to 65534"),
        ("port_offset: 15437", "maps the ports 50000 to 50099 to 65437 to 65536"),
        ("port_offset: -50000", "maps the ports 50000 to 50099 to 0 to 99"),
        ("ports: 60000-60098", "has 99 ports, but `range` has 100"),
        ("ports: 60000-60099, port_offset: 1", "`port_offset` is set, too"),
        ("clients: 10.0.0.0/8", "is missing; alternatively set `address_env`, `port_offset`"),
    ] {
        one(RANGE, &entry(keys), position, message);
    }
    // `ports` maps the whole range, regardless of slices.
    let slice = "\n    slice: { of: 3, index_env: LOCKGATE_REPLICA }";
    one(RANGE, &with(&format!("advertise: [{{ ports: 1-50 }}]{slice}")), position, "has 50 ports");
    for keys in ["port_offset: 15436", "port_offset: -49999", "ports: 1-100", "ports: 65436-65535"]
    {
        compiled(&base().replace(RANGE, &entry(keys)));
    }
}

#[test]
fn unused_and_unreachable_advertise_entries_are_warnings() {
    let both = "listen: [\"0.0.0.0\", \"::\"]\n    ";
    let private = "clients from other networks cannot reach it";
    for (more, message) in [
        ("advertise: [{ address: 10.0.0.1 }]".into(), vec![private]),
        ("advertise: [{ clients: 0.0.0.0/0, address: 192.168.0.1 }]".into(), vec![private]),
        ("advertise: [{ address: 100.64.0.1 }]".into(), vec!["a carrier NAT address"]),
        ("advertise: [{ address: 169.254.0.1 }]".into(), vec!["a link-local address"]),
        ("advertise: [{ address: 127.0.0.1 }]".into(), vec!["a loopback address"]),
        (format!("{both}advertise: [{{ address: \"fd00::1\" }}]"), vec!["RFC 4193"]),
        (format!("{both}advertise: [{{ address: \"fe80::1\" }}]"), vec!["a link-local address"]),
        ("advertise: [{ clients: 10.0.0.0/8, address: 10.0.0.1 }]".into(), vec![]),
        ("listen: 10.0.0.5\n    advertise: [{ address: 10.0.0.5 }]".into(), vec![]),
        ("advertise: [{ address: \"2001:db8::1\" }]".into(), vec!["listens on no IPv6 address"]),
        (
            "listen: \"::\"\n    advertise: [{ address: 192.0.2.1 }]".into(),
            vec!["listens on no IPv4 address"],
        ),
        (
            format!("{both}advertise: [{{ clients: 10.0.0.0/8, address: \"2001:db8::1\" }}]"),
            vec!["`clients` and `address` are of different address families"],
        ),
        (
            "advertise: [{ address: 192.0.2.1 }, { clients: 10.0.0.0/8, address: 10.0.0.2 }]"
                .into(),
            vec!["[1]: is never used: the earlier entry in line 10 is for all clients"],
        ),
        (
            "advertise: [{ clients: 10.0.0.0/8, address: 10.0.0.1 }, \
             { clients: 10.1.0.0/16, address: 10.0.0.2 }]"
                .into(),
            vec!["[1]: is never used: the earlier entry in line 10 is for these clients, too"],
        ),
        // Each family has an entry of its own.
        (
            format!("{both}advertise: [{{ address: 192.0.2.1 }}, {{ address: \"2001:db8::1\" }}]"),
            vec![],
        ),
        (format!("{both}advertise: [{{ address: 192.0.2.1 }}, {{ port_offset: 1 }}]"), vec![]),
        (
            format!("{both}advertise: [{{ port_offset: 1 }}, {{ address: 192.0.2.1 }}]"),
            vec!["[1]: is never used"],
        ),
        // A name may have no address of the family.
        ("advertise: [{ address: a.example.com }, { address: 192.0.2.1 }]".into(), vec![]),
    ] {
        let output = warnings(&more);
        assert_eq!(output.len(), message.len(), "{more}: {output:?}");
        for (output, message) in output.iter().zip(message) {
            assert!(output.starts_with("data_ports.pool.advertise["), "{output}");
            assert!(output.contains(message), "{message}: {output}");
        }
    }
}

#[test]
fn a_pool_that_does_not_listen_at_its_listeners_address_is_a_warning() {
    let output = |address: &str, more: &str| {
        let text = base().replace("0.0.0.0:21", address).replace(RANGE, &with(more));
        let warnings = compiled(&text).warnings;
        warnings.problems().iter().map(|it| it.message.clone()).collect::<Vec<_>>()
    };
    for (address, more, own) in [
        ("127.0.0.1:21", "listen: 127.0.0.2", "127.0.0.1"),
        ("127.0.0.1:21", "listen: 127.0.0.2\n    advertise: [{ port_offset: 1 }]", "127.0.0.1"),
        ("192.0.2.1:21", "listen: [192.0.2.2, \"::\"]", "192.0.2.1"),
        ("[2001:db8::1]:21", "listen: 0.0.0.0", "2001:db8::1"),
        ("[::]:21", "listen: 0.0.0.0", "any address (::)"),
        ("0.0.0.0:21", "listen: 192.0.2.2", "any address (0.0.0.0)"),
    ] {
        let output = output(address, more);
        assert_eq!(output.len(), 1, "{address} {more}: {output:?}");
        let message = "clients of listener \"public\" ";
        assert!(output[0].starts_with(message) && output[0].contains(&format!("connect to {own}")));
        assert!(output[0].contains("`advertise`"), "{output:?}");
    }
    for (address, more) in [
        ("127.0.0.1:21", "listen: [127.0.0.2, 127.0.0.1]"),
        ("127.0.0.1:21", "wait: 1s"),
        ("[2001:db8::1]:21", "wait: 1s"),
        ("[::]:21", "wait: 1s"),
        ("0.0.0.0:21", "listen: 192.0.2.2\n    advertise: [{ address: 192.0.2.2 }]"),
        ("192.0.2.1:21", "listen: 192.0.2.2\n    advertise: [{ address: 192.0.2.2 }]"),
        (
            "192.0.2.1:21",
            "listen: 192.0.2.2\n    proxy_protocol: 198.51.100.1\n    advertise: [{ port_offset: 1 }]",
        ),
    ] {
        assert_eq!(output(address, more), [""; 0], "{address} {more}");
    }
}

#[test]
fn a_pool_listens_at_its_listeners_addresses_by_default() {
    let listen = |text: &str| {
        let compiled = compiled(text);
        let addresses = compiled.pools[0].listen.iter().map(ToString::to_string);
        addresses.collect::<Vec<_>>().join(" ")
    };
    let second = "  second: { protocol: ftp, address: SECOND, data_ports: pool }\ndata_ports:\n";
    for (first, other, expected) in [
        ("0.0.0.0:21", None, "0.0.0.0"),
        ("192.0.2.1:21", None, "192.0.2.1"),
        ("[2001:db8::1]:21", None, "2001:db8::1"),
        ("192.0.2.1:21", Some("[192.0.2.1:990, \"[::]:990\"]"), "192.0.2.1 ::"),
        ("192.0.2.1:21", Some("192.0.2.2:990"), "192.0.2.1 192.0.2.2"),
        ("192.0.2.1:21", Some("\"0.0.0.0:990\""), "0.0.0.0"),
        ("[2001:db8::1]:21", Some("[\"[::]:990\", 127.0.0.1:990]"), "127.0.0.1 ::"),
    ] {
        let mut text = base().replace("0.0.0.0:21", first);
        if let Some(other) = other {
            text = text.replace("data_ports:\n", &second.replace("SECOND", other));
        }
        assert_eq!(listen(&text), expected, "{first} {other:?}");
        let explicit = text.replace(RANGE, &with("listen: 198.51.100.1"));
        assert_eq!(listen(&explicit), "198.51.100.1");
    }
    // A server that uses the pool, too, may connect to any address of the gateway.
    let active = "    address: 10.1.2.3\n    data_mode: active\n    data_ports: pool\n";
    let text = base().replace("    address: 10.1.2.3\n", active);
    assert_eq!(listen(&text.replace("0.0.0.0:21", "192.0.2.1:21")), "0.0.0.0");
    assert_eq!(listen(&text.replace("0.0.0.0:21", "[::]:21")), "0.0.0.0 ::");
    // An unused pool.
    assert_eq!(listen(&base().replace("pool:\n", "alone: { range: 1-9 }\n  pool:\n")), "0.0.0.0");
}

#[test]
fn advertising_an_address_while_listening_on_the_loopback_is_a_warning() {
    let advertise = with("advertise: [{ address: 203.0.113.7 }]");
    let text = base().replace("0.0.0.0:21", "127.0.0.1:21").replace(RANGE, &advertise);
    let output = compiled(&text).warnings.to_string();
    assert!(
        output.contains(
            "203.0.113.7 is advertised to clients, but the data ports listen on the loopback"
        ),
        "{output}"
    );
    let proxied = text.replace("advertise:", "proxy_protocol: 127.0.0.1\n    advertise:");
    assert!(!compiled(&proxied).warnings.to_string().contains("loopback"));
}

#[test]
fn loopback_and_ephemeral_ports_are_warnings() {
    let output = warnings("listen: [127.0.0.1, 127.0.0.2]");
    assert!(
        output[0].contains("listener \"public\" is not: its clients cannot reach"),
        "{output:?}"
    );
    let folder = folder();
    let kernel = |reserved| Machine { ephemeral: Some(32768..=60999), reserved, ..MACHINE };
    let path = folder.path().join("lockgate.yaml");
    fs::write(&path, base()).unwrap();
    let report = load_file(&path, &kernel(vec![50000..=50049])).ok().unwrap().warnings.to_string();
    let message = "9:12: warning: data_ports.pool.range: this machine's kernel uses the ports 32768 to \
                   60999 for outgoing connections; while one uses port 50050, the gateway cannot start; \
                   reserve them with `sysctl -w net.ipv4.ip_local_reserved_ports=50000-50099`";
    assert!(report.contains(message), "{report}");
    let reserved = load_file(&path, &kernel(vec![50000..=50099])).ok().unwrap();
    assert!(reserved.warnings.is_empty());
}

#[test]
fn a_slice_is_selected_by_its_index() {
    let slice = |of: &str, env: &str| with(&format!("slice: {{ of: {of}, index_env: {env} }}"));
    let ports = |text: &str| match &compiled(text).pools[0].ports {
        Ports::Range(range) => range.clone(),
        Ports::Ephemeral(_) => panic!(),
    };
    assert_eq!(ports(&base().replace(RANGE, &slice("3", "LOCKGATE_REPLICA"))), 50067..=50099);
    assert_eq!(ports(&base().replace(RANGE, &slice("8", "LOCKGATE_REPLICA"))), 50026..=50038);
    one(RANGE, &slice("0", "X"), "10:18", "must be at least 1");
    one(
        RANGE,
        &slice("101", "X"),
        "10:18",
        "divides 100 ports into 101 slices: some would have none",
    );
    one(RANGE, &with("slice: { of: 2 }"), "10:5: data_ports.pool.slice.index_env", "is missing");
    one(
        RANGE,
        &slice("2", "LOCKGATE_REPLICA"),
        "10:32",
        "LOCKGATE_REPLICA is \"lockgate-2\", which is slice 2; `of: 2` has slices 0 to 1",
    );
    one(
        RANGE,
        &slice("2", "A_WORD"),
        "10:32",
        "A_WORD is \"one\", which is neither a number from 0 nor a name that ends in -N",
    );
    one(RANGE, &slice("2", "NOT_SET"), "10:32", "the environment variable NOT_SET is not set: it");
}

/// The machine where a configuration is written is not a replica.
#[test]
fn a_check_without_the_index_variable_is_a_warning() {
    let folder = folder();
    let path = folder.path().join("lockgate.yaml");
    let text = |env: &str| {
        apart(&base()).replace(RANGE, &with(&format!("slice: {{ of: 2, index_env: {env} }}")))
    };
    let elsewhere = check_only();
    fs::write(&path, text("NOT_SET")).unwrap();
    let output = load_file(&path, &elsewhere).ok().unwrap().warnings.to_string();
    let message = "warning: data_ports.pool.slice.index_env: the environment variable NOT_SET is not set \
                 here; `run` needs it";
    assert!(output.contains(message) && output.ends_with("1 warning"), "{output}");
    // If it is set it must be valid.
    fs::write(&path, text("A_WORD")).unwrap();
    assert!(load_file(&path, &elsewhere).is_err());
}

#[test]
fn each_replica_advertises_its_own_address() {
    let slice = "\n    slice: { of: 12, index_env: LOCKGATE_REPLICA }";
    let entry = |keys: &str| with(&format!("advertise: [{{ {keys} }}]{slice}"));
    for (keys, expected) in [
        (r#"address: "data-{index}.example.com""#, Host::Name("data-2.example.com".into())),
        (r#"address: "{index}.{index}.example.com""#, Host::Name("2.2.example.com".into())),
        (r#"address: "192.0.2.1{index}""#, Host::Ip("192.0.2.12".parse().unwrap())),
        (r#"address: "2001:db8::{index}""#, Host::Ip("2001:db8::2".parse().unwrap())),
        ("address_env: HOST_IP", Host::Ip("192.0.2.44".parse().unwrap())),
        ("address_env: A_WORD", Host::Name("one".into())),
    ] {
        let text = base().replace("0.0.0.0:21", "[::]:21").replace(RANGE, &entry(keys));
        assert_eq!(compiled(&text).pools[0].advertise[0].address, Some(expected), "{keys}");
    }
    for (keys, position, message) in [
        (r#"address: "data-{}.example.com""#, "10:", "is neither an IP address nor a host name"),
        (
            r#"address: "data {index}""#,
            "10:",
            "is neither an IP address nor a host name with `{index}`",
        ),
        // Of the last replica, which is not this one.
        (r#"address: "192.0.2.25{index}""#, "10:", "for the replica with index 11: "),
        ("address: 192.0.2.1, address_env: HOST_IP", "10:", "`address` is set, too"),
        (
            "address_env: NOT_SET",
            "10:",
            "the environment variable NOT_SET is not set: it has the address for PASV replies",
        ),
        (
            "address_env: TWO_ADDRESSES",
            "10:",
            "TWO_ADDRESSES is \"192.0.2.44,2001:db8::44\", which is neither an IP address",
        ),
        ("address_env: EVERY_ADDRESS", "10:", "no client can connect to 0.0.0.0"),
    ] {
        one(RANGE, &entry(keys), position, message);
    }
    let alone = with(r#"advertise: [{ address: "data-{index}.example.com" }]"#);
    one(RANGE, &alone, "10:", "`{index}` is the index of the replica's slice, but the pool has no");
}

/// Only the replica knows its address: neither a missing variable nor the order of entries is a mistake.
#[test]
fn a_check_elsewhere_does_not_need_the_replicas_address() {
    let folder = folder();
    let path = folder.path().join("lockgate.yaml");
    let slice = "slice: { of: 2, index_env: NOT_SET }";
    for (address, expected) in [
        (
            r#"address: "data-{index}.example.com""#,
            vec!["NOT_SET is not set here; `run` needs it to"],
        ),
        (
            "address_env: NOT_SET",
            vec![
                "NOT_SET is not set here; `run` needs it for PASV replies",
                "NOT_SET is not set here; `run` needs it to select",
            ],
        ),
    ] {
        let more = format!("advertise: [{{ {address} }}, {{ address: 192.0.2.1 }}]\n    {slice}");
        fs::write(&path, apart(&base()).replace(RANGE, &with(&more))).unwrap();
        let warnings = load_file(&path, &check_only()).ok().unwrap().warnings;
        let problems = warnings.problems();
        assert_eq!(problems.len(), expected.len(), "{warnings}");
        for (problem, message) in problems.iter().zip(expected) {
            assert!(problem.message.contains(message), "{warnings}");
        }
    }
    // A pool with such an address is reachable, whatever it listens on.
    let more = "listen: 192.0.2.2\n    advertise: [{ address_env: HOST_IP }]";
    assert_eq!(warnings(more), [""; 0]);
}

#[test]
fn invalid_source_ports_are_errors() {
    let data = "    data_ports: pool\n";
    let active = |keys: &str| format!("{data}    active: {{ {keys} }}\n");
    let taken =
        |line: &str| format!("{line} is among them: no connection can be opened from a port that");
    for (keys, message) in [
        ("allowed: true, source_ports: 0", "is not a range of ports".to_owned()),
        ("allowed: false, source_ports: 20", "has no effect with `allowed: false`".into()),
        ("allowed: true, source_ports: 20-21", taken("0.0.0.0:21 of listeners.public (line 4)")),
        (
            "allowed: true, source_ports: 50099-50100",
            taken("0.0.0.0:50000-50099 of data_ports.pool (line 10)"),
        ),
    ] {
        one(data, &active(keys), "7:", &message);
    }
    compiled(&base().replace(data, &active("allowed: true, source_ports: 20000-20009")));
}

#[test]
fn data_ports_of_a_backend_require_active_mode() {
    let address = "    address: 10.1.2.3\n";
    let keys = |keys: &str| format!("{address}    {keys}\n");
    let mode = "data_mode: active\n    data_ports";
    one(address, &keys("data_mode: active"), "11:3: backends.server.data_ports", "is missing: ");
    one(address, &keys("data_ports: pool"), "14:17", "has no effect without `data_mode: active`");
    let passive = keys("data_mode: passive\n    data_ports: pool");
    one(address, &passive, "15:17", "has no effect without `data_mode: active`");
    one(address, &keys(&format!("{mode}: pol")), "15:17", r#"did you mean "pool"?"#);
    one(
        "    folder: files\n",
        "    folder: files\n    data_ports: pool\n",
        "18:17",
        "belongs to `protocol: ftp`",
    );
    let text = base().replace(address, &keys(&format!("{mode}: pool")));
    assert!(compiled(&text).warnings.is_empty());
    let output = report(
        &text
            .replace(RANGE, &with("client_match: session"))
            .replace("key: tls.key }", "key: tls.key, data_sessions: resumed }"),
    );
    assert!(output.contains("backend \"server\" uses the pool, too"), "{output}");
    // In a pool for servers only a private address is no mistake.
    let own = "  own:\n    range: 20000-20009\n    advertise: [{ address: 10.0.0.5 }]\nbackends:";
    let text = base().replace(address, &keys(&format!("{mode}: own"))).replace("backends:", own);
    let warnings = compiled(&text).warnings;
    assert!(warnings.is_empty(), "{warnings}");
    let unused = compiled(&base().replace("backends:", "  b: { range: 1-9 }\nbackends:")).warnings;
    assert!(unused.to_string().contains("is used by no listener and no backend"), "{unused}");
}
