//! The clients against the servers with no gateway between: what fails here is the server's own.

use crate::support::DataMode;
use crate::support::cells::{Cell, curl_cell, lftp_cell, run_all, session_cell};
use crate::support::clients::Site;
use crate::support::clients::session::TlsVersion;
use crate::support::servers::{Endpoint, NAMES, endpoint};

fn site(endpoint: &Endpoint) -> Site {
    Site::new(endpoint.port, endpoint.tls)
}

#[test]
fn sessions() {
    let mut cells = Vec::new();
    for name in NAMES {
        for data in DataMode::ALL {
            let run = move || {
                let server = endpoint(name);
                let folder = format!("direct-{name}-{}", data.name());
                session_cell(site(&server), data, TlsVersion::Newest, &folder, server.home, |_| {
                    None
                })
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
            for data in DataMode::ALL {
                let folder = format!("direct-curl-{name}-{}", data.name());
                failures.extend(curl_cell(&site(&server), data, &folder, server.home));
            }
            failures
        };
        cells.push(Cell { name: format!("{name}/curl"), run: Box::new(curl) });
        let lftp = move || {
            let server = endpoint(name);
            lftp_cell(&site(&server), &format!("direct-lftp-{name}"), server.home)
        };
        cells.push(Cell { name: format!("{name}/lftp"), run: Box::new(lftp) });
    }
    run_all("direct", cells);
}
