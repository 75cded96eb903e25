//! Every front before every backend, in every data mode, with real clients.

use serde_json::Value;

use crate::support::actions::{
    curl_cell, curl_modes, lftp_cell, ncftp_cell, session_cell, tnftp_cell,
};
use crate::support::bench::{Benches, FRONTS, LOCAL, backends};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::curl::Manner;
use crate::support::clients::{SftpSite, TlsVersion};
use crate::support::servers::{PLAIN, SFTP_NAMES};
use crate::support::sftp_actions::{
    Place, curl_sftp_cell, lftp_sftp_cell, openssh_cell, paramiko_cell, preserved, psftp_cell,
};
use crate::support::{DataMode, Tls, full};

#[test]
fn sessions() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in backends() {
        for (number, (mode, tls)) in FRONTS.into_iter().enumerate() {
            for (turn, data) in DataMode::ALL.into_iter().enumerate() {
                // Behind SFTP data connections are the front's affair alone: each mode once.
                if SFTP_NAMES.contains(&backend) && number % 3 != turn && !full() {
                    continue;
                }
                let name = format!("{mode}/{backend}/{}", data.name());
                let folder = format!("cell-{mode}-{backend}-{}", data.name());
                let run = move || {
                    let bench = benches.get(backend);
                    let site = bench.site(mode, tls);
                    let home = bench.backend.home().to_owned();
                    let excused = |step: &str| bench.backend.excused(step);
                    let tls = TlsVersion::Newest;
                    bench.judge(session_cell(site, data, tls, &folder, &home, excused))
                };
                cells.push(Cell { name, run: Box::new(run) });
            }
        }
    }
    run_all("matrix", cells);
}

/// TLS 1.2 at the front: resumption works another way there.
#[test]
fn sessions_tls12() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in [LOCAL, "proftpd-tls", "sshd"] {
        for (mode, tls) in FRONTS.into_iter().filter(|(_, tls)| *tls != Tls::None) {
            let name = format!("{mode}/{backend}/tls1.2");
            let folder = format!("cell12-{mode}-{backend}");
            let run = move || {
                let bench = benches.get(backend);
                let home = bench.backend.home().to_owned();
                let excused = |step: &str| bench.backend.excused(step);
                let site = bench.site(mode, tls);
                let (data, tls) = (DataMode::Pasv, TlsVersion::V12);
                bench.judge(session_cell(site, data, tls, &folder, &home, excused))
            };
            cells.push(Cell { name, run: Box::new(run) });
        }
    }
    run_all("matrix", cells);
}

#[test]
fn curl_and_lftp() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in backends() {
        for (mode, tls) in FRONTS {
            let curl = move || {
                let bench = benches.get(backend);
                let (site, home) = (bench.site(mode, tls), bench.backend.home().to_owned());
                let cell = |&data: &DataMode| {
                    let folder = format!("curl-{mode}-{backend}-{}", data.name());
                    let manner = Manner { data, tls: TlsVersion::Newest };
                    curl_cell(&site, manner, &folder, &home)
                };
                bench.judge(curl_modes(tls).iter().flat_map(cell).collect())
            };
            cells.push(Cell { name: format!("{mode}/{backend}/curl"), run: Box::new(curl) });
            let lftp = move || {
                let bench = benches.get(backend);
                let site = bench.site(mode, tls);
                let folder = format!("lftp-{mode}-{backend}");
                let home = bench.backend.home().to_owned();
                bench.judge(lftp_cell(&site, TlsVersion::Newest, &folder, &home))
            };
            cells.push(Cell { name: format!("{mode}/{backend}/lftp"), run: Box::new(lftp) });
        }
    }
    run_all("matrix", cells);
}

/// tnftp and ncftp speak no TLS.
#[test]
fn tnftp_and_ncftp() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in PLAIN.into_iter().chain(["sshd", LOCAL]) {
        let run = move || {
            let bench = benches.get(backend);
            let (site, home) = (bench.site("none", Tls::None), bench.backend.home().to_owned());
            let mut failures = tnftp_cell(&site, &format!("tnftp-{backend}"), &home);
            failures.extend(ncftp_cell(&site, &format!("ncftp-{backend}"), &home));
            bench.judge(failures)
        };
        cells.push(Cell { name: format!("none/{backend}/tnftp-ncftp"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}

/// A client of the SFTP front, and the backends it meets in the fast tier: one of each kind.
type SftpClient = (&'static str, fn(&SftpSite, &Place) -> Vec<Failure>, &'static [&'static str]);

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

/// The SFTP front before every backend, with paramiko: all that it can be asked for.
#[test]
fn sftp_sessions() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in backends() {
        let run = move || {
            let bench = benches.get(backend);
            let (folder, disk) = bench.place(&format!("paramiko-{backend}"));
            let place = Place { folder: &folder, disk: &disk };
            let can = bench.backend.can();
            let excused = |step: &str| bench.backend.excused(step);
            bench.judge(paramiko_cell(bench.sftp_site(), &place, can, true, excused))
        };
        cells.push(Cell { name: format!("sftp/{backend}/paramiko"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}

#[test]
fn sftp_clients() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for (client, tell, meets) in SFTP_CLIENTS {
        for backend in backends().filter(|name| meets.contains(name) || full()) {
            let run = move || {
                let bench = benches.get(backend);
                let (folder, disk) = bench.place(&format!("{client}-{backend}"));
                bench.judge(tell(&bench.sftp_site(), &Place { folder: &folder, disk: &disk }))
            };
            cells.push(Cell { name: format!("sftp/{backend}/{client}"), run: Box::new(run) });
        }
    }
    run_all("matrix", cells);
}

/// Times that a client asks to be kept, where the backend can.
#[test]
fn sftp_times() {
    let benches = &Benches::new();
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
            let bench = benches.get(backend);
            assert_ne!(bench.backend.can()["mtime"], Value::Bool(false), "{backend}");
            let (folder, disk) = bench.place(&format!("times-{backend}"));
            bench.judge(preserved(&bench.sftp_site(), &Place { folder: &folder, disk: &disk }))
        };
        cells.push(Cell { name: format!("sftp/{backend}/times"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}
