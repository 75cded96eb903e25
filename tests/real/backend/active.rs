//! `data_mode: active`: the server connects to the gateway.

use super::{client, gateway, server};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::pattern;
use crate::support::servers::{NAMES, endpoint};

fn cell(name: &'static str) -> Vec<Failure> {
    let endpoint = endpoint(name);
    let keys = format!("{}, data_mode: active", server(&endpoint));
    let gateway = gateway(&[("back", keys)]);
    let bytes = pattern((1 << 20) + 3);
    let mut failures = Vec::new();
    for listener in ["back", "back-tls"] {
        let mut client = client(&gateway, listener);
        let file = format!("active-{name}-{listener}.bin");
        // The second round needs a port of its own again.
        for round in 1..=2 {
            let stored = client.upload(&format!("STOR {file}"), &bytes);
            let on_disk = std::fs::read(endpoint.home.join(&file)).unwrap_or_default();
            if stored.code != 226 || on_disk != bytes {
                failures.push(Failure::new("up", format!("{listener} {round}: {}", stored.text)));
            }
            let (read, last) = client.download(&format!("RETR {file}"));
            if last.code != 226 || read != bytes {
                failures.push(Failure::new("down", format!("{listener} {round}: {}", last.text)));
            }
        }
        let (names, last) = client.download("NLST");
        if last.code != 226 || !String::from_utf8_lossy(&names).contains(&file) {
            failures.push(Failure::new("list", format!("{listener}: {}", last.text)));
        }
        client.expect(&format!("DELE {file}"), 250);
        client.expect("QUIT", 221);
    }
    failures
}

#[test]
fn up_and_down() {
    let cells = NAMES.into_iter();
    let cells = cells.map(|name| Cell { name: name.to_owned(), run: Box::new(move || cell(name)) });
    run_all("active", cells.collect());
}
