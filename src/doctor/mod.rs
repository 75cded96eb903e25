//! What `check` cannot know (`lockgate doctor`): the servers behind the gateway, the ports and limits of this
//! machine, and, from any machine, the way to a gateway through firewalls (`through`).
//!
//! Each check gathers facts and then judges them, in a function of its own that a test can call. Nothing is
//! changed: no file is written, no transfer but a listing is made.

mod advertised;
mod backends;
mod certificates;
mod clock;
mod files;
mod finding;
mod firewall;
mod holder;
mod memory;
mod ports;
mod reach;
mod report;
mod running;
pub mod through;

use std::path::Path;

use futures_util::future::{join_all, join3};
use prometheus::Registry;

use crate::auth::hook;
use crate::config::{Compiled, Report as ConfigReport};
use crate::net::Connectors;
use finding::Findings;
use running::RunningGateway;

pub use finding::{Finding, Level};
pub use firewall::{Opening, client_ports, openings};
pub use report::Report;

/// Looks at everything that the configuration names, as the user who calls it. Takes at most about a minute.
pub async fn examine(path: &Path, config: Compiled) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.add(of_configuration(path, &config.warnings));
    report.add(certificates::examine(&config));
    let running = RunningGateway::find(config.admin_socket.as_deref()).await;
    report.add(running::examine(&config, &running));
    report.add(ports::examine(&config, &running));
    report.add(files::examine(&config));
    report.add(memory::examine(&config, &running));
    report.add(clock::examine(path));
    report.openings = firewall::openings(&config);
    let connectors = Connectors::register(&Registry::new())?;
    let (advertised, others, backends) = join3(
        advertised::examine(&config, &running),
        join_all(others(&config).into_iter().map(|other| other.examine())),
        backends::examine(&config, &connectors),
    )
    .await;
    report.add(backends);
    others.into_iter().for_each(|findings| report.add(findings));
    report.add(advertised);
    Ok(report)
}

/// The warnings of `check`, each with its place in the file.
fn of_configuration(path: &Path, warnings: &ConfigReport) -> Findings {
    let mut findings = Findings::new("configuration");
    if warnings.is_empty() {
        findings.ok(format!("{}: no warnings", path.display()));
    }
    for problem in warnings.problems() {
        let line = match problem.line {
            0 => String::new(),
            line => format!(":{line}"),
        };
        let place = format!("{}{line}: {}", path.display(), problem.path);
        findings.warning(format!("{place}: {}", problem.message));
    }
    findings
}

/// Servers that are neither backends nor clients.
struct Other {
    topic: String,
    address: String,
}

impl Other {
    async fn examine(self) -> Findings {
        let mut findings = Findings::new(self.topic);
        reach::examine(&self.address, None, reach::TIMEOUT, &mut findings).await;
        findings
    }
}

fn others(config: &Compiled) -> Vec<Other> {
    use crate::audit::{Output, Receiver, SyslogSettings};
    let receivers = config.audit.iter().filter_map(|output| match &output.output {
        Output::Syslog(SyslogSettings { receiver: Receiver::Tcp { address, .. }, .. }) => {
            Some(Other { topic: "audit receiver".to_owned(), address: address.clone() })
        }
        _ => None,
    });
    let hooks = config.login_hooks.iter().filter_map(|hook| match &hook.endpoint.server {
        hook::Server::Tcp { address, .. } => {
            Some(Other { topic: format!("login hook \"{}\"", hook.name), address: address.clone() })
        }
        hook::Server::Socket(_) => None,
    });
    receivers.chain(hooks).collect()
}
