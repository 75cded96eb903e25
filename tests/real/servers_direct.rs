//! The clients with the servers, without the gateway: failures here are limits of the server.

use std::io::Read;

use serde_json::json;

use crate::support::actions::{
    curl_cell, curl_modes, lftp_cell, ncftp_cell, session_cell, tnftp_cell,
};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::curl::CurlOptions;
use crate::support::clients::{SftpSite, Site, TlsVersion};
use crate::support::raw::Raw;
use crate::support::servers::{
    Endpoint, NAMES, PLAIN, SFTP_NAMES, SftpEndpoint, Software, endpoint, sftp_endpoint,
};
use crate::support::sftp_actions::{
    WorkFolder, curl_sftp_cell, lftp_sftp_cell, openssh_cell, paramiko_cell, preserved, psftp_cell,
};
use crate::support::{DataMode, PASSWORD, Tls, USER, limits};

fn site(endpoint: &Endpoint) -> Site {
    Site::new(endpoint.port, endpoint.tls)
}

/// Removes the server's known limits; adds the server's log if failures remain.
fn without_known_limits(server: &Endpoint, mut failures: Vec<Failure>) -> Vec<Failure> {
    failures.retain(|failure| limits::direct(server.software, &failure.step).is_none());
    if !failures.is_empty() {
        failures.push(Failure::new("server-log", server.server.log_tail(8)));
    }
    failures
}

/// vsftpd sends TLS 1.3 tickets on upload data connections. curl and lftp close without reading them:
/// the kernel resets the connection, and sometimes vsftpd aborts the upload (426).
fn upload_tls(endpoint: &Endpoint) -> TlsVersion {
    match endpoint.software {
        Software::Vsftpd => TlsVersion::V12,
        _ => TlsVersion::Newest,
    }
}

#[test]
fn ftplib_sessions() {
    let mut cells = Vec::new();
    for name in NAMES {
        for data in DataMode::ALL {
            let run = move || {
                let server = endpoint(name);
                let folder = format!("direct-{name}-{}", data.name());
                session_cell(
                    site(&server),
                    data,
                    TlsVersion::Newest,
                    &folder,
                    server.home,
                    |step| limits::direct(server.software, step),
                )
            };
            cells.push(Cell { name: format!("{name}/{}", data.name()), run: Box::new(run) });
        }
    }
    run_all("direct", cells);
}

#[test]
fn curl_and_lftp() {
    let mut cells = Vec::new();
    for name in NAMES {
        let curl = move || {
            let server = endpoint(name);
            let mut failures = Vec::new();
            for &data in curl_modes(server.tls) {
                let folder = format!("direct-curl-{name}-{}", data.name());
                let options = CurlOptions { data, tls: upload_tls(&server) };
                failures.extend(curl_cell(&site(&server), options, &folder, server.home));
            }
            without_known_limits(&server, failures)
        };
        cells.push(Cell { name: format!("{name}/curl"), run: Box::new(curl) });
        let lftp = move || {
            let server = endpoint(name);
            let folder = format!("direct-lftp-{name}");
            let tls = upload_tls(&server);
            without_known_limits(&server, lftp_cell(&site(&server), tls, &folder, server.home))
        };
        cells.push(Cell { name: format!("{name}/lftp"), run: Box::new(lftp) });
    }
    run_all("direct", cells);
}

/// tnftp and ncftp do not support TLS.
#[test]
fn tnftp_and_ncftp() {
    let mut cells = Vec::new();
    for name in PLAIN {
        let run = move || {
            let server = endpoint(name);
            let mut failures =
                tnftp_cell(&site(&server), &format!("direct-tnftp-{name}"), server.home);
            let folder = format!("direct-ncftp-{name}");
            failures.extend(ncftp_cell(&site(&server), &folder, server.home));
            without_known_limits(&server, failures)
        };
        cells.push(Cell { name: format!("{name}/tnftp-ncftp"), run: Box::new(run) });
    }
    run_all("direct", cells);
}

/// The tests' own client: login, refusal, transfers that resume the TLS session.
#[test]
fn raw_client_logs_in_and_resumes_tls_at_each_server() {
    for name in NAMES {
        let server = endpoint(name);
        let peer = ([127, 0, 0, 1], server.port).into();
        let (mut client, greeting) = match server.tls {
            Tls::Implicit => Raw::connect_implicit(peer),
            _ => Raw::connect(peer),
        };
        assert_eq!(greeting.code, 220, "{name}: {}", greeting.text);
        if server.tls == Tls::Explicit {
            client.auth_tls();
        }
        client.expect(&format!("USER {USER}"), 331);
        client.expect("PASS wrong", 530);
        client.login(USER, PASSWORD);
        if server.tls == Tls::Implicit {
            client.expect("PBSZ 0", 200);
            client.expect("PROT P", 200);
        }
        client.expect("TYPE I", 200);
        if server.tls != Tls::None {
            let tcp = client.passive();
            client.expect("LIST", 150);
            let mut data = client.data(tcp);
            let resumes = limits::direct(server.software, "resumption").is_none();
            assert_eq!(data.resumed(), resumes, "{name}: resumption of the control session");
            data.read_to_end(&mut Vec::new()).expect("reading a listing");
            // The server may have sent everything and closed already.
            let _ = data.finish();
            assert_eq!(client.read().code, 226, "{name}");
        }
        let file = format!("raw-{name}");
        let last = client.upload(&format!("STOR {file}"), b"raw bytes");
        assert_eq!(last.code, 226, "{name}: {}", last.text);
        let (bytes, last) = client.download(&format!("RETR {file}"));
        assert_eq!(
            (bytes.as_slice(), last.code),
            (&b"raw bytes"[..], 226),
            "{name}: {}",
            last.text
        );
        client.expect(&format!("DELE {file}"), 250);
        client.expect("QUIT", 221);
        assert!(client.at_end(), "{name} keeps the connection open");
    }
}

fn sftp_place(server: &SftpEndpoint, folder: &str) -> (String, std::path::PathBuf) {
    let disk = server.home.join(folder);
    let seen = if server.jailed { folder.to_owned() } else { disk.display().to_string() };
    (seen.trim_start_matches('/').to_owned(), disk)
}

/// Every SFTP client with every SFTP server, without the gateway.
#[test]
fn sftp_clients() {
    type RunCell = fn(&SftpSite, &WorkFolder) -> Vec<Failure>;
    let clients: [(&str, RunCell); 6] = [
        ("openssh", openssh_cell),
        ("preserved", preserved),
        ("lftp", lftp_sftp_cell),
        ("curl", curl_sftp_cell),
        ("psftp", psftp_cell),
        ("paramiko", |site, work_folder| {
            paramiko_cell(site.clone(), work_folder, json!({}), false, |_| None)
        }),
    ];
    let mut cells = Vec::new();
    for name in SFTP_NAMES {
        for (client, run_cell) in clients {
            let run = move || {
                let server = sftp_endpoint(name);
                let (folder, disk) = sftp_place(&server, &format!("direct-{client}-{name}"));
                let work_folder = WorkFolder { folder: &folder, disk: &disk };
                let mut failures = run_cell(&SftpSite::new(server.port), &work_folder);
                failures.retain(|it| limits::direct(server.software, &it.step).is_none());
                if !failures.is_empty() {
                    failures.push(Failure::new("server-log", server.server.log_tail(8)));
                }
                failures
            };
            cells.push(Cell { name: format!("{name}/{client}"), run: Box::new(run) });
        }
    }
    run_all("direct", cells);
}
