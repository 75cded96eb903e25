//! The actions of a cell: one client uploads and downloads; the files on the server are compared.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::cells::Failure;
use super::clients::curl::CurlOptions;
use super::clients::session::{Job, Step, session};
use super::clients::{Site, TlsVersion, curl, lftp, ncftp, tnftp};
use super::process::{Output, SharedFolder};
use super::{DataMode, Tls, full, pattern};

/// The file that every cell uploads and downloads.
pub struct Payload {
    pub bytes: Vec<u8>,
    pub path: PathBuf,
    _folder: SharedFolder,
}

pub fn payload() -> &'static Payload {
    static PAYLOAD: OnceLock<Payload> = OnceLock::new();
    PAYLOAD.get_or_init(|| {
        let bytes = pattern(if full() { 64 << 20 } else { (1 << 20) + 77 });
        let folder = SharedFolder::new().expect("a folder for the payload");
        let path = folder.path().join("payload.bin");
        std::fs::write(&path, &bytes).expect("writing the payload");
        Payload { bytes, path, _folder: folder }
    })
}

/// A whole session of ftplib. `home` is what the user sees as `/`; steps for which `known_limit` has a
/// reason may fail.
pub fn session_cell(
    site: Site,
    data: DataMode,
    tls: TlsVersion,
    folder: &str,
    home: &Path,
    known_limit: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Failure> {
    let steps = session(&Job { site, data, tls, folder, payload: &payload().path });
    let mut failures = failures_of(folder, steps, known_limit);
    failures.extend(on_disk(home, &format!("{folder}/kept.bin")));
    let _ = std::fs::remove_dir_all(home.join(folder));
    failures
}

/// The failures among the steps, without those for which `known_limit` has a reason.
pub fn failures_of(
    name: &str,
    steps: Vec<Step>,
    known_limit: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for Step { step, ok, detail } in steps {
        match (ok, known_limit(&step)) {
            (true, None) => {}
            (true, Some(reason)) => println!("{name}: {step} works, though: {reason}"),
            (false, Some(_)) => {}
            (false, None) => failures.push(Failure { step, detail }),
        }
    }
    failures
}

/// curl 7.88 does not speak TLS on active data connections ("sa_addr inet_ntop() failed").
pub fn curl_modes(tls: Tls) -> &'static [DataMode] {
    match tls {
        Tls::None => &DataMode::ALL,
        _ => &[DataMode::Pasv, DataMode::Epsv],
    }
}

/// curl: upload, download, and the file on the server.
pub fn curl_cell(site: &Site, options: CurlOptions, folder: &str, home: &Path) -> Vec<Failure> {
    let path = format!("{folder}/curl.bin");
    let mut failures = Vec::new();
    failures.extend(failed("curl-up", &curl::upload(site, options, &payload().path, &path)));
    failures.extend(on_disk(home, &path));
    let down = curl::download(site, options, &path);
    failures.extend(failed("curl-down", &down).or_else(|| differs("curl-down", &down.stdout)));
    failures
}

/// lftp: several files in one session.
pub fn lftp_cell(site: &Site, tls: TlsVersion, folder: &str, home: &Path) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let up = payload().path.display();
    let script = format!(
        "mkdir -p {folder}\ncd {folder}\nput {up} -o 1.bin\nput {up} -o 2.bin\nput {up} -o 3.bin\n\
         get 1.bin\nget 2.bin\nget 3.bin\ncls -1\nmv 3.bin 4.bin\nrm 4.bin"
    );
    let mut failures = Vec::new();
    failures.extend(failed("lftp", &lftp::lftp(site, tls, own.path(), &script)));
    for name in ["1.bin", "2.bin"] {
        failures.extend(on_disk(home, &format!("{folder}/{name}")));
    }
    for name in ["1.bin", "2.bin", "3.bin"] {
        let bytes = std::fs::read(own.path().join(name)).unwrap_or_default();
        failures.extend(differs("lftp-down", &bytes));
    }
    failures
}

/// The failure, if the client's exit status is not 0.
pub fn failed(step: &str, output: &Output) -> Option<Failure> {
    (!output.ok()).then(|| {
        let detail: String = output.describe().chars().take(2000).collect();
        Failure::new(step, detail)
    })
}

pub fn differs(step: &str, bytes: &[u8]) -> Option<Failure> {
    let sent = &payload().bytes;
    (bytes != sent).then(|| {
        Failure::new(step, format!("{} bytes differ from the {} sent", bytes.len(), sent.len()))
    })
}

/// The failure, if the file on the server differs from the payload.
pub fn on_disk(home: &Path, path: &str) -> Option<Failure> {
    match std::fs::read(home.join(path)) {
        Ok(bytes) => differs("on-disk", &bytes),
        Err(error) => Some(Failure::new("on-disk", format!("{path}: {error}"))),
    }
}

/// tnftp: upload and download in one session.
pub fn tnftp_cell(site: &Site, folder: &str, home: &Path) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let script = format!(
        "mkdir {folder}\ncd {folder}\nput {} up.bin\nget up.bin down.bin\nls\nnlist",
        payload().path.display()
    );
    let output = tnftp::tnftp(site, own.path(), &script);
    let mut failures = Vec::new();
    failures.extend(failed("tnftp", &output));
    failures.extend(on_disk(home, &format!("{folder}/up.bin")));
    let bytes = std::fs::read(own.path().join("down.bin")).unwrap_or_default();
    failures.extend(differs("tnftp-down", &bytes));
    if !failures.is_empty() {
        failures.push(Failure::new("tnftp", output.describe()));
    }
    failures
}

/// ncftpput, ncftpls, ncftpget.
pub fn ncftp_cell(site: &Site, folder: &str, home: &Path) -> Vec<Failure> {
    std::fs::create_dir_all(home.join(folder)).expect("making a folder");
    open_to_all(&home.join(folder));
    let mut failures = Vec::new();
    failures.extend(failed("ncftpput", &ncftp::put(site, folder, &payload().path)));
    let path = format!("{folder}/payload.bin");
    failures.extend(on_disk(home, &path));
    let list = ncftp::list(site, folder);
    if !String::from_utf8_lossy(&list.stdout).contains("payload.bin") {
        // It sends NLST -CF.
        failures.push(Failure::new("nlst-options", list.describe()));
    }
    let down = ncftp::get(site, &path);
    failures.extend(failed("ncftpget", &down).or_else(|| differs("ncftpget", &down.stdout)));
    failures
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder, all).expect("opening a folder");
}
