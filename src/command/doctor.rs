//! `lockgate doctor`.

use std::io::{BufRead, IsTerminal, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use lockgate::auth;
use lockgate::config::{self, Compiled};
use lockgate::doctor::through::{self, Protocol, Way};
use lockgate::doctor::{self, Report};
use lockgate::net::tls;
use zeroize::Zeroizing;

use super::{print, print_error};

const PASSWORD_VARIABLE: &str = "LOCKGATE_DOCTOR_PASSWORD";

#[derive(clap::Args)]
pub(crate) struct Doctor {
    /// Log in at a gateway through the firewalls on the way, from any machine, instead of looking at this one
    #[arg(long, value_name = "HOST:PORT", requires = "user")]
    through: Option<String>,
    /// The user name for --through; the password comes from --password-file, the variable
    /// LOCKGATE_DOCTOR_PASSWORD or standard input
    #[arg(long, requires = "through")]
    user: Option<String>,
    /// A file with the password on its first line
    #[arg(long, value_name = "FILE", requires = "through")]
    password_file: Option<PathBuf>,
    /// What is spoken at the port [default: as the gateway greets; FTP with AUTH TLS]
    #[arg(long, value_enum, requires = "through")]
    protocol: Option<Spoken>,
    /// Also log in without TLS, to see whether replies are rewritten: sends the password in clear
    #[arg(long, requires = "through")]
    clear: bool,
    /// A PEM file with the authority of the gateway's certificate [default: the system's authorities]
    #[arg(long, value_name = "FILE", requires = "through")]
    ca: Option<PathBuf>,
    /// The name in the gateway's certificate [default: the host of --through]
    #[arg(long, value_name = "NAME", requires = "through")]
    server_name: Option<String>,
    /// Accept any certificate: the password may go to somebody else
    #[arg(long, requires = "through", conflicts_with = "ca")]
    danger_accept_any_certificate: bool,
    /// The fingerprint of the gateway's SSH host key
    #[arg(long, value_name = "SHA256:…", requires = "through")]
    host_key: Option<String>,
    /// Try each of these data ports, as clients see them [default: those of --config, if it has one pool]
    #[arg(long, value_name = "FIRST-LAST", requires = "through", value_parser = port_range)]
    data_ports: Option<RangeInclusive<u16>>,
    /// Also show what firewalls must let through; always shown with --through
    #[arg(long)]
    firewall: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Spoken {
    /// FTP without TLS
    Ftp,
    /// FTP with AUTH TLS
    Ftps,
    /// FTP with TLS from the first byte on
    ImplicitFtps,
    /// SFTP
    Sftp,
}

impl Doctor {
    /// The configuration. --through needs it only if it was named.
    pub(crate) fn configuration(
        &self,
        named: Option<&Path>,
        path: &Path,
    ) -> Result<Option<Compiled>, config::Report> {
        if self.through.is_some() && named.is_none() {
            return Ok(None);
        }
        config::load_to_examine(path).map(Some)
    }

    /// The exit status is 1 if there are problems.
    pub(crate) async fn run(
        self: Box<Self>,
        path: &Path,
        config: Option<Compiled>,
    ) -> anyhow::Result<ExitCode> {
        let report = match (&self.through, config) {
            (Some(target), config) => self.go_through(target, config).await?,
            (None, Some(config)) => doctor::examine(path, config).await?,
            (None, None) => anyhow::bail!("there is no configuration"),
        };
        let with_firewall = self.firewall || self.through.is_some();
        let text =
            if self.json { format!("{:#}\n", report.json()) } else { report.text(with_firewall) };
        print(&text)?;
        Ok(if report.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn go_through(&self, target: &str, config: Option<Compiled>) -> anyhow::Result<Report> {
        let (host, port) = host_and_port(target)?;
        let authorities = self.ca.as_deref().map(tls::load_ca).transpose()?;
        let openings = config.as_ref().map(doctor::openings);
        let from_config = || config.as_ref().and_then(doctor::client_ports);
        let way = Way {
            host,
            port,
            protocol: self.protocol.map(Protocol::from),
            user: self.user.clone().unwrap_or_default(),
            password: self.password()?,
            clear: self.clear,
            authorities,
            server_name: self.server_name.clone(),
            accept_any_certificate: self.danger_accept_any_certificate,
            host_key: self.host_key.clone(),
            data_ports: self.data_ports.clone().or_else(from_config),
        };
        let mut report = through::examine(&way).await;
        report.openings.extend(openings.unwrap_or_default());
        Ok(report)
    }

    fn password(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let line = match (&self.password_file, std::env::var_os(PASSWORD_VARIABLE)) {
            (Some(file), _) => {
                let opened = std::fs::File::open(file);
                let opened = opened.with_context(|| format!("opening {}", file.display()))?;
                first_line(opened).with_context(|| format!("reading {}", file.display()))?
            }
            (None, Some(variable)) => Zeroizing::new(variable.into_encoded_bytes()),
            (None, None) => {
                if std::io::stdin().is_terminal() {
                    print_error("Type the password (it is shown), then Enter:");
                }
                first_line(std::io::stdin().lock()).context("reading the password")?
            }
        };
        anyhow::ensure!(
            !line.is_empty(),
            "no password: use --password-file, {PASSWORD_VARIABLE} or standard input"
        );
        let max = auth::PASSWORD_MAX;
        anyhow::ensure!(line.len() <= max, "a password has at most {max} bytes");
        Ok(line)
    }
}

/// Without its end.
fn first_line(from: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let limit = auth::PASSWORD_MAX as u64 + 2;
    let mut line = Zeroizing::new(Vec::new());
    std::io::BufReader::new(from.take(limit)).read_until(b'\n', &mut line)?;
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    Ok(line)
}

fn host_and_port(target: &str) -> anyhow::Result<(String, u16)> {
    let expected =
        || format!("--through expects HOST:PORT, such as ftp.example.com:21, not \"{target}\"");
    let (host, port) = target.rsplit_once(':').with_context(expected)?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0).with_context(expected)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(host) => host,
        None if host.contains(':') => {
            anyhow::bail!("write the IPv6 address in brackets: --through [{host}]:{port}")
        }
        None => host,
    };
    anyhow::ensure!(!host.is_empty(), expected());
    Ok((host.to_owned(), port))
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let expected = "expected a port or FIRST-LAST, such as 50000-50099";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
    let (Some(first), Some(last)) = (port(first), port(last)) else { return Err(expected.into()) };
    if first > last {
        return Err(format!("{first} is greater than {last}"));
    }
    Ok(first..=last)
}

impl From<Spoken> for Protocol {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Ftp => Self::Ftp,
            Spoken::Ftps => Self::ExplicitTls,
            Spoken::ImplicitFtps => Self::ImplicitTls,
            Spoken::Sftp => Self::Sftp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_ranges_are_read() {
        let read = |target| host_and_port(target).map_err(|error| error.to_string());
        assert_eq!(read("ftp.example.com:21"), Ok(("ftp.example.com".into(), 21)));
        assert_eq!(read("[2001:db8::1]:990"), Ok(("2001:db8::1".into(), 990)));
        for wrong in ["ftp.example.com", "ftp.example.com:", ":21", "a:0", "a:99999"] {
            assert!(read(wrong).unwrap_err().contains("HOST:PORT"), "{wrong}");
        }
        assert!(read("2001:db8::1:21").unwrap_err().contains("in brackets"));
        assert_eq!(port_range("50000-50099"), Ok(50_000..=50_099));
        assert_eq!(port_range("50000"), Ok(50_000..=50_000));
        for wrong in ["", "a-b", "0-5", "7-3", "1-70000"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_the_first_line() {
        assert_eq!(**first_line(&b"secret\r\nmore"[..]).unwrap(), *b"secret");
        assert_eq!(**first_line(&b"secret"[..]).unwrap(), *b"secret");
    }
}
