//! Warnings about the machine and the time, with a simulated machine.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

use super::*;

/// The gateway runs there.
static RUN: Machine = MACHINE;

/// Each warning with its position, without the lines of the file.
fn warnings_in(folder: &Path, text: &str, machine: &Machine) -> Vec<String> {
    let path = folder.join("lockgate.yaml");
    fs::write(&path, apart(text)).unwrap();
    let compiled = load_file(&path, machine).unwrap_or_else(|report| panic!("{report}"));
    let problems = compiled.warnings.problems().iter();
    let shown =
        problems.map(|it| format!("{}:{}: {}: {}", it.line, it.column, it.path, it.message));
    shown.map(|it| it.replace(&format!("{}/", folder.display()), "")).collect()
}

#[track_caller]
fn warnings(text: &str, machine: &Machine) -> Vec<String> {
    warnings_in(folder().path(), text, machine)
}

/// Expects these warnings: position and message.
#[track_caller]
fn expect(output: Vec<String>, expected: &[(&str, &str)]) {
    assert_eq!(output.len(), expected.len(), "{output:#?}");
    for (output, (position, message)) in output.iter().zip(expected) {
        assert!(
            output.starts_with(position) && output.contains(message),
            "{position} \
                                                                           {message}\n{output}"
        );
    }
}

#[test]
fn a_valid_configuration_has_no_warnings() {
    expect(warnings(&base(), &check_only()), &[]);
    expect(warnings(&base(), &RUN), &[]);
}

/// Adds a new certificate with these dates to a file, and writes its key beside it.
fn certify(folder: &Path, file: &str, subject: &str, from: (i32, u8, u8), until: (i32, u8, u8)) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["exchange.example.com".into()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    let pem = params.self_signed(&key).unwrap().pem();
    let path = folder.join(file);
    let earlier = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, format!("{pem}{earlier}")).unwrap();
    let key_file = path.with_extension("key");
    fs::write(&key_file, key.serialize_pem()).unwrap();
    mode(&key_file, 0o600);
}

#[test]
fn expired_and_expiring_certificates_are_warnings() {
    const LONG_AGO: (i32, u8, u8) = (2026, 1, 1);
    let folder = folder();
    let output = |from, until, machine: &Machine| {
        fs::remove_file(folder.path().join("tls.crt")).unwrap();
        certify(folder.path(), "tls.crt", "Exchange", from, until);
        warnings_in(folder.path(), &base(), machine)
    };
    // Now is 2026-11-18.
    let position = "5:41: listeners.public.tls.certificate: tls.crt: ";
    let ended =
        "the certificate of \"CN=Exchange\" expired on 2026-11-18 (UTC), and clients refuse it";
    for machine in [&RUN, &check_only()] {
        expect(output(LONG_AGO, (2026, 11, 18), machine), &[(position, ended)]);
    }
    let soon =
        "\"CN=Exchange\" expires on 2026-12-18 (UTC), in 29 days: replace it; a running gateway";
    expect(output(LONG_AGO, (2026, 12, 18), &RUN), &[(position, soon)]);
    let tomorrow = "expires on 2026-11-20 (UTC), in 1 day:";
    expect(output(LONG_AGO, (2026, 11, 20), &RUN), &[(position, tomorrow)]);
    expect(output(LONG_AGO, (2026, 12, 19), &RUN), &[]);
    let early = "is not valid before 2026-12-01 (UTC), and clients refuse it until then";
    expect(output((2026, 12, 1), (2030, 1, 1), &RUN), &[(position, early)]);
    // So is each of several certificates.
    certify(folder.path(), "listed.crt", "Listed", LONG_AGO, (2026, 11, 1));
    let several = "certificates: [{ certificate: second.crt, key: second.key }, { certificate: \
                   listed.crt, key: listed.key }]";
    let text = base().replace("certificate: tls.crt, key: tls.key", several);
    let expected = (
        "5:104: listeners.public.tls.certificates[1].certificate: listed.crt: ",
        "\"CN=Listed\" expired on 2026-11-01 (UTC)",
    );
    expect(warnings_in(folder.path(), &text, &RUN), &[expected]);

    // Further certificates of the file are checked, too.
    fs::write(folder.path().join("tls.crt"), "").unwrap();
    certify(folder.path(), "tls.crt", "Intermediate", LONG_AGO, (2026, 11, 1));
    certify(folder.path(), "tls.crt", "Exchange", LONG_AGO, (2027, 11, 1));
    let output = warnings_in(folder.path(), &base(), &RUN);
    expect(output, &[(position, "\"CN=Intermediate\" expired on 2026-11-01")]);
}

#[test]
fn expired_authorities_of_a_server_are_warnings() {
    let folder = folder();
    certify(folder.path(), "old.crt", "Old Root", (2016, 1, 1), (2026, 11, 1));
    certify(folder.path(), "old.crt", "New Root", (2026, 1, 1), (2036, 1, 1));
    let tls = "    address: 10.1.2.3\n    tls: { mode: required, ca: old.crt }\n";
    let text = base().replace("    address: 10.1.2.3\n", tls);
    let message =
        "\"CN=Old Root\" expired on 2026-11-01 (UTC), and certificates signed by it may be refused";
    let position = "14:32: backends.server.tls.ca: old.crt: ";
    expect(warnings_in(folder.path(), &text, &RUN), &[(position, message)]);
}

#[test]
fn addresses_of_other_machines_are_warnings() {
    let elsewhere = Machine {
        availability: |address| match address.ip().to_string().as_str() {
            "192.0.2.1" | "2001:db8::1" => Availability::NotLocal,
            _ => Availability::Free,
        },
        ..check_only()
    };
    let text = base()
        .replace("\"0.0.0.0:21\"", "[\"127.0.0.1:21\", \"192.0.2.1:21\"]")
        .replace("    range:", "    listen: [127.0.0.1, 192.0.2.1, \"2001:db8::1\"]\n    range:")
        .replace("limits:", "metrics: { address: \"192.0.2.1:9640\" }\nlimits:");
    let message = "192.0.2.1 is not an address of this machine";
    let expected = [
        ("4:31: listeners.public.address[1]: ", message),
        ("9:25: data_ports.pool.listen[1]: ", message),
        ("9:36: data_ports.pool.listen[2]: ", "2001:db8::1 is not an address of this machine"),
        ("29:21: metrics.address: ", message),
    ];
    expect(warnings(&text, &elsewhere), &expected);
    // Data ports that listen at the listener's address are not reported again.
    let text = base().replace("0.0.0.0:21", "192.0.2.1:21");
    expect(warnings(&text, &elsewhere), &[("4:14: listeners.public.address", message)]);
}

#[test]
fn ports_in_use_are_a_single_warning() {
    let busy = Machine {
        availability: |address| match address.port() {
            20 | 21 | 9640 | 50003 | 50007 => Availability::InUse,
            22 => Availability::Unknown,
            _ => Availability::Free,
        },
        ..check_only()
    };
    let text = base()
        .replace(
            "    data_ports: pool\n",
            "    data_ports: pool\n    active: { allowed: true, source_ports: 19-20 }\n",
        )
        .replace("limits:", "metrics: { address: \"127.0.0.1:9640\" }\nlimits:");
    let expected = [
        (
            "4:14: listeners.public.address: ",
            "in use on this machine: 0.0.0.0:21, 2 of the ports 50000-50099, 127.0.0.1:9640. Unless this \
             is the running gateway, it will not start: `ss -tanp 'sport = :21'` shows the program",
        ),
        ("7:44: listeners.public.active.source_ports: ", "port 20 is in use on this machine"),
    ];
    expect(warnings(&text, &busy), &expected);
    let one = base().replace("50000-50099", "50000-50003").replace("0.0.0.0:21", "0.0.0.0:22");
    let message = "in use on this machine: port 50003. Unless";
    expect(warnings(&one, &busy), &[("9:12: data_ports.pool.range: ", message)]);
}

#[test]
fn a_backend_that_is_the_gateway_itself_is_a_warning() {
    let here = Machine {
        is_own: |address| address.to_string() == "10.0.0.5",
        resolve: |names| {
            let address = |name: &str| match name {
                "ftp.example.com" => "10.0.0.5",
                "localhost" => "127.0.0.1",
                _ => "192.0.2.9",
            };
            names
                .iter()
                .map(|name| (name.clone(), Ok(vec![address(name).parse().unwrap()])))
                .collect()
        },
        ..check_only()
    };
    let running = Machine { is_own: here.is_own, ..MACHINE };
    let output = |listener: &str, backend: &str, machine| {
        let text = base()
            .replace("\"0.0.0.0:21\"", listener)
            .replace("limits:", "metrics: { address: \"127.0.0.1:9640\" }\nlimits:")
            .replace("address: 10.1.2.3\n", &format!("address: {backend}\n"));
        warnings(&text, machine)
    };
    let at = "13:14: backends.server.address: ";
    let listener = "is listeners.public of this gateway itself (line 2)";
    for (own, backend, message) in [
        ("\"0.0.0.0:21\"", "127.0.0.1", listener),
        ("\"0.0.0.0:21\"", "0.0.0.0", listener),
        ("\"0.0.0.0:21\"", "10.0.0.5", listener),
        ("\"10.0.0.5:21\"", "10.0.0.5", listener),
        ("\"192.0.2.1:2121\"", "192.0.2.1:2121", listener),
        ("\"[::]:21\"", "\"[::1]\"", listener),
        ("\"127.0.0.1:21\"", "localhost", listener),
        ("\"0.0.0.0:21\"", "127.0.0.1:50099", "is data_ports.pool of this gateway itself (line 8)"),
        ("\"0.0.0.0:21\"", "127.0.0.1:9640", "is metrics of this gateway itself (line 28)"),
    ] {
        for machine in [&here, &running] {
            expect(output(own, backend, machine), &[(at, message)]);
        }
    }
    // Names are only looked up by a check.
    expect(
        output("\"0.0.0.0:21\"", "ftp.example.com", &here),
        &[(at, "ftp.example.com:21 is listeners.public")],
    );
    expect(output("\"0.0.0.0:21\"", "ftp.example.com", &RUN), &[]);
    for (own, backend) in [
        ("\"0.0.0.0:21\"", "10.0.0.6"),
        ("\"0.0.0.0:21\"", "127.0.0.1:2121"),
        ("\"10.0.0.5:21\"", "127.0.0.1"),
        ("\"0.0.0.0:21\"", "\"[::1]\""),
        ("\"0.0.0.0:21\"", "other.example.com"),
        ("\"127.0.0.1:0\"", "127.0.0.1:1"),
    ] {
        expect(output(own, backend, &here), &[]);
    }
    // Every address of a list is checked, with the protocol's default port.
    expect(output("\"0.0.0.0:990\"", "[127.0.0.1, 127.0.0.2]", &here), &[]);
    let implicit = "[10.1.2.3, 127.0.0.1]\n    tls: { mode: implicit }";
    let second = "13:25: backends.server.address[1]: ";
    expect(
        output("\"0.0.0.0:990\"", implicit, &here),
        &[(second, "127.0.0.1:990 is listeners.public")],
    );
}

#[test]
fn names_that_do_not_resolve_are_warnings() {
    let nameless = Machine {
        resolve: |names| {
            assert_eq!(names, ["known.example.com", "no.example.com"]);
            let answers = [Ok(vec!["192.0.2.1".parse().unwrap()]), Err("no such host".to_owned())];
            names.iter().cloned().zip(answers).collect()
        },
        ..check_only()
    };
    let advertise = "    advertise: [{ clients: 10.0.0.0/8, address: known.example.com }, { address: \
                     no.example.com }]\n    range:";
    let text = base().replace("    range:", advertise).replace(
        "address: 10.1.2.3\n",
        "address: [10.1.2.3, known.example.com, \"no.example.com:2121\"]\n",
    );
    let message = "\"no.example.com\" does not resolve here (no such host): ";
    let expected = [
        (
            "9:81: data_ports.pool.advertise[1].address: ",
            "clients to which it is advertised are refused PASV",
        ),
        ("14:44: backends.server.address[2]: ", message),
    ];
    expect(warnings(&text, &nameless), &expected);
    // A running gateway looks up names itself.
    expect(warnings(&text, &RUN), &[]);
}

#[test]
fn too_few_descriptors_are_a_warning() {
    let with = |descriptors| Machine { descriptors: Some(descriptors), ..check_only() };
    // One listener, 100 data ports, and 64 for the process.
    let text = base().replace("sessions: 10", "sessions: 1000");
    expect(warnings(&text, &with(4165)), &[]);
    let message =
        "1000 sessions with transfers need 4165 file descriptors, but the limit is 4164 here";
    let position = "29:13: limits.sessions: ";
    expect(warnings(&text, &with(4164)), &[(position, message)]);
    expect(warnings(&text, &with(4096)), &[(position, "or allow 982 sessions")]);
    // The default is 10000, which a start does not warn of.
    let default = base().replace("limits:\n  sessions: 10\n", "");
    expect(warnings(&default, &with(1 << 19)), &[]);
    expect(
        warnings(&default, &with(4096)),
        &[("0:0: limits.sessions: ", "10000 sessions with transfers")],
    );
    expect(warnings(&default, &with(100)), &[("0:0: ", "the limit is 100 here")]);
    let run = Machine { descriptors: Some(4164), ..MACHINE };
    expect(warnings(&default, &run), &[]);
    expect(warnings(&text, &run), &[(position, message)]);
}

#[test]
fn a_user_whose_name_is_no_folder_is_a_warning() {
    let rooted = base().replace("backend: folder\n", "backend: folder\n    root: /p/{user}\n");
    for (name, why) in [("\"al/ice\"", "contains a slash"), ("\"..\"", "would lead to the folder")]
    {
        let text = rooted.replace("  alice:", &format!("  {name}:"));
        let message = format!(
            "this name cannot replace `{{user}}` in the `root` or `rewrite` of the user's routes: it {why}"
        );
        expect(warnings(&text, &RUN), &[("19:3: ", &message)]);
        // A route for this user.
        let own = format!(
            "routes:\n  - match: {{ users: [{name}] }}\n    authenticate: gateway\n    backend: folder\n    root: /p/own\n"
        );
        expect(warnings(&text.replace("routes:\n", &own), &RUN), &[]);
    }
}

#[test]
fn placeholders_in_paths_are_warnings() {
    let folder = folder();
    fs::create_dir(folder.path().join("{user}")).unwrap();
    fs::copy(folder.path().join("tls.crt"), folder.path().join("%u.crt")).unwrap();
    let text = base()
        .replace("backend: folder\n", "backend: folder\n    root: /home/%u/in\n")
        .replace("address: 10.1.2.3\n", "address: 10.1.2.3\n    login_folder: /home/%u\n")
        .replace("certificate: tls.crt", "certificate: \"%u.crt\"")
        .replace("folder: files", "folder: \"{user}\"");
    let expected = [
        ("5:41: listeners.public.tls.certificate: ", "`%u` is taken literally: it is not replaced"),
        ("14:19: backends.server.login_folder: ", "`%u` is taken literally: all users share"),
        (
            "18:13: backends.folder.folder: ",
            "`{user}` is taken literally: all users of this backend share",
        ),
        (
            "27:11: routes[0].root: ",
            "`%u` is taken literally: only `{user}` is replaced by the user's",
        ),
    ];
    expect(warnings_in(folder.path(), &text, &RUN), &expected);
    // In a route's root it is replaced.
    let text = base().replace("backend: folder\n", "backend: folder\n    root: /home/{user}/in\n");
    expect(warnings(&text, &RUN), &[]);
    // If the file does not exist this may be the reason.
    let output = report(&base().replace("folder: files", "folder: /srv/%u"));
    let message =
        "cannot open the folder /srv/%u: No such file or directory (os error 2); `%u` is taken";
    assert!(output.contains(message) && output.ends_with("\n1 problem"), "{output}");
    let keys = "authorized_keys: [alice.pub, \"~/keys\"]\n    groups:";
    let output = report(&base().replacen("groups:", keys, 1));
    assert!(
        output.contains("authorized_keys[1]: cannot read ") && output.contains("`~` is taken"),
        "{output}"
    );
}
