//! Checks `docs/compatibility.md` against the tests: it names each server and client that they run, with
//! the installed version, each known limit, and existing tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::clients::python;
use crate::support::limits;
use crate::support::servers::program;

/// A server or a client in the document, and what prints its version.
type Program = (&'static str, fn() -> String);

const SERVERS: [Program; 7] = [
    ("vsftpd", || output(program("vsftpd"), &["-v"])),
    ("ProFTPD", || output(program("proftpd"), &["-v"])),
    ("ProFTPD mod_sftp", || output(program("proftpd"), &["-v"])),
    ("pure-ftpd", || output(program("pure-ftpd"), &["--help"])),
    ("OpenSSH sshd", || output("ssh", &["-V"])),
    ("asyncssh", || python_package("asyncssh")),
    ("russh-sftp", || locked("russh-sftp")),
];

const CLIENTS: [Program; 11] = [
    ("curl", || output("curl", &["--version"])),
    ("lftp", || output("lftp", &["--version"])),
    ("tnftp", || debian_package("tnftp")),
    ("ncftp", || debian_package("ncftp")),
    ("Python ftplib", || output("/usr/bin/python3", &["--version"])),
    ("OpenSSH sftp", || output("ssh", &["-V"])),
    ("OpenSSH scp", || output("ssh", &["-V"])),
    ("PuTTY psftp", || output("psftp", &["-V"])),
    ("sshfs", || output("sshfs", &["--version"])),
    ("paramiko", || python_package("paramiko")),
    ("HAProxy", || output("haproxy", &["-v"])),
];

#[test]
fn each_program_has_a_row_with_its_version() {
    let document = document();
    for (heading, programs) in [("## Servers", &SERVERS[..]), ("## Clients", &CLIENTS[..])] {
        let rows = rows(section(&document, heading));
        let names: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
        let expected: BTreeSet<_> = programs.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "the first column of \"{heading}\"");
        for (name, printed) in programs {
            let row = rows.iter().find(|row| row[0] == *name).expect("compared above");
            let printed = printed();
            let is_same = printed.split(|c: char| !is_of_version(c)).any(|word| word == row[1]);
            // Other systems have newer programs, which must pass the tests, too. The document is about these.
            if is_debian_12() {
                assert!(is_same, "{name}: the document says {}, installed is {printed:?}", row[1]);
            } else if !is_same {
                println!("{name}: the document says {}, installed is {printed:?}", row[1]);
            }
        }
    }
}

#[test]
fn the_listed_limits_are_those_of_the_tests() {
    let document = document();
    let documented: Vec<String> = rows(section(&document, "### What these servers do not do"))
        .iter()
        .map(|row| format!("| {} |", row.join(" | ")))
        .collect();
    let expected = limits::table();
    assert_eq!(documented, expected, "the table is to read:\n{}\n", expected.join("\n"));
}

#[test]
fn each_named_test_exists() {
    let document = document();
    let named: BTreeSet<_> =
        document.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    assert!(named.len() > 10, "{named:?}");
    for test in named {
        let found = test.rsplit_once("::").is_some_and(|(module, name)| {
            sources(module).iter().any(|source| source.contains(&format!("fn {name}(")))
        });
        assert!(found, "there is no test `{test}`");
    }
}

/// The sources that may contain a module's tests: in `tests/real`, or unit tests in `src`.
fn sources(module: &str) -> Vec<String> {
    let path = module.replace("::", "/");
    ["tests/real", "src"]
        .into_iter()
        .flat_map(|tree| [format!("{tree}/{path}.rs"), format!("{tree}/{path}/mod.rs")])
        .filter_map(|file| fs::read_to_string(root().join(file)).ok())
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn document() -> String {
    fs::read_to_string(root().join("docs/compatibility.md")).expect("docs/compatibility.md")
}

/// From a heading to the next one of any level.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let start = document.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no {heading}"));
    let text = &document[start + 1..];
    let end = text[1..].find("\n#").map_or(text.len(), |end| end + 1);
    &text[..end]
}

/// The cells of its table, without the header.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows: Vec<Vec<&str>> = lines.skip(1).map(|line| line.split(" | ").collect()).collect();
    assert!(!rows.is_empty(), "no table in {section:?}");
    rows
}

fn is_of_version(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '.'
}

fn is_debian_12() -> bool {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    system.lines().any(|line| line == "VERSION_CODENAME=bookworm")
}

fn output(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let program = program.as_ref();
    // vsftpd prints its version on standard input.
    let terminal = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(terminal.reopen().expect("that file"))
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}: run tests/install", program.display()));
    let written = fs::read(terminal.path()).expect("what it wrote");
    String::from_utf8_lossy(&[run.stdout, run.stderr, written].concat()).replace(['v', '_'], " ")
}

fn debian_package(name: &str) -> String {
    output("dpkg-query", &["-W", "-f", "${Version}", name])
}

fn python_package(name: &str) -> String {
    let code = format!("import importlib.metadata as m; print(m.version({name:?}))");
    output(python(), &["-c", &code])
}

/// The version of a crate in the lock file.
fn locked(name: &str) -> String {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let (_, rest) = lock.split_once(&format!("name = {name:?}\n")).expect("a locked crate");
    rest.lines().next().unwrap_or_default().to_owned()
}
