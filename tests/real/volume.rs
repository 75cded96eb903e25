//! Volume: many small files, folders with many entries, one big file.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::backend_fixture::BackendFixture;
use crate::support::big_file;
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::lftp::{lftp, lftp_sftp};
use crate::support::clients::openssh::sftp_command;
use crate::support::clients::{Site, TlsVersion};
use crate::support::process::{Output, run};
use crate::support::raw::Raw;
use crate::support::{PASSWORD, Tls, USER, full, pattern};

const SMALL_FILES: usize = 1000;
const ENTRIES: usize = 20_000;
/// The timeout of one client for one direction.
const LIMIT: Duration = Duration::from_secs(900);

type RunCell = fn(&BackendFixture, &str) -> Vec<Failure>;

/// A front (`sftp`, or an FTP listener's name) and a backend.
type Pair = (&'static str, &'static str);

fn all(table: &str, pairs: &[Pair], in_full: &[Pair], run_cell: RunCell) {
    let pairs = pairs.iter().chain(if full() { in_full } else { &[] });
    let cells = pairs.map(|&(front, backend)| {
        let run = move || {
            let backend_fixture = BackendFixture::start(backend);
            backend_fixture.without_known_limits(run_cell(&backend_fixture, front))
        };
        Cell { name: format!("{front}/{backend}"), run: Box::new(run) }
    });
    run_all(table, cells.collect());
}

/// Runs lftp in `own` with either front; paths are relative to the login's folder.
fn with_lftp(backend_fixture: &BackendFixture, front: &str, own: &Path, script: &str) -> Output {
    match front {
        "sftp" => {
            let (base, _) = backend_fixture.work_folder("");
            lftp_sftp(&backend_fixture.sftp_site(), own, &format!("cd /{base}\n{script}"))
        }
        mode => lftp(&ftp_site(backend_fixture, mode), TlsVersion::Newest, own, script),
    }
}

fn ftp_site(backend_fixture: &BackendFixture, mode: &str) -> Site {
    backend_fixture.site(mode, if mode == "none" { Tls::None } else { Tls::Explicit })
}

fn failed(step: &str, output: &Output) -> Option<Failure> {
    (!output.ok())
        .then(|| Failure::new(step, output.describe().chars().take(2000).collect::<String>()))
}

/// The bytes of small file `number`: up to 4 KiB.
fn small(number: usize) -> Vec<u8> {
    let mut bytes = pattern(number * 4 % 4097);
    bytes.extend_from_slice(number.to_string().as_bytes());
    bytes
}

fn differing(folder: &Path) -> Option<Failure> {
    let wrong = (0..SMALL_FILES).filter(|number| {
        fs::read(folder.join(format!("{number}.txt"))).ok() != Some(small(*number))
    });
    let wrong: Vec<usize> = wrong.collect();
    (!wrong.is_empty()).then(|| {
        Failure::new(
            "files",
            format!("{} of {SMALL_FILES} differ: {:?}", wrong.len(), wrong.get(..5)),
        )
    })
}

fn many_files(backend_fixture: &BackendFixture, front: &str) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let source = own.path().join("small");
    fs::create_dir(&source).expect("a folder");
    for number in 0..SMALL_FILES {
        fs::write(source.join(format!("{number}.txt")), small(number)).expect("writing a file");
    }
    let folder = format!("small-{front}");
    let (seen, disk) = backend_fixture.work_folder(&folder);
    let mut failures = Vec::new();
    if front == "sftp" {
        let batch = format!("put -r small /{seen}\nget -r /{seen} back\n");
        let mut command = sftp_command(&backend_fixture.sftp_site(), own.path(), &[]);
        failures.extend(failed("put -r, get -r", &run(&mut command, batch.as_bytes(), LIMIT)));
    } else {
        let script = format!("mirror -R small {folder}\nmirror {folder} back");
        failures.extend(failed("mirror", &with_lftp(backend_fixture, front, own.path(), &script)));
    }
    failures.extend(differing(&disk));
    failures.extend(differing(&own.path().join("back")));
    let _ = fs::remove_dir_all(disk);
    failures
}

#[test]
fn a_thousand_small_files_are_transferred() {
    let pairs = [("sftp", "sshd"), ("sftp", "proftpd-plain"), ("sftp", "local"), ("none", "sshd")];
    let in_full = [
        ("sftp", "vsftpd-tls"),
        ("none", "proftpd-sftp"),
        ("sftp", "proftpd-sftp"),
        ("sftp", "asyncssh"),
        ("sftp", "pureftpd-tls"),
        ("sftp", "proftpd-tls"),
        ("none", "asyncssh"),
        ("none", "proftpd-plain"),
        ("required", "vsftpd-tls"),
        ("none", "local"),
    ];
    all("small files", &pairs, &in_full, many_files);
}

/// A folder created on the server's disk.
fn crowd(backend_fixture: &BackendFixture, folder: &str) -> (String, PathBuf) {
    let (seen, disk) = backend_fixture.work_folder(folder);
    fs::create_dir(&disk).expect("a folder");
    for number in 0..ENTRIES {
        File::create(disk.join(format!("entry-{number:05}"))).expect("a file");
    }
    let owner = fs::metadata(backend_fixture.backend.home()).expect("a folder");
    use std::os::unix::fs::MetadataExt;
    chown(&disk, Some(owner.uid()), Some(owner.gid())).expect("giving a folder away");
    (seen, disk)
}

fn listing(backend_fixture: &BackendFixture, front: &str) -> Vec<Failure> {
    let folder = format!("crowd-{front}");
    let (seen, disk) = crowd(backend_fixture, &folder);
    let mut failures = Vec::new();
    let mut whole = |step: &str, text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim_end().rsplit([' ', '/']).next())
            .filter(|name| name.starts_with("entry-"))
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != ENTRIES {
            failures.push(Failure::new(step, format!("{} of {ENTRIES} entries", names.len())));
        }
    };
    if front == "sftp" {
        let own = tempfile::tempdir().expect("a client's home");
        for batch in [format!("ls -1f /{seen}\n"), format!("ls -lf /{seen}\n")] {
            let mut command = sftp_command(&backend_fixture.sftp_site(), own.path(), &[]);
            let output = run(&mut command, batch.as_bytes(), LIMIT);
            whole(&batch, &output.stdout);
        }
    } else {
        let (mut client, _) =
            Raw::connect(backend_fixture.gateway.address(&format!("{front}-front")));
        client.login(USER, PASSWORD);
        for command in ["LIST", "NLST", "MLSD"] {
            let (bytes, last) = client.download(&format!("{command} {folder}"));
            assert_eq!(last.code, 226, "{}", last.text);
            whole(command, &bytes);
        }
        client.expect("NOOP", 200);
    }
    let _ = fs::remove_dir_all(disk);
    failures
}

#[test]
fn twenty_thousand_entries_are_listed() {
    let pairs = [
        ("sftp", "sshd"),
        ("sftp", "proftpd-plain"),
        ("sftp", "vsftpd-plain"),
        ("sftp", "local"),
        ("none", "sshd"),
        ("none", "proftpd-sftp"),
    ];
    let in_full = [
        ("sftp", "proftpd-sftp"),
        ("sftp", "asyncssh"),
        ("sftp", "pureftpd-plain"),
        ("none", "asyncssh"),
        ("none", "local"),
    ];
    all("entries", &pairs, &in_full, listing);
}

fn big(backend_fixture: &BackendFixture, front: &str) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let up = big_file::path().display();
    let name = format!("big-{front}.bin");
    let (seen, disk) = backend_fixture.work_folder(&name);
    let batch = format!("put {up} /{seen}\nget /{seen} back.bin\n");
    let output = match front {
        "sftp" => run(
            &mut sftp_command(&backend_fixture.sftp_site(), own.path(), &[]),
            batch.as_bytes(),
            LIMIT,
        ),
        mode => curl_both(&ftp_site(backend_fixture, mode), &name, own.path()),
    };
    let mut failures: Vec<Failure> = failed("client", &output).into_iter().collect();
    for (step, copy) in [("on-disk", &disk), ("down", &own.path().join("back.bin"))] {
        failures.extend(big_file::difference_of(copy).map(|text| Failure::new(step, text)));
    }
    let _ = fs::remove_file(disk);
    failures
}

/// Upload, then download.
fn curl_both(site: &Site, name: &str, own: &Path) -> Output {
    use crate::support::DataMode;
    use crate::support::clients::curl::{CurlOptions, curl, url};
    let options = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::Newest };
    let limit = LIMIT.as_secs().to_string();
    let mut up: Command = curl(site, options, own);
    up.arg("--max-time").arg(&limit).arg("-T").arg(big_file::path()).arg(url(site, name));
    let output = run(&mut up, b"", LIMIT);
    if !output.ok() {
        return output;
    }
    let mut down = curl(site, options, own);
    down.arg("--max-time").arg(limit).args(["-o", "back.bin"]).arg(url(site, name));
    run(&mut down, b"", LIMIT)
}

#[test]
fn a_big_file_is_transferred() {
    let pairs = [
        ("sftp", "sshd"),
        ("sftp", "proftpd-sftp"),
        ("sftp", "asyncssh"),
        ("sftp", "local"),
        ("sftp", "vsftpd-tls"),
        ("sftp", "proftpd-plain"),
        ("sftp", "pureftpd-tls"),
        ("none", "sshd"),
        ("required", "sshd"),
        ("required", "proftpd-sftp"),
        ("none", "asyncssh"),
    ];
    let in_full = [
        ("sftp", "proftpd-tls"),
        ("sftp", "vsftpd-plain"),
        ("sftp", "pureftpd-plain"),
        ("none", "proftpd-sftp"),
    ];
    all("big", &pairs, &in_full, big);
}
