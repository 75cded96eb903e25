//! What a gateway with everything serves: the metrics of docs/metrics.md, and series for the rules from the start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::metrics::samples;
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

/// A row: the type, and the names of the labels.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

#[test]
fn every_metric_is_served_as_the_table_says_and_no_other() {
    let (_, page) = pages_of_everything();
    let (table, served) = (table(), served(page));
    let mut wrong = String::new();
    for (name, row) in &table {
        match served.get(name) {
            None => {
                let _ = writeln!(wrong, "{name} of docs/metrics.md is not served");
            }
            Some(it) if it != row => {
                let _ = writeln!(wrong, "{name} is {it:?}, in docs/metrics.md {row:?}");
            }
            Some(_) => {}
        }
    }
    for name in served.keys().filter(|name| !table.contains_key(*name)) {
        let _ = writeln!(wrong, "{name} is served, and not in docs/metrics.md");
    }
    assert!(wrong.is_empty(), "{wrong}\nIn:\n{page}");
    for name in table.keys() {
        let help = format!("\n# HELP {name} ");
        let help = format!("\n{page}").split_once(&help).map(|(_, rest)| rest.to_owned());
        let help = help.and_then(|rest| rest.lines().next().map(str::to_owned));
        assert!(help.is_some_and(|help| help.len() > 5), "{name} has no help");
    }
    lint(page);
}

/// An increase is seen only between two values: what begins with its first event has none of it. Rules add the
/// first values of these, of which a listener and a backend, or an operation and its failure, have very many.
const BEGIN_LATER: [&str; 3] =
    ["lockgate_operations_total", "lockgate_transfer_bytes_total", "lockgate_transfers_total"];

#[test]
fn what_rules_see_increase_exists_before_its_first_event() {
    let (start, end) = pages_of_everything();
    let of = |page: &str, name: &str| -> BTreeSet<_> {
        samples(page).into_iter().filter(|it| it.name == name).map(|it| it.labels).collect()
    };
    let names = increasing();
    assert!(names.len() > 15 && BEGIN_LATER.iter().all(|name| names.contains(name)), "{names:?}");
    for name in names.iter().filter(|name| !BEGIN_LATER.contains(name)) {
        let (before, after) = (of(start, name), of(end, name));
        assert!(!before.is_empty(), "{name} has no series at the start");
        let new: Vec<_> = after.difference(&before).collect();
        assert!(new.is_empty(), "{name} begins with an event: {new:?}");
    }
}

/// The metrics that deploy/prometheus/rules.yaml has the increase or the rate of.
fn increasing() -> BTreeSet<&'static str> {
    let rules = include_str!("../../../deploy/prometheus/rules.yaml");
    let arguments =
        ["increase(", "rate("].iter().flat_map(|function| rules.split(function).skip(1));
    let names = arguments.filter_map(|rest| {
        let rest = rest.trim_start();
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
    });
    names.collect()
}

/// What `promtool check metrics` has to say, where there is one.
fn lint(page: &str) {
    let tools = std::env::var_os("LOCKGATE_TEST_TOOLS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools"),
        Into::into,
    );
    let own = tools.join("root/usr/bin/promtool");
    let program = if own.exists() { own } else { "promtool".into() };
    let child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("promtool, which tests/install gets");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(page.as_bytes()).expect("writing the metrics");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    assert!(
        output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(),
        "promtool: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn table() -> BTreeMap<String, Metric> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let (name, kind) = (cells[0].trim_end_matches('`'), *cells.get(1)?);
        matches!(kind, "gauge" | "counter" | "histogram").then(|| {
            let labels = cells[2].split(", ").filter(|it| !it.is_empty());
            let labels = labels.map(str::to_owned).collect();
            (name.to_owned(), Metric { kind: kind.to_owned(), labels })
        })
    });
    let rows: BTreeMap<_, _> = rows.collect();
    assert!(rows.len() > 40, "{} rows only", rows.len());
    rows
}

/// What a page has, with the labels of all series together.
fn served(page: &str) -> BTreeMap<String, Metric> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut found: BTreeMap<_, _> = types
        .map(|(name, kind)| {
            (name.to_owned(), Metric { kind: kind.to_owned(), labels: BTreeSet::new() })
        })
        .collect();
    for sample in samples(page) {
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| sample.name.strip_suffix(suffix))
            .find(|name| found.get(*name).is_some_and(|metric| metric.kind == "histogram"))
            .unwrap_or(&sample.name);
        let metric = found.get_mut(name).unwrap_or_else(|| panic!("{name} has no type"));
        metric.labels.extend(sample.labels.into_keys().filter(|label| label != "le"));
    }
    found
}

/// Of a gateway with everything that has metrics, at its start and after some use.
fn pages_of_everything() -> &'static (String, String) {
    static PAGES: OnceLock<(String, String)> = OnceLock::new();
    PAGES.get_or_init(|| {
        let (gateway, _files) = start_everything();
        let start = gateway.metrics_page();
        use_it(&gateway);
        (start, gateway.metrics_page())
    })
}

fn start_everything() -> (Gateway, TempDir) {
    let (files, pool) = (tempfile::tempdir().expect("a folder"), ports::block(4));
    let secret = |folder: &std::path::Path, name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("writing a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file, private).expect("making the file private");
    };
    let ftp = "protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool";
    let text = format!(
        "listeners:\n  ftp: {{ {ftp} }}\n  \
         ftps: {{ {ftp}, tls: {{ mode: required, certificate: {}, key: {} }} }}\n  \
         balanced: {{ {ftp}, proxy_protocol: [127.0.0.9/32] }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         login_hooks:\n  directory: {{ socket: hook.sock, token_file: hook.token }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n  \
         gone: {{ protocol: ftp, address: \"127.0.0.1:{}\", tls: {{ mode: none }}, \
         sessions: 5, unsupported_attributes: ignore }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         users_file: more.yaml\n\
         routes:\n  - {{ match: {{ users: gone }}, authenticate: backend, backend: gone }}\n  \
         - {{ match: {{ users: \"hook-*\" }}, authenticate: http, backend: files }}\n  \
         - {{ authenticate: gateway, backend: files }}\n\
         policy:\n  rules:\n    - {{ name: no-deletes, dry_run: true, deny: [delete] }}\n    \
         - {{ name: secret, match: {{ paths: [\"/secret/**\"] }}, deny: all }}\n    \
         - {{ name: all, allow: all }}\n  \
         limits:\n    - {{ name: each, per: user, sessions: 10, transfers: 5, bandwidth: 100MiB/s, \
         operations: 1000/s, bytes_per_day: 1GiB }}\n\
         expect:\n  - {{ name: reports, path: \"/*.csv\", from: \"{}\", by: \"{}\" }}\n\
         admin: {{ socket: admin.sock, address: \"127.0.0.1:0\", token_file: admin.token }}\n\
         metrics: {{ address: \"127.0.0.1:0\", users: [{USER}], top_users: 3 }}\n\
         state_dir: state\naudit: {{ file: audit.jsonl }}\n",
        pki().certificate.display(),
        pki().key.display(),
        host_keys(),
        pool.start(),
        pool.end(),
        files.path(),
        ports::block(1).start(),
        argon2_hash(),
        clock(23),
        clock(2),
    );
    let prepare = |folder: &std::path::Path| {
        std::fs::create_dir(folder.join("state")).expect("making a folder");
        for token in ["hook.token", "admin.token"] {
            secret(folder, token, "0123456789abcdef0123456789abcdef0123456789abcdef\n");
        }
        let more = format!("users: {{ second: {{ password_hash: \"{}\" }} }}\n", argon2_hash());
        secret(folder, "more.yaml", &more);
    };
    (Gateway::start_with(Command::new(PROGRAM), &text, prepare, &[]), files)
}

/// The time of day in so many hours, in UTC.
fn clock(hours: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let minutes = now.as_secs() / 60 + 60 * hours;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// A login of each kind, with transfers, and logins that fail.
fn use_it(gateway: &Gateway) {
    let (mut raw, _) = Raw::connect(gateway.address("ftp"));
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    assert_eq!(raw.upload("STOR file", b"bytes").code, 226);
    raw.expect("DELE file", 250);
    assert_eq!(raw.upload("STOR report.csv", b"bytes").code, 226);
    raw.expect("DELE /secret/file", 550);
    let (mut tls, _) = Raw::connect(gateway.address("ftps"));
    tls.auth_tls();
    tls.login(USER, PASSWORD);
    tls.expect("TYPE I", 200);
    assert_eq!(tls.upload("STOR file", b"bytes").code, 226);
    let (mut gone, _) = Raw::connect(gateway.address("ftp"));
    gone.expect("USER gone", 331);
    gone.expect("PASS any", 421);
    // Refused; not answered by the hook.
    for user in ["nobody", "hook-user"] {
        let (mut raw, _) = Raw::connect(gateway.address("ftp"));
        raw.expect(&format!("USER {user}"), 331);
        assert!(raw.command(&format!("PASS {PASSWORD}x")).code >= 400);
    }
    let home = tempfile::tempdir().expect("a client's home");
    let site = SftpSite::new(gateway.address("sftp").port());
    sftp(&site, home.path(), "get file\n", &[]).expect_ok("a download");
    let mut with_key = SftpSite::new(gateway.address("sftp").port());
    with_key.key = Some(keys().stranger.clone());
    assert!(!sftp(&with_key, home.path(), "get file\n", &[]).ok(), "a key that nobody has");
}
