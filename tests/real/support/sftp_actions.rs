//! The actions of a cell with an SFTP client; the files on the server are compared.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use super::actions::{differs, failed, failures_of, on_disk, payload};
use super::cells::Failure;
use super::clients::SftpSite;
use super::clients::curl::curl_sftp;
use super::clients::lftp::lftp_sftp;
use super::clients::openssh::{remote, scp, sftp};
use super::clients::paramiko::{SftpJob, sftp_session};
use super::clients::psftp::psftp;

/// The folder of a cell: as the client names it (its path from the root, without the first
/// slash), and on disk.
pub struct WorkFolder<'a> {
    pub folder: &'a str,
    pub disk: &'a Path,
}

/// A whole session of paramiko; steps for which `known_limit` has a reason may fail.
pub fn paramiko_cell(
    site: SftpSite,
    work_folder: &WorkFolder,
    can: Value,
    gateway: bool,
    known_limit: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Failure> {
    let folder = format!("/{}", work_folder.folder);
    let job = SftpJob { site, folder: &folder, payload: &payload().path, can, gateway };
    let mut failures = failures_of(&folder, sftp_session(&job), known_limit);
    failures.extend(on_disk(work_folder.disk, "kept.bin"));
    let _ = std::fs::remove_dir_all(work_folder.disk);
    failures
}

/// OpenSSH's sftp with odd sizes and numbers of requests, and scp.
pub fn openssh_cell(site: &SftpSite, work_folder: &WorkFolder) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let (folder, up) = (work_folder.folder, payload().path.display());
    let mut failures = Vec::new();
    let batch =
        format!("-mkdir /{folder}\ncd /{folder}\nput {up} 0.bin\nls -la\nput {up} dir.bin\n");
    failures.extend(failed("sftp", &sftp(site, own.path(), &batch, &[])));
    // Requests smaller and larger than usual, one alone and many in flight.
    for (number, (requests, buffer)) in
        [("1", "32768"), ("64", "1000"), ("200", "3333"), ("3", "65535"), ("64", "261120")]
            .into_iter()
            .enumerate()
    {
        let name = format!("{}.bin", number + 1);
        let batch = format!("cd /{folder}\nput {up} {name}\nget {name}\n");
        let step = format!("sftp -R {requests} -B {buffer}");
        let output = sftp(site, own.path(), &batch, &["-R", requests, "-B", buffer]);
        failures.extend(failed(&step, &output));
        failures.extend(on_disk(work_folder.disk, &name));
        let bytes = std::fs::read(own.path().join(&name)).unwrap_or_default();
        failures.extend(differs(&step, &bytes));
    }
    failures.extend(resume(site, work_folder, own.path()));
    let local = payload().path.to_str().expect("a UTF-8 path");
    let there = remote(site, &format!("/{folder}/scp.bin"));
    failures.extend(failed("scp-up", &scp(site, own.path(), local, &there)));
    failures.extend(on_disk(work_folder.disk, "scp.bin"));
    failures.extend(failed("scp-down", &scp(site, own.path(), &there, "scp.bin")));
    let bytes = std::fs::read(own.path().join("scp.bin")).unwrap_or_default();
    failures.extend(differs("scp-down", &bytes));
    let batch =
        format!("cd /{folder}\nrename dir.bin moved.bin\nrm moved.bin\nmkdir sub\nrmdir sub\n");
    failures.extend(failed("sftp-names", &sftp(site, own.path(), &batch, &[])));
    failures
}

/// `reput` and `reget` of a file whose first part exists.
fn resume(site: &SftpSite, work_folder: &WorkFolder, own: &Path) -> Vec<Failure> {
    let bytes = &payload().bytes;
    let half = bytes.len() / 2 + 1;
    std::fs::write(own.join("half.bin"), &bytes[..half]).expect("writing a part");
    std::fs::write(own.join("0.bin"), &bytes[..half]).expect("writing a part");
    let (folder, up) = (work_folder.folder, payload().path.display());
    let batch =
        format!("cd /{folder}\nput half.bin again.bin\nreput {up} again.bin\nreget 0.bin\n");
    let mut failures = Vec::new();
    failures.extend(failed("sftp-resume", &sftp(site, own, &batch, &[])));
    failures.extend(on_disk(work_folder.disk, "again.bin"));
    let read = std::fs::read(own.join("0.bin")).unwrap_or_default();
    failures.extend(differs("reget", &read));
    failures
}

/// `put -p` and `get -p` preserve the modification time.
pub fn preserved(site: &SftpSite, work_folder: &WorkFolder) -> Vec<Failure> {
    const WHEN: i64 = 1_234_567_890;
    let own = tempfile::tempdir().expect("a client's home");
    let file = own.path().join("old.bin");
    std::fs::write(&file, b"old").expect("writing a file");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(WHEN as u64);
    let opened = std::fs::File::options().write(true).open(&file).expect("opening a file");
    opened.set_modified(time).expect("setting a time");
    let folder = work_folder.folder;
    let batch = format!("-mkdir /{folder}\ncd /{folder}\nput -p old.bin\nget -p old.bin new.bin\n");
    let mut failures: Vec<Failure> =
        failed("sftp -p", &sftp(site, own.path(), &batch, &[])).into_iter().collect();
    for (step, path) in
        [("put -p", work_folder.disk.join("old.bin")), ("get -p", own.path().join("new.bin"))]
    {
        let found = std::fs::metadata(&path).map(|metadata| metadata.mtime());
        if found.as_ref().ok() != Some(&WHEN) {
            failures.push(Failure::new(step, format!("modified at {found:?}, not at {WHEN}")));
        }
    }
    failures
}

/// lftp over SFTP: several files in one session.
pub fn lftp_sftp_cell(site: &SftpSite, work_folder: &WorkFolder) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let (folder, up) = (work_folder.folder, payload().path.display());
    let script = format!(
        "mkdir -p /{folder}\ncd /{folder}\nput {up} -o l1.bin\nput {up} -o l2.bin\nget l1.bin\n\
         get l2.bin\ncls -1\nmv l2.bin l3.bin\nrm l3.bin"
    );
    let mut failures = Vec::new();
    failures.extend(failed("lftp", &lftp_sftp(site, own.path(), &script)));
    failures.extend(on_disk(work_folder.disk, "l1.bin"));
    for name in ["l1.bin", "l2.bin"] {
        let bytes = std::fs::read(own.path().join(name)).unwrap_or_default();
        failures.extend(differs("lftp-down", &bytes));
    }
    failures
}

/// curl over SFTP (libssh2).
pub fn curl_sftp_cell(site: &SftpSite, work_folder: &WorkFolder) -> Vec<Failure> {
    let path = format!("{}/curl.bin", work_folder.folder);
    let mut failures = Vec::new();
    let up = [OsStr::new("--ftp-create-dirs"), OsStr::new("-T"), payload().path.as_os_str()];
    failures.extend(failed("curl-up", &curl_sftp(site, &path, &up)));
    failures.extend(on_disk(work_folder.disk, "curl.bin"));
    let down = curl_sftp(site, &path, &[]);
    failures.extend(failed("curl-down", &down).or_else(|| differs("curl-down", &down.stdout)));
    let rest = curl_sftp(site, &path, &["-C", "1000000"].map(OsStr::new));
    let whole = payload().bytes.get(1_000_000..) == Some(&rest.stdout);
    if !whole {
        failures
            .push(Failure::new("curl-rest", rest.describe().chars().take(500).collect::<String>()));
    }
    failures
}

/// psftp of PuTTY.
pub fn psftp_cell(site: &SftpSite, work_folder: &WorkFolder) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let (folder, up) = (work_folder.folder, payload().path.display());
    let batch = format!(
        "mkdir /{folder}\ncd /{folder}\nput {up} p1.bin\nget p1.bin down.bin\nls\n\
         mv p1.bin p2.bin\nquit\n"
    );
    let output = psftp(site, own.path(), &batch);
    let mut failures = Vec::new();
    failures.extend(failed("psftp", &output));
    failures.extend(on_disk(work_folder.disk, "p2.bin"));
    let bytes = std::fs::read(own.path().join("down.bin")).unwrap_or_default();
    failures.extend(differs("psftp-down", &bytes));
    if !failures.is_empty() {
        failures.push(Failure::new("psftp", output.describe()));
    }
    failures
}
