//! The operators' address: who is let in, and who is not.

mod client;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::client::{Response, ask, exchange, request, tls};
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::pki::pki;
use crate::support::raw::{Raw, dial};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TOKEN: &str = "b6f1ff0d3cc94f8f9e27b6d4a6b1b9d0c0ffee00";
const TIMEOUT: Duration = Duration::from_secs(15);
const SAFE: &str = "X-Lockgate: 1\r\n";

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn config(admin: &str) -> String {
    let pool = ports::block(4);
    format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: . }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         policy:\n  rules:\n    - {{ name: no-secrets, match: {{ paths: [\"/secret/**\"] }}, deny: all }}\n    \
         - {{ name: rest, allow: all }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n\
         admin: {{ socket: admin.sock, token_file: token, {admin} }}\n",
        pool.start(),
        pool.end(),
        argon2_hash(),
    )
}

fn write_private(path: &Path, text: &str) {
    // Beside it, then in its place: a change is seen once.
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("writing a file");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    std::fs::rename(&new, path).expect("a rename");
}

fn start(admin: &str) -> Gateway {
    let prepare = |folder: &Path| {
        write_private(&folder.join("token"), &format!("{TOKEN}\n"));
        let copy = |name: &str, from: &Path| {
            write_private(&folder.join(name), &std::fs::read_to_string(from).expect("a PEM file"));
        };
        copy("tls.crt", &pki().certificate);
        copy("tls.key", &pki().key);
    };
    Gateway::start_with(Command::new(PROGRAM), &config(admin), prepare, &[])
}

fn in_clear() -> (Gateway, SocketAddr) {
    let gateway = start("address: \"127.0.0.1:0\", hosts: admin.example.com");
    let address = gateway.address("admin");
    (gateway, address)
}

fn over_socket(gateway: &Gateway, line: &str) -> Response {
    let socket = UnixStream::connect(gateway.folder().join("admin.sock")).expect("the socket");
    exchange(socket, &request(line, "lockgate", ""))
}

#[test]
fn only_who_shows_the_token_is_let_in() {
    let (gateway, address) = in_clear();
    for line in
        ["GET /status", "HEAD /status", "GET /configuration", "GET /nothing", "POST /reload"]
    {
        let response = ask(address, line, SAFE);
        assert_eq!(response.status, 401, "{line}: {response:?}");
        assert_eq!(response.field("www-authenticate"), Some("Bearer realm=\"lockgate\""));
    }
    for wrong in [
        format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        "Authorization: Bearer \r\n".to_owned(),
        format!("{}{}", bearer(), bearer()),
    ] {
        let response = ask(address, "GET /status", &wrong);
        assert_eq!(response.status, 401, "{wrong}: {response:?}");
    }
    let warned = gateway.await_log(
        |event| event["message"] == "a wrong token was shown at the admin address",
        TIMEOUT,
    );
    assert_eq!(warned["client"], "127.0.0.1");
    let response = ask(address, "GET /status", &bearer());
    assert_eq!((response.status, response.json()["bans"].as_u64()), (200, Some(0)), "{response:?}");
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert_eq!(response.field("access-control-allow-origin"), None);
    // The token belongs in a field.
    for url in [format!("/status?token={TOKEN}"), format!("/?access_token={TOKEN}")] {
        let response = ask(address, &format!("GET {url}"), &bearer());
        assert!(response.status == 400 && response.error().contains("URL"), "{response:?}");
    }
    let token_refusals = gateway.metric("lockgate_admin_requests_refused_total{reason=\"token\"}");
    assert_eq!(token_refusals, Some(5));
    let missing = gateway.metric("lockgate_admin_requests_refused_total{reason=\"missing\"}");
    assert_eq!(missing, Some(5));
    assert!(!gateway.log_tail(10_000).contains(&TOKEN[1..]), "the log has the token");
}

/// Whoever shows the right one is let in all the same.
#[test]
fn wrong_tokens_are_slowed_and_do_not_fill_the_log() {
    let (gateway, address) = in_clear();
    let mut statuses = Vec::new();
    for guess in 0..60 {
        let guess = format!("Authorization: Bearer {guess:040}\r\n");
        statuses.push(ask(address, "GET /status", &guess).status);
    }
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert!(slowed >= 30 && statuses[0] == 401, "{statuses:?}");
    let response = ask(address, "GET /status", &bearer());
    assert_eq!(response.status, 200, "{response:?}");
    let log = gateway.log_tail(10_000);
    assert!(log.matches("a wrong token").count() <= 60 - slowed, "{log}");
}

#[test]
fn requests_for_other_hosts_and_from_other_origins_are_refused() {
    let (gateway, address) = in_clear();
    let port = address.port();
    let ask_as = |line: &str, host: &str, fields: &str| {
        exchange(dial(address), &request(line, host, &format!("{}{fields}", bearer())))
    };
    for host in ["127.0.0.1", "[::1]:1", "localhost", "admin.example.com:443"] {
        assert_eq!(ask_as("GET /status", host, "").status, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "192.0.2.1", "x@localhost", "", "a b"] {
        let response = ask_as("GET /status", host, "");
        assert!(matches!(response.status, 400 | 421), "{host}: {response:?}");
        assert_ne!(ask_as("GET /", host, "").status, 200, "{host}: the page");
    }
    let own = format!("localhost:{port}");
    for (fields, expected) in [
        ("", 403),
        (SAFE, 200),
        ("x-LOCKGATE: 1\r\n", 200),
        ("X-Lockgate: yes\r\n", 403),
        (&*format!("{SAFE}Origin: http://{own}\r\n"), 200),
        (&*format!("{SAFE}Origin: http://evil.example\r\n"), 403),
        (&*format!("{SAFE}Origin: null\r\n"), 403),
        (&*format!("{SAFE}Origin: http://localhost:1\r\n"), 403),
        (&*format!("{SAFE}Sec-Fetch-Site: cross-site\r\n"), 403),
        (&*format!("{SAFE}Sec-Fetch-Site: same-site\r\n"), 403),
        (&*format!("{SAFE}Sec-Fetch-Site: same-origin\r\n"), 200),
    ] {
        let response = ask_as("POST /bans/lift?address=192.0.2.1", &own, fields);
        assert_eq!(response.status, expected, "{fields}: {response:?}");
    }
    // Nobody allows a page of another origin to send the field.
    let preflight = ask_as("OPTIONS /reload", &own, "Origin: http://evil.example\r\n");
    assert_eq!(preflight.status, 403);
    assert!(!preflight.head.to_lowercase().contains("access-control"), "{preflight:?}");
    assert!(gateway.metric("lockgate_admin_requests_refused_total{reason=\"origin\"}") >= Some(6));
}

#[test]
fn a_browser_gets_a_cookie_for_the_token_and_gives_it_up() {
    let (_gateway, address) = in_clear();
    let page = ask(address, "GET /", "");
    assert_eq!(page.status, 200);
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));

    assert_eq!(ask(address, "POST /login", SAFE).status, 401);
    assert_eq!(ask(address, "POST /login", &bearer()).status, 403);
    assert_eq!(ask(address, "GET /login", &bearer()).status, 404);
    let login = ask(address, "POST /login", &format!("{SAFE}{}", bearer()));
    assert_eq!((login.status, &*login.body), (204, ""), "{login:?}");
    let set = login.field("set-cookie").expect("a cookie");
    assert!(set.contains("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains(TOKEN) && !set.contains("Secure"), "{set}");
    let cookie = set.split(';').next().expect("a cookie");
    assert!(cookie.starts_with(&format!("lockgate-{}=", address.port())), "{cookie}");
    let with = |cookie: &str| format!("Cookie: other=1; {cookie}\r\n");
    assert_eq!(ask(address, "GET /status", &with(cookie)).status, 200);
    // A cookie alone changes nothing.
    assert_eq!(ask(address, "POST /reload", &with(cookie)).status, 403);
    // It cannot be exchanged for another.
    assert_eq!(ask(address, "POST /login", &format!("{SAFE}{}", with(cookie))).status, 401);
    for wrong in [
        &cookie[..cookie.len() - 1],
        &*format!("{cookie}A"),
        &*cookie.replacen("lockgate", "locknot", 1),
        "lockgate=",
        &*format!("lockgate-{}={TOKEN}", address.port()),
    ] {
        assert_eq!(ask(address, "GET /status", &with(wrong)).status, 401, "{wrong}");
    }
    let second = ask(address, "POST /login", &format!("{SAFE}{}", bearer()));
    let second = second.field("set-cookie").and_then(|set| set.split(';').next()).expect("one");
    let logout = ask(address, "POST /logout", &format!("{SAFE}{}", with(cookie)));
    let set = logout.field("set-cookie").expect("a cookie");
    assert!(logout.status == 204 && set.contains("=; ") && set.contains("Max-Age=0"), "{set}");
    assert_eq!(
        ask(address, "GET /status", &with(cookie)).status,
        401,
        "a copy outlives the logout"
    );
    assert_eq!(ask(address, "GET /status", &with(second)).status, 200, "another browser's");
    // Nobody needs one to give it up.
    assert_eq!(ask(address, "POST /logout", SAFE).status, 204);
}

#[test]
fn requests_that_break_rules_get_no_further() {
    let (_gateway, address) = in_clear();
    let host = format!("Host: {address}\r\n");
    let send = |text: &str| exchange(dial(address), text.as_bytes());
    let ok = format!("GET /status HTTP/1.1\r\n{host}{}\r\n", bearer());
    // One response for a connection, whatever follows.
    let pipelined = send(&ok.repeat(5));
    assert_eq!((pipelined.status, pipelined.body.matches("HTTP/1.1").count()), (200, 0));
    // HTTP/1.0 without Host, and with it.
    let old = format!("GET /status HTTP/1.0\r\n{}", bearer());
    assert_eq!(send(&format!("{old}\r\n")).status, 421);
    assert_eq!(send(&format!("{old}{host}\r\n")).status, 200);
    // Two hosts; a URI that names another.
    let two = format!("GET /status HTTP/1.1\r\n{host}Host: localhost\r\n{}\r\n", bearer());
    assert!(matches!(send(&two).status, 400 | 421));
    let foreign = format!("GET http://evil.example/status HTTP/1.1\r\n{host}{}\r\n", bearer());
    assert_eq!(send(&foreign).status, 421);
    // A long header, a long URI, and bodies.
    let long = "x".repeat(20_000);
    let header = send(&format!("GET /status HTTP/1.1\r\n{host}X: {long}\r\n\r\n"));
    assert!(matches!(header.status, 431 | 0), "{header:?}");
    let uri = send(&format!("GET /{long} HTTP/1.1\r\n{host}\r\n"));
    assert!(matches!(uri.status, 414 | 431 | 0), "{uri:?}");
    for body in ["Content-Length: 99999999999\r\n", "Transfer-Encoding: chunked\r\n"] {
        let request = format!("POST /reload HTTP/1.1\r\n{host}{SAFE}{}{body}\r\n", bearer());
        let response = send(&request);
        assert_eq!(response.status, 413, "{body}");
        assert_eq!(response.error(), "a request has no body here");
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    }
    // Paths that are no routes.
    for path in [
        "//status",
        "/status/",
        "/./status",
        "/x/../status",
        "/%73tatus",
        "/status%00",
        "/etc/passwd",
    ] {
        let response = ask(address, &format!("GET {path}"), &bearer());
        assert!(matches!(response.status, 400 | 404), "{path}: {response:?}");
    }
    // Methods.
    for (line, status) in [
        ("DELETE /sessions", 405),
        ("CONNECT localhost:1", 405),
        ("POST /status", 405),
        ("GET /reload", 405),
        ("GET /sessions/kick?id=1", 405),
    ] {
        let response = ask(address, line, &format!("{SAFE}{}", bearer()));
        assert!(response.status == status || line.starts_with("CONNECT"), "{line}: {response:?}");
    }
    // They get no further than others.
    for method in ["OPTIONS", "TRACE", "PUT"] {
        let without_token = ask(address, &format!("{method} /status"), "");
        assert_eq!(without_token.status, 401, "{method}: {without_token:?}");
        for (path, allowed) in
            [("/status", "GET, HEAD"), ("/reload", "POST"), ("/drain", "GET, HEAD, POST")]
        {
            let response = ask(address, &format!("{method} {path}"), &bearer());
            assert_eq!(response.status, 405, "{method} {path}: {response:?}");
            assert_eq!(response.field("allow"), Some(allowed), "{method} {path}");
            assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
            assert!(response.error().contains("use "), "{method} {path}");
        }
    }
    assert_eq!(send("\x16\x03\x01 no HTTP\r\n\r\n").status, 400);
    assert_eq!(send(&ok).status, 200);
}

#[test]
fn slow_clients_and_floods_keep_nobody_out() {
    let (_gateway, address) = in_clear();
    let started = Instant::now();
    let mut silent: Vec<_> = (0..200).map(|_| dial(address)).collect();
    for stream in &mut silent {
        let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: ");
    }
    assert_eq!(ask(address, "GET /status", &bearer()).status, 200);
    for stream in &mut silent {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
}

#[test]
fn errors_have_a_status_and_a_reason_on_the_socket_too() {
    let (gateway, address) = in_clear();
    for (line, status, reason) in [
        ("GET /nothing", 404, "there is no /nothing; available are /backends, "),
        ("POST /nothing", 404, "there is no /nothing"),
        ("GET /sessions?id=77", 404, "no open session 77"),
        ("GET /sessions?id=x", 400, "`id` is not a number"),
        ("GET /explain?user=a&nonsense=b", 400, ""),
        ("GET /sessions?after_transfers=true", 400, "unknown parameter `after_transfers`"),
        ("POST /sessions/kick", 400, "is missing"),
        ("POST /sessions/kick?after_transfers=true", 400, "`id`, `user`, "),
        ("POST /sessions/kick?user=a&backend=b", 400, "only one of `id`"),
        ("POST /sessions/kick?id=77", 404, "no open session 77"),
        ("POST /bans/lift?address=x", 400, "not an IP address"),
        ("POST /backends/drain", 400, "`server` is missing"),
        ("POST /backends/drain?server=x%1b", 404, "no server \"x\\u{1b}\"; known are: files"),
        ("POST /status", 405, "use GET"),
        ("GET /reload", 405, "use POST"),
    ] {
        let by_socket = over_socket(&gateway, line);
        let by_address = ask(address, line, &format!("{SAFE}{}", bearer()));
        for response in [by_socket, by_address] {
            assert_eq!(response.status, status, "{line}: {response:?}");
            let error = response.error();
            assert!(!error.is_empty() && error.contains(reason), "{line}: {error}");
        }
    }
    // A configuration that is not valid; the one before stays.
    let file = gateway.folder().join("lockgate.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace("listeners:", "listners:")).expect("writing it");
    let response = over_socket(&gateway, "POST /reload");
    assert_eq!(response.status, 422, "{response:?}");
    let problems = response.json()["problems"].as_str().unwrap_or_default().to_owned();
    assert!(problems.contains("did you mean \"listeners\""), "{problems}");
    std::fs::write(&file, text).expect("writing it");
    assert_eq!(over_socket(&gateway, "POST /reload").status, 200);
}

#[test]
fn under_tls_a_renewed_certificate_and_token_are_in_force_without_a_restart() {
    let admin = "address: \"127.0.0.1:0\", certificate: tls.crt, key: tls.key";
    let gateway = start(admin);
    let address = gateway.address("admin");
    // Nothing in clear.
    assert_eq!(ask(address, "GET /", "").status, 0);
    let mut stream = tls(address);
    let host = format!("localhost:{}", address.port());
    let login =
        exchange(&mut stream, &request("POST /login", &host, &format!("{SAFE}{}", bearer())));
    let set = login.field("set-cookie").expect("a cookie").to_owned();
    assert!(set.starts_with(&format!("__Host-lockgate-{}=", address.port())), "{set}");
    assert!(set.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{set}");
    let cookie = format!("Cookie: {}\r\n", set.split(';').next().expect("a cookie"));
    let status =
        |fields: &str| exchange(tls(address), &request("GET /status", &host, fields)).status;
    assert_eq!((status(&cookie), status("")), (200, 401));
    let foreign = format!("{SAFE}{cookie}Origin: http://{host}\r\n");
    let posted = exchange(tls(address), &request("POST /reload", &host, &foreign));
    assert_eq!(posted.status, 403, "a page in clear is of another origin: {posted:?}");

    let shown = || {
        let mut stream = tls(address);
        let _ = exchange(&mut stream, &request("GET /", &host, ""));
        stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let before = shown();
    let (certificate, key) = pki().renewed();
    write_private(&gateway.folder().join("tls.key"), &key);
    write_private(&gateway.folder().join("tls.crt"), &certificate);
    assert!(becomes_true(|| shown() != before), "the certificate before is shown");
    assert_eq!(status(&cookie), 200);

    let other = "another-token-of-more-than-32-characters";
    write_private(&gateway.folder().join("token"), other);
    assert!(becomes_true(|| status(&bearer()) == 401), "the token before is accepted");
    assert_eq!(status(&cookie), 401, "a cookie for the token before is accepted");
    let authorized = format!("Authorization: Bearer {other}\r\n");
    assert_eq!(status(&authorized), 200);

    // The next address is in clear: the one that is bound is not.
    let file = gateway.folder().join("lockgate.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace(admin, "address: \"127.0.0.2:0\"")).expect("writing it");
    assert_eq!(over_socket(&gateway, "POST /reload").status, 200);
    let configuration =
        exchange(tls(address), &request("GET /configuration", &host, &authorized)).json();
    assert_eq!(configuration["needs_restart"], serde_json::json!(["admin.address"]));
    assert_eq!(ask(address, "GET /", "").status, 0);
}

#[test]
fn without_tls_or_token_an_address_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write_private(&folder.path().join("token"), TOKEN);
    let file = folder.path().join("lockgate.yaml");
    for (admin, reason) in [
        ("address: \"0.0.0.0:0\"", "can be reached from other machines"),
        ("address: \"[::]:0\"", "can be reached from other machines"),
        ("address: \"127.0.0.1:0\", hosts: []", "empty list"),
    ] {
        std::fs::write(&file, config(admin)).expect("writing it");
        let output = lockgate(&["check", "-c", file.to_str().expect("a path")], "");
        assert!(!output.ok() && output.describe().contains(reason), "{}", output.describe());
    }
}

#[test]
fn what_failed_and_what_moved_is_shown_without_secrets() {
    let (gateway, address) = in_clear();
    let get = |path: &str| ask(address, &format!("GET {path}"), &bearer()).json();
    let (mut client, _) = Raw::connect(gateway.address("front"));
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    assert_eq!(client.upload("STOR fine", &[1; 5000]).code, 226);
    client.expect("DELE secret/<img src=x>\u{1b}[2J", 550);
    client.expect("DELE missing", 550);
    let (mut other, _) = Raw::connect(gateway.address("front"));
    other.expect("USER mallory", 331);
    other.expect("PASS hunter2-hunter2", 530);

    let failures = get("/failures");
    let of = |operation: &str| -> Value {
        let all = failures["failures"].as_array().expect("a list");
        all.iter().find(|it| it["operation"] == operation).cloned().unwrap_or_default()
    };
    let login = of("login");
    assert_eq!((&login["user"], &login["outcome"]), (&"mallory".into(), &"refused".into()));
    let denied = failures["failures"].as_array().expect("a list");
    // A rule that allows has no part in a failure.
    assert!(denied.iter().all(|it| it["fault"] == "policy" || it["rule"].is_null()), "{denied:#?}");
    let denied = denied.iter().find(|it| it["fault"] == "policy").expect("a denial");
    assert_eq!(denied["rule"], "no-secrets", "{denied:#}");
    assert_eq!(denied["path"], "/secret/<img src=x>\\u{1b}[2J", "{denied:#}");
    assert_eq!(denied["user"], USER);

    // The second in which the file moved is over soon.
    let uploaded = || {
        let throughput = get("/throughput");
        let seconds = throughput["upload"].as_array().expect("a list").clone();
        assert_eq!(throughput["download"].as_array().map(Vec::len), Some(seconds.len()));
        seconds.iter().filter_map(Value::as_u64).sum::<u64>()
    };
    assert!(becomes_true(|| uploaded() >= 4000), "{}", uploaded());
    let configuration = get("/configuration");
    assert_eq!(configuration["configuration"]["users"][USER]["password_hash"], "(secret)");
    assert_eq!(configuration["configuration"]["admin"]["token_file"], "token");
    assert_eq!(configuration["needs_restart"], serde_json::json!([]));
    let everything: String = ["/status", "/sessions", "/transfers", "/failures", "/configuration"]
        .map(|path| get(path).to_string())
        .concat();
    for secret in [argon2_hash(), TOKEN.to_owned(), "hunter2".to_owned(), PASSWORD.to_owned()] {
        assert!(!everything.contains(&secret), "{secret}");
    }
    // Each field is in docs/admin-api.md, or in the page that it names.
    let docs = ["admin-api", "sessions", "expected-files", "audit", "configuration"];
    let docs = docs.map(|name| format!("{}/docs/{name}.md", env!("CARGO_MANIFEST_DIR")));
    let docs = docs.map(|file| std::fs::read_to_string(file).expect("a page")).concat();
    let mut missing = Vec::new();
    for path in [
        "/status",
        "/sessions",
        "/transfers",
        "/throughput",
        "/ports",
        "/backends",
        "/failures",
        "/bans",
        "/certificates",
        "/limits",
        "/configuration",
        "/drain",
        "/expected",
        "/overview",
    ] {
        let mut answer = get(path);
        // States, and the words of the configuration.
        if path == "/status" {
            answer["sessions"]["states"].take();
        } else if path == "/overview" {
            // The rest is compared with the other routes.
            answer["status"].take();
        } else if path == "/configuration" {
            answer["configuration"].take();
        }
        // Its own row, and what that names.
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{path}` |")));
        let row = row.expect("a row of docs/admin-api.md");
        if let Value::Object(own) = &answer
            && !row.contains("](")
        {
            let absent = own.keys().filter(|field| !row.contains(&format!("`{field}`")));
            missing.extend(absent.map(|field| format!("the row of {path}: {field}")));
        }
        let is_written = |field: &String| {
            [format!("`{field}`"), format!(".{field}`")].iter().any(|it| docs.contains(it))
        };
        let fields = fields(&answer).into_iter().filter(|field| !is_written(field));
        missing.extend(fields.map(|field| format!("{path}: {field}")));
    }
    assert!(missing.is_empty(), "docs/ lacks {missing:#?}");
}

#[test]
fn an_overview_has_what_its_routes_have() {
    let (gateway, address) = in_clear();
    let get = |path: &str| ask(address, &format!("GET {path}"), &bearer()).json();
    let (mut client, _) = Raw::connect(gateway.address("front"));
    client.login(USER, PASSWORD);
    client.expect("PASV", 227);
    client.expect("DELE secret/x", 550);
    let overview = get("/overview");
    let parts = overview.as_object().expect("an object");
    assert_eq!(parts.len(), 11, "{overview:#}");
    for (part, answer) in parts {
        // What a moment later is the same.
        let lasting = |answer: &Value| {
            let mut answer = answer.clone();
            match part.as_str() {
                "status" => {
                    answer["seconds"].take();
                }
                "sessions" => {
                    for time in ["seconds", "idle_seconds"] {
                        answer["sessions"][0][time].take();
                    }
                }
                "throughput" => return Value::from(fields(&answer)),
                _ => {}
            }
            answer
        };
        // Its ports are not one by one.
        if part != "ports" {
            assert_eq!(lasting(answer), lasting(&get(&format!("/{part}"))), "{part}");
        }
    }
    let (pool, of_route) = (&overview["ports"]["pools"][0], &get("/ports")["pools"][0]);
    let busy =
        of_route["ports"].as_array().and_then(|all| all.iter().find(|it| it["reserved"] == 1));
    assert_eq!(Some(&pool["busy"][0]), busy, "{pool:#}");
    let ports = |run: &Value| {
        run["last"].as_u64().map(|last| last + 1 - run["first"].as_u64().unwrap_or(last))
    };
    let runs = pool["runs"].as_array().expect("a list");
    assert_eq!(runs.iter().filter_map(ports).sum::<u64>(), 4, "{pool:#}");
    assert_eq!(runs.iter().filter(|run| run["reserved"] == 1).count(), 1, "{pool:#}");
    assert_eq!(overview["sessions"]["sessions"][0]["user"], USER);
    assert_eq!(overview["failures"]["failures"][0]["rule"], "no-secrets");
    assert_eq!(overview["status"]["data_ports"][0]["reserved"], 1);
    assert_eq!(over_socket(&gateway, "GET /overview").status, 200);
}

#[test]
fn only_another_address_waits_for_a_restart() {
    let (gateway, address) = in_clear();
    let file = gateway.folder().join("lockgate.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let as_host = |host: &str, token: &str| {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        exchange(dial(address), &request("GET /configuration", host, &bearer))
    };
    let reload = |text: &str| {
        std::fs::write(&file, text).expect("writing it");
        let reload = over_socket(&gateway, "POST /reload");
        assert_eq!(reload.status, 200, "{reload:?}");
    };
    let text = text.replace("hosts: admin.example.com", "hosts: [other.example.com]");
    reload(&text);
    assert_eq!(as_host("admin.example.com", TOKEN).status, 421);
    let answer = as_host("other.example.com", TOKEN);
    assert_eq!(answer.json()["needs_restart"], serde_json::json!([]));
    // Who asked is in the log.
    assert_eq!(ask(address, "POST /reload", &format!("{SAFE}{}", bearer())).status, 200);
    let logged = gateway.await_log(
        |event| event["message"] == "a change was asked for at the admin address",
        TIMEOUT,
    );
    assert_eq!((&logged["client"], &logged["path"]), (&"127.0.0.1".into(), &"/reload".into()));
    // The address waits; the token that is bound to it does not.
    let moved = text.replace("address: \"127.0.0.1:0\", hosts", "address: \"127.0.0.2:0\", hosts");
    reload(&moved);
    let answer = as_host("other.example.com", TOKEN);
    assert_eq!(answer.json()["needs_restart"], serde_json::json!(["admin.address"]));
    let other = "another-token-of-more-than-32-characters";
    write_private(&gateway.folder().join("token"), other);
    assert!(becomes_true(|| as_host("other.example.com", TOKEN).status == 401), "the old token");
    assert_eq!(as_host("other.example.com", other).status, 200);
    // Without an address in the file, the bound one is as it was.
    let removed = moved
        .replace("token_file: token, address: \"127.0.0.2:0\", hosts: [other.example.com]", "");
    assert_ne!(removed, moved);
    reload(&removed);
    assert_eq!(as_host("other.example.com", TOKEN).status, 401);
    assert_eq!(as_host("other.example.com", other).status, 200);
}

/// The names of all fields, at any depth.
fn fields(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields_of) => {
            let below = fields_of.values().flat_map(fields);
            fields_of.keys().cloned().chain(below).collect()
        }
        Value::Array(items) => items.iter().flat_map(fields).collect(),
        _ => Vec::new(),
    }
}
