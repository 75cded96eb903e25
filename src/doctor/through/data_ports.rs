//! Whether each data port can be reached. The gateway listens at all of them all the time, so each is connected to;
//! the gateway counts these connections as strays.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::doctor::finding::Findings;
use crate::doctor::ports::ranges;
use crate::doctor::reach::{self, Attempt};

/// For each port.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Connections at once: firewalls take more for a scan.
const AT_ONCE_MAX: usize = 8;
/// The most ports that are tried.
const PORTS_MAX: usize = 1000;

/// `advertised`: in a reply to PASV or EPSV.
pub(super) async fn examine(
    advertised: SocketAddr,
    range: Option<RangeInclusive<u16>>,
    findings: &mut Findings,
) {
    let Some(range) = range else {
        let message = format!("only port {} was tried", advertised.port());
        findings.skipped(message, "--data-ports FIRST-LAST tries all: the range of `data_ports`");
        return;
    };
    if !range.contains(&advertised.port()) {
        findings.problem(
            format!(
                "the gateway named port {}, which is not one of {}-{}",
                advertised.port(),
                range.start(),
                range.end()
            ),
            "correct --data-ports, or `port_offset` of `advertise`",
        );
        return;
    }
    let attempts: Vec<(u16, Attempt)> = stream::iter(range.clone().take(PORTS_MAX))
        .map(async |port| {
            let to = SocketAddr::new(advertised.ip(), port);
            (port, reach::attempt(to, None, TIMEOUT).await)
        })
        .buffered(AT_ONCE_MAX)
        .collect()
        .await;
    judge(advertised, &attempts, findings);
    if range.len() > PORTS_MAX {
        findings.skipped(
            format!("only the first {PORTS_MAX} of {} ports were tried", range.len()),
            "give a part of the range",
        );
    }
}

fn judge(advertised: SocketAddr, attempts: &[(u16, Attempt)], findings: &mut Findings) {
    let of = |wanted: fn(&Attempt) -> bool| -> Vec<u16> {
        attempts.iter().filter(|(_, it)| wanted(it)).map(|(port, _)| *port).collect()
    };
    let ip = advertised.ip();
    let open = of(|it| *it == Attempt::Connected);
    let silent = of(|it| *it == Attempt::Silent);
    let refused = of(|it| *it == Attempt::Refused);
    let failed = of(|it| matches!(it, Attempt::NoRoute | Attempt::Failed(_)));
    if !open.is_empty() {
        findings.ok(format!("{ip} accepts connections at {} ports: {}", open.len(), ranges(&open)));
    }
    if !silent.is_empty() {
        let what = format!("{ip} does not answer at {} ports: {}", silent.len(), ranges(&silent));
        let remedy = if open.is_empty() {
            "a firewall drops them all: let clients connect to the whole range. If a listing worked above, the \
             firewall opens ports for the replies that it reads, which fails under TLS"
        } else {
            "a firewall drops these: let clients connect to the whole range. Now some transfers hang, at random"
        };
        findings.problem(what, remedy);
    }
    if !refused.is_empty() {
        findings.problem(
            format!("{ip} refuses connections at {} ports: {}", refused.len(), ranges(&refused)),
            "a firewall or NAT does not forward these, or the gateway's range is smaller",
        );
    }
    if !failed.is_empty() {
        let shown = ranges(&failed);
        findings.problem(format!("{ip} cannot be connected to at: {shown}"), "see to the routes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_ports_are_named() {
        let mut findings = Findings::new("t");
        let attempts = [
            (1, Attempt::Connected),
            (2, Attempt::Silent),
            (3, Attempt::Connected),
            (4, Attempt::Connected),
            (5, Attempt::Refused),
        ];
        judge("198.51.100.1:1".parse().unwrap(), &attempts, &mut findings);
        let text = findings.text();
        assert!(text.contains("ok 198.51.100.1 accepts connections at 3 ports: 1, 3-4"), "{text}");
        assert!(text.contains("problem 198.51.100.1 does not answer at 1 ports: 2 "), "{text}");
        assert!(text.contains("problem 198.51.100.1 refuses connections at 1 ports: 5 "), "{text}");
    }

    #[tokio::test]
    async fn each_port_of_the_range_is_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut findings = Findings::new("t");
        examine(at, Some(at.port()..=at.port()), &mut findings).await;
        assert!(findings.text().starts_with("ok 127.0.0.1 accepts connections at 1 ports"));
        let mut findings = Findings::new("t");
        examine(at, Some(1..=1), &mut findings).await;
        assert!(findings.text().starts_with("problem the gateway named port"));
        let mut findings = Findings::new("t");
        examine(at, None, &mut findings).await;
        assert!(findings.text().starts_with("skipped only port"));
    }
}
