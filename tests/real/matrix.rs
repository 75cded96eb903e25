//! Every front with every backend, in every data mode, with real clients.

use serde_json::Value;

use crate::support::actions::{
    curl_cell, curl_modes, lftp_cell, ncftp_cell, session_cell, tnftp_cell,
};
use crate::support::backend_fixture::{BackendFixture, BackendFixtures, FRONTS, LOCAL, backends};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::curl::CurlOptions;
use crate::support::clients::{SftpSite, Site, TlsVersion};
use crate::support::servers::{PLAIN, SFTP_NAMES};
use crate::support::sftp_actions::{
    WorkFolder, curl_sftp_cell, lftp_sftp_cell, openssh_cell, paramiko_cell, preserved, psftp_cell,
};
use crate::support::{DataMode, Tls, full};

#[test]
fn sessions() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for backend in backends() {
        for (number, (mode, tls)) in FRONTS.into_iter().enumerate() {
            for (turn, data) in DataMode::ALL.into_iter().enumerate() {
                // With SFTP backends only the front has data connections: each mode once.
                if SFTP_NAMES.contains(&backend) && number % 3 != turn && !full() {
                    continue;
                }
                let name = format!("{mode}/{backend}/{}", data.name());
                let folder = format!("cell-{mode}-{backend}-{}", data.name());
                let run = move || {
                    let fixture = fixtures.get(backend);
                    run_session(fixture, fixture.site(mode, tls), data, TlsVersion::Newest, &folder)
                };
                cells.push(Cell { name, run: Box::new(run) });
            }
        }
    }
    run_all("matrix", cells);
}

fn run_session(
    fixture: &BackendFixture,
    site: Site,
    data: DataMode,
    tls: TlsVersion,
    folder: &str,
) -> Vec<Failure> {
    let home = fixture.backend.home().to_owned();
    let known_limit = |step: &str| fixture.backend.known_limit(step);
    fixture.without_known_limits(session_cell(site, data, tls, folder, &home, known_limit))
}

/// TLS 1.2 at the front, where resumption works differently.
#[test]
fn sessions_tls12() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for backend in [LOCAL, "proftpd-tls", "sshd"] {
        for (mode, tls) in FRONTS.into_iter().filter(|(_, tls)| *tls != Tls::None) {
            let name = format!("{mode}/{backend}/tls1.2");
            let folder = format!("cell12-{mode}-{backend}");
            let run = move || {
                let fixture = fixtures.get(backend);
                let site = fixture.site(mode, tls);
                run_session(fixture, site, DataMode::Pasv, TlsVersion::V12, &folder)
            };
            cells.push(Cell { name, run: Box::new(run) });
        }
    }
    run_all("matrix", cells);
}

#[test]
fn curl_and_lftp() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for backend in backends() {
        for (mode, tls) in FRONTS {
            let curl = move || {
                let backend_fixture = fixtures.get(backend);
                let (site, home) =
                    (backend_fixture.site(mode, tls), backend_fixture.backend.home().to_owned());
                let cell = |&data: &DataMode| {
                    let folder = format!("curl-{mode}-{backend}-{}", data.name());
                    let options = CurlOptions { data, tls: TlsVersion::Newest };
                    curl_cell(&site, options, &folder, &home)
                };
                backend_fixture
                    .without_known_limits(curl_modes(tls).iter().flat_map(cell).collect())
            };
            cells.push(Cell { name: format!("{mode}/{backend}/curl"), run: Box::new(curl) });
            let lftp = move || {
                let backend_fixture = fixtures.get(backend);
                let site = backend_fixture.site(mode, tls);
                let folder = format!("lftp-{mode}-{backend}");
                let home = backend_fixture.backend.home().to_owned();
                backend_fixture.without_known_limits(lftp_cell(
                    &site,
                    TlsVersion::Newest,
                    &folder,
                    &home,
                ))
            };
            cells.push(Cell { name: format!("{mode}/{backend}/lftp"), run: Box::new(lftp) });
        }
    }
    run_all("matrix", cells);
}

/// tnftp and ncftp do not support TLS.
#[test]
fn tnftp_and_ncftp() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for backend in PLAIN.into_iter().chain(["sshd", LOCAL]) {
        let run = move || {
            let backend_fixture = fixtures.get(backend);
            let (site, home) = (
                backend_fixture.site("none", Tls::None),
                backend_fixture.backend.home().to_owned(),
            );
            let mut failures = tnftp_cell(&site, &format!("tnftp-{backend}"), &home);
            failures.extend(ncftp_cell(&site, &format!("ncftp-{backend}"), &home));
            backend_fixture.without_known_limits(failures)
        };
        cells.push(Cell { name: format!("none/{backend}/tnftp-ncftp"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}

/// A client of the SFTP front, and its backends in the fast tier: one of each kind.
type SftpClient =
    (&'static str, fn(&SftpSite, &WorkFolder) -> Vec<Failure>, &'static [&'static str]);

const SFTP_CLIENTS: [SftpClient; 4] = [
    (
        "openssh",
        openssh_cell,
        &[
            "vsftpd-tls",
            "proftpd-plain",
            "pureftpd-tls",
            "sshd",
            "proftpd-sftp",
            "asyncssh",
            "russh-sftp",
            LOCAL,
        ],
    ),
    ("lftp", lftp_sftp_cell, &["proftpd-tls", "sshd", "russh-sftp", LOCAL]),
    ("curl", curl_sftp_cell, &["vsftpd-plain", "proftpd-sftp", LOCAL]),
    ("psftp", psftp_cell, &["pureftpd-plain", "asyncssh", LOCAL]),
];

/// The SFTP front with every backend and paramiko: all requests.
#[test]
fn sftp_sessions() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for backend in backends() {
        let run = move || {
            let backend_fixture = fixtures.get(backend);
            let (folder, disk) = backend_fixture.work_folder(&format!("paramiko-{backend}"));
            let work_folder = WorkFolder { folder: &folder, disk: &disk };
            let can = backend_fixture.backend.can();
            let known_limit = |step: &str| backend_fixture.backend.known_limit(step);
            backend_fixture.without_known_limits(paramiko_cell(
                backend_fixture.sftp_site(),
                &work_folder,
                can,
                true,
                known_limit,
            ))
        };
        cells.push(Cell { name: format!("sftp/{backend}/paramiko"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}

#[test]
fn sftp_clients() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for (client, run_cell, meets) in SFTP_CLIENTS {
        for backend in backends().filter(|name| meets.contains(name) || full()) {
            let run = move || {
                let backend_fixture = fixtures.get(backend);
                let (folder, disk) = backend_fixture.work_folder(&format!("{client}-{backend}"));
                backend_fixture.without_known_limits(run_cell(
                    &backend_fixture.sftp_site(),
                    &WorkFolder { folder: &folder, disk: &disk },
                ))
            };
            cells.push(Cell { name: format!("sftp/{backend}/{client}"), run: Box::new(run) });
        }
    }
    run_all("matrix", cells);
}

/// Times that a client preserves, where the backend supports it.
#[test]
fn sftp_times() {
    let fixtures = &BackendFixtures::new();
    let mut cells = Vec::new();
    for backend in [
        "vsftpd-plain",
        "proftpd-plain",
        "pureftpd-tls",
        "sshd",
        "proftpd-sftp",
        "asyncssh",
        "russh-sftp",
        LOCAL,
    ] {
        let run = move || {
            let backend_fixture = fixtures.get(backend);
            assert_ne!(backend_fixture.backend.can()["mtime"], Value::Bool(false), "{backend}");
            let (folder, disk) = backend_fixture.work_folder(&format!("times-{backend}"));
            backend_fixture.without_known_limits(preserved(
                &backend_fixture.sftp_site(),
                &WorkFolder { folder: &folder, disk: &disk },
            ))
        };
        cells.push(Cell { name: format!("sftp/{backend}/times"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}
