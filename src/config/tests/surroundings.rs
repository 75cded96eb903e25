//! Warnings about this machine and this moment, as a machine of the test's own has them.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

use super::*;

/// The gateway is to run there.
static RUN: Surroundings = SURROUNDINGS;

/// Each warning with its place, without the lines of the file.
fn warnings_in(folder: &Path, text: &str, surroundings: &Surroundings) -> Vec<String> {
    let path = folder.join("lockgate.yaml");
    fs::write(&path, text).unwrap();
    let compiled = load_file(&path, surroundings).unwrap_or_else(|report| panic!("{report}"));
    let problems = compiled.warnings.problems().iter();
    let shown =
        problems.map(|it| format!("{}:{}: {}: {}", it.line, it.column, it.path, it.message));
    shown.map(|it| it.replace(&format!("{}/", folder.display()), "")).collect()
}

#[track_caller]
fn warnings(text: &str, surroundings: &Surroundings) -> Vec<String> {
    warnings_in(folder().path(), text, surroundings)
}

/// One warning for each: its place and words of it.
#[track_caller]
fn expect(told: Vec<String>, expected: &[(&str, &str)]) {
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (place, words)) in told.iter().zip(expected) {
        assert!(told.starts_with(place) && told.contains(words), "{place} {words}\n{told}");
    }
}

#[test]
fn what_is_well_here_is_no_warning() {
    expect(warnings(&base(), &looked_at()), &[]);
    expect(warnings(&base(), &RUN), &[]);
}

/// Puts a new certificate with these two days into a file, and its key beside it.
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
fn certificates_that_ended_or_end_soon() {
    const LONG_AGO: (i32, u8, u8) = (2026, 1, 1);
    let folder = folder();
    let told = |from, until, surroundings: &Surroundings| {
        fs::remove_file(folder.path().join("tls.crt")).unwrap();
        certify(folder.path(), "tls.crt", "Exchange", from, until);
        warnings_in(folder.path(), &base(), surroundings)
    };
    // Now is 2026-11-18.
    let place = "5:41: listeners.public.tls.certificate: tls.crt: ";
    let ended =
        "the certificate of \"CN=Exchange\" expired on 2026-11-18 (UTC), and clients refuse it";
    for surroundings in [&RUN, &looked_at()] {
        expect(told(LONG_AGO, (2026, 11, 18), surroundings), &[(place, ended)]);
    }
    let soon =
        "\"CN=Exchange\" expires on 2026-12-18 (UTC), in 29 days: put a new one there and restart";
    expect(told(LONG_AGO, (2026, 12, 18), &RUN), &[(place, soon)]);
    let tomorrow = "expires on 2026-11-20 (UTC), in 1 day:";
    expect(told(LONG_AGO, (2026, 11, 20), &RUN), &[(place, tomorrow)]);
    expect(told(LONG_AGO, (2026, 12, 19), &RUN), &[]);
    let early = "is not valid before 2026-12-01 (UTC), and clients refuse it until then";
    expect(told((2026, 12, 1), (2030, 1, 1), &RUN), &[(place, early)]);
    // What comes after the first in the file counts, too.
    fs::write(folder.path().join("tls.crt"), "").unwrap();
    certify(folder.path(), "tls.crt", "Intermediate", LONG_AGO, (2026, 11, 1));
    certify(folder.path(), "tls.crt", "Exchange", LONG_AGO, (2027, 11, 1));
    let told = warnings_in(folder.path(), &base(), &RUN);
    expect(told, &[(place, "\"CN=Intermediate\" expired on 2026-11-01")]);
}

#[test]
fn authorities_of_a_server_that_ended() {
    let folder = folder();
    certify(folder.path(), "old.crt", "Old Root", (2016, 1, 1), (2026, 11, 1));
    certify(folder.path(), "old.crt", "New Root", (2026, 1, 1), (2036, 1, 1));
    let tls = "    address: 10.1.2.3\n    tls: { mode: required, ca: old.crt }\n";
    let text = base().replace("    address: 10.1.2.3\n", tls);
    let words =
        "\"CN=Old Root\" expired on 2026-11-01 (UTC), and what it has signed may be refused";
    let place = "14:32: backends.server.tls.ca: old.crt: ";
    expect(warnings_in(folder.path(), &text, &RUN), &[(place, words)]);
}

#[test]
fn addresses_that_are_not_on_this_machine() {
    let elsewhere = Surroundings {
        place: |address| match address.ip().to_string().as_str() {
            "192.0.2.1" | "2001:db8::1" => Place::NotHere,
            _ => Place::Free,
        },
        ..looked_at()
    };
    let text = base()
        .replace("\"0.0.0.0:21\"", "[\"127.0.0.1:21\", \"192.0.2.1:21\"]")
        .replace("    range:", "    listen: [127.0.0.1, 192.0.2.1, \"2001:db8::1\"]\n    range:")
        .replace("limits:", "metrics: { address: \"192.0.2.1:9640\" }\nlimits:");
    let words = "192.0.2.1 is not an address of this machine";
    let expected = [
        ("4:31: listeners.public.address[1]: ", words),
        ("9:25: data_ports.pool.listen[1]: ", words),
        ("9:36: data_ports.pool.listen[2]: ", "2001:db8::1 is not an address of this machine"),
        ("29:21: metrics.address: ", words),
    ];
    expect(warnings(&text, &elsewhere), &expected);
    // Data ports that listen where the listener does say nothing of their own.
    let text = base().replace("0.0.0.0:21", "192.0.2.1:21");
    expect(warnings(&text, &elsewhere), &[("4:14: listeners.public.address", words)]);
}

#[test]
fn ports_in_use_are_told_in_one_warning() {
    let busy = Surroundings {
        place: |address| match address.port() {
            20 | 21 | 9640 | 50003 | 50007 => Place::Taken,
            22 => Place::Unknown,
            _ => Place::Free,
        },
        ..looked_at()
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
            "in use on this machine: 0.0.0.0:21, 2 of the ports 50000-50099, 127.0.0.1:9640. Unless the \
             gateway runs here already, it will not start: `ss -tanp 'sport = :21'` shows the program",
        ),
        ("7:44: listeners.public.active.source_ports: ", "port 20 is in use on this machine"),
    ];
    expect(warnings(&text, &busy), &expected);
    let one = base().replace("50000-50099", "50000-50003").replace("0.0.0.0:21", "0.0.0.0:22");
    let words = "in use on this machine: port 50003. Unless";
    expect(warnings(&one, &busy), &[("9:12: data_ports.pool.range: ", words)]);
}

#[test]
fn a_backend_that_is_the_gateway_itself() {
    let here = Surroundings {
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
        ..looked_at()
    };
    let running = Surroundings { is_own: here.is_own, ..SURROUNDINGS };
    let told = |listener: &str, backend: &str, surroundings| {
        let text = base()
            .replace("\"0.0.0.0:21\"", listener)
            .replace("limits:", "metrics: { address: \"127.0.0.1:9640\" }\nlimits:")
            .replace("address: 10.1.2.3\n", &format!("address: {backend}\n"));
        warnings(&text, surroundings)
    };
    let at = "13:14: backends.server.address: ";
    let listener = "is listeners.public of this gateway itself (line 2)";
    for (own, backend, words) in [
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
        for surroundings in [&here, &running] {
            expect(told(own, backend, surroundings), &[(at, words)]);
        }
    }
    // What a name leads to is only asked where somebody looks at the configuration.
    expect(
        told("\"0.0.0.0:21\"", "ftp.example.com", &here),
        &[(at, "ftp.example.com:21 is listeners.public")],
    );
    expect(told("\"0.0.0.0:21\"", "ftp.example.com", &RUN), &[]);
    for (own, backend) in [
        ("\"0.0.0.0:21\"", "10.0.0.6"),
        ("\"0.0.0.0:21\"", "127.0.0.1:2121"),
        ("\"10.0.0.5:21\"", "127.0.0.1"),
        ("\"0.0.0.0:21\"", "\"[::1]\""),
        ("\"0.0.0.0:21\"", "other.example.com"),
        ("\"127.0.0.1:0\"", "127.0.0.1:1"),
    ] {
        expect(told(own, backend, &here), &[]);
    }
    // Of a list each counts, and the port that is usual for the protocol.
    expect(told("\"0.0.0.0:990\"", "[127.0.0.1, 127.0.0.1]", &here), &[]);
    let implicit = "[10.1.2.3, 127.0.0.1]\n    tls: { mode: implicit }";
    let second = "13:25: backends.server.address[1]: ";
    expect(
        told("\"0.0.0.0:990\"", implicit, &here),
        &[(second, "127.0.0.1:990 is listeners.public")],
    );
}

#[test]
fn names_that_do_not_resolve() {
    let nameless = Surroundings {
        resolve: |names| {
            assert_eq!(names, ["known.example.com", "no.example.com"]);
            let answers = [Ok(vec!["192.0.2.1".parse().unwrap()]), Err("no such host".to_owned())];
            names.iter().cloned().zip(answers).collect()
        },
        ..looked_at()
    };
    let advertise = "    advertise: [{ clients: 10.0.0.0/8, address: known.example.com }, { address: no.example.com }]\n    range:";
    let text = base().replace("    range:", advertise).replace(
        "address: 10.1.2.3\n",
        "address: [10.1.2.3, known.example.com, \"no.example.com:2121\"]\n",
    );
    let words = "\"no.example.com\" does not resolve here (no such host): ";
    let expected = [
        (
            "9:81: data_ports.pool.advertise[1].address: ",
            "clients that are to be told it are refused PASV",
        ),
        ("14:44: backends.server.address[2]: ", words),
    ];
    expect(warnings(&text, &nameless), &expected);
    // The gateway itself looks names up when it runs.
    expect(warnings(&text, &RUN), &[]);
}

#[test]
fn more_sessions_than_descriptors() {
    let with = |descriptors| Surroundings { descriptors: Some(descriptors), ..looked_at() };
    // One listener, 100 data ports, and 64 for the process.
    let text = base().replace("sessions: 10", "sessions: 1000");
    expect(warnings(&text, &with(4165)), &[]);
    let words =
        "1000 sessions that all transfer take 4165 descriptors, and a process may have 4164 here";
    let place = "29:13: limits.sessions: ";
    expect(warnings(&text, &with(4164)), &[(place, words)]);
    expect(warnings(&text, &with(4096)), &[(place, "or allow 982 sessions")]);
    // Where nothing is said, 10000 are allowed; nobody is told of it at each start.
    let unsaid = base().replace("limits:\n  sessions: 10\n", "");
    expect(warnings(&unsaid, &with(1 << 19)), &[]);
    expect(
        warnings(&unsaid, &with(4096)),
        &[("0:0: limits.sessions: ", "10000 sessions that all")],
    );
    expect(warnings(&unsaid, &with(100)), &[("0:0: ", "a process may have 100 here")]);
    let run = Surroundings { descriptors: Some(4164), ..SURROUNDINGS };
    expect(warnings(&unsaid, &run), &[]);
    expect(warnings(&text, &run), &[(place, words)]);
}

#[test]
fn placeholders_in_paths_are_told_to_be_none() {
    let folder = folder();
    fs::create_dir(folder.path().join("{user}")).unwrap();
    fs::copy(folder.path().join("tls.crt"), folder.path().join("%u.crt")).unwrap();
    let text = base()
        .replace("backend: folder\n", "backend: folder\n    root: /home/{user}/in\n")
        .replace("address: 10.1.2.3\n", "address: 10.1.2.3\n    login_folder: /home/%u\n")
        .replace("certificate: tls.crt", "certificate: \"%u.crt\"")
        .replace("folder: files", "folder: \"{user}\"");
    let expected = [
        ("5:41: listeners.public.tls.certificate: ", "`%u` is taken literally: nothing is put"),
        ("14:19: backends.server.login_folder: ", "`%u` is taken literally: it is one folder"),
        (
            "18:13: backends.folder.folder: ",
            "`{user}` is taken literally: all users of this backend share",
        ),
        (
            "27:11: routes[0].root: ",
            "`{user}` is taken literally: all users of this route share one",
        ),
    ];
    expect(warnings_in(folder.path(), &text, &RUN), &expected);
    // Where the file is not there, it may be the reason.
    let told = report(&base().replace("folder: files", "folder: /srv/%u"));
    let words =
        "cannot open the folder /srv/%u: No such file or directory (os error 2); `%u` is taken";
    assert!(told.contains(words) && told.ends_with("\n1 problem"), "{told}");
    let keys = "authorized_keys: [alice.pub, \"~/keys\"]\n    groups:";
    let told = report(&base().replacen("groups:", keys, 1));
    assert!(
        told.contains("authorized_keys[1]: cannot read ") && told.contains("`~` is taken"),
        "{told}"
    );
}
