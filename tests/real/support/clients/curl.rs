//! curl over FTP and SFTP.

use std::path::Path;
use std::process::Command;

use super::{SftpSite, Site, TlsVersion, client, deadline};
use crate::support::pki::pki;
use crate::support::process::{Output, run};
use crate::support::{DataMode, Tls};

/// The URL of a path, relative to the login's folder.
pub fn url(site: &Site, path: &str) -> String {
    let scheme = if site.tls == Tls::Implicit { "ftps" } else { "ftp" };
    format!("{scheme}://localhost:{}/{path}", site.port)
}

/// The data mode and TLS version that curl uses.
#[derive(Debug, Clone, Copy)]
pub struct CurlOptions {
    pub data: DataMode,
    pub tls: TlsVersion,
}

pub fn curl(site: &Site, options: CurlOptions, home: &Path) -> Command {
    let mut command = client("curl", home);
    command.args(["--disable", "--ipv4", "--silent", "--show-error"]);
    command.arg("--user").arg(format!("{}:{}", site.user, site.password));
    if site.tls != Tls::None {
        command.arg("--ssl-reqd").arg("--cacert").arg(&pki().ca);
    }
    if options.tls == TlsVersion::V12 {
        command.args(["--tls-max", "1.2"]);
    }
    match options.data {
        DataMode::Pasv => command.arg("--disable-epsv"),
        DataMode::Epsv => &mut command,
        DataMode::Active => command.args(["--ftp-port", "127.0.0.1"]),
    };
    command
}

pub fn upload(site: &Site, options: CurlOptions, file: &Path, path: &str) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = curl(site, options, home.path());
    command.arg("--upload-file").arg(file).arg("--ftp-create-dirs").arg(url(site, path));
    run(&mut command, b"", deadline())
}

/// Returns the file's bytes as standard output.
pub fn download(site: &Site, options: CurlOptions, path: &str) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    run(curl(site, options, home.path()).arg(url(site, path)), b"", deadline())
}

/// curl over SFTP; `path` begins at the root.
pub fn curl_sftp(site: &SftpSite, path: &str, more: &[&std::ffi::OsStr]) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = client("curl", home.path());
    command.args(["--disable", "--silent", "--show-error", "--insecure"]);
    command.arg("--user").arg(format!("{}:{}", site.user, site.password)).args(more);
    command.arg(format!("sftp://127.0.0.1:{}/{path}", site.port));
    run(&mut command, b"", deadline())
}
