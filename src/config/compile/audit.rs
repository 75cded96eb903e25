//! Compiles `audit`.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{folders, value};
use crate::audit::{Format, Output, Receiver, Settings, SyslogSettings};
use crate::config::leaf::Leaf;
use crate::config::machine::Machine;
use crate::config::read::Read;
use crate::config::report::{Location, Problems};
use crate::config::schema::{Audit, File, Syslog};
use crate::config::values::{FileName, HostPort, SyslogTls};
use crate::net::tls::{ClientTls, ClientTlsError, SessionReuse, load_ca};

const TLS_PORT: u16 = 6514;
const CLEAR_PORT: u16 = 514;

pub(super) fn compile(
    file: &File,
    folder: &Path,
    machine: &Machine,
    problems: &mut Problems,
) -> Vec<Settings> {
    let outputs = file.audit.iter().flat_map(|outputs| &outputs.items);
    let mut compiled: Vec<(&Audit, Settings)> = Vec::new();
    for given in outputs {
        check_format(given, problems);
        let Some(output) = output(given, folder, machine, problems) else { continue };
        let earlier = compiled.iter().find(|(_, earlier)| is_same(&earlier.output, &output));
        if let Some((earlier, _)) = earlier {
            let line = earlier.at.mark.line;
            problems.error(&given.at, format!("has the output of line {line} again; remove one"));
        }
        let settings = Settings {
            output,
            format: value(&given.format).copied().unwrap_or_default(),
            sha256: value(&given.sha256).copied().unwrap_or(false),
            when_unavailable: value(&given.when_unavailable).copied().unwrap_or_default(),
        };
        compiled.push((given, settings));
    }
    compiled.into_iter().map(|(_, settings)| settings).collect()
}

/// Two writers of one file would cut each other's records.
fn is_same(one: &Output, other: &Output) -> bool {
    match (one, other) {
        (Output::File(one), Output::File(other)) => one == other,
        (Output::Stdout, Output::Stdout) => true,
        _ => false,
    }
}

fn check_format(given: &Audit, problems: &mut Problems) {
    let Some(format) = given.format.as_ref().filter(|it| it.value == Some(Format::Xferlog)) else {
        return;
    };
    if let Some(sha256) = given.sha256.as_ref().filter(|sha256| sha256.value == Some(true)) {
        let message = "xferlog has no field for it; write `format: json`, or add an output with it";
        problems.error(&sha256.at, message);
    }
    if given.syslog.is_some() {
        let message = "xferlog is for files and standard output; a syslog receiver gets json";
        problems.error(&format.at, message);
    }
}

fn output(
    given: &Audit,
    folder: &Path,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Output> {
    let stdout = given.stdout.as_ref().filter(|stdout| stdout.value != Some(false));
    let all = [
        given.file.as_ref().map(Read::at),
        stdout.map(Read::at),
        given.syslog.as_ref().map(Read::at),
    ];
    let mut all = all.into_iter().flatten();
    let Some(_) = all.next() else {
        // The section has reported an entry without any key.
        let Audit { at, format, sha256, when_unavailable, .. } = given;
        if format.is_some()
            || sha256.is_some()
            || when_unavailable.is_some()
            || given.stdout.is_some()
        {
            problems.error(at, "has no output: write file, stdout: true, or syslog");
        }
        return None;
    };
    if let Some(second) = all.next() {
        let message = "an entry has one output; for several, write a list: audit: [{ … }, { … }]";
        problems.error(second, message);
        return None;
    }
    if let Some(leaf) = &given.file {
        let path = folder.join(&leaf.value.as_ref()?.0);
        check_file(&path, &leaf.at, machine, problems);
        return Some(Output::File(path));
    }
    match &given.syslog {
        Some(syslog) => Some(Output::Syslog(SyslogSettings {
            receiver: receiver(syslog, folder, machine, problems)?,
            facility: value(&syslog.facility).copied().unwrap_or_default(),
        })),
        None => Some(Output::Stdout),
    }
}

fn check_file(path: &Path, at: &Location, machine: &Machine, problems: &mut Problems) {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return problems.error(at, format!("{shown} is a folder: write the name of a file"));
        }
        Ok(metadata) if metadata.file_type().is_fifo() || metadata.file_type().is_socket() => {
            let message = format!("{shown} is not a file: choose another name, or use `syslog`");
            return problems.error(at, message);
        }
        Ok(_) if machine.runs_here => return,
        Ok(_) => {
            if access(path, Access::WRITE_OK).is_err() {
                problems.warning(at, format!("{shown} cannot be written by this user"));
            }
            return;
        }
        Err(_) => {}
    }
    let Some(folder) = folders::of(path) else { return };
    let words = (
        "name",
        ", and the gateway does not start without it: create it, or let the service manager do so \
         (systemd: `LogsDirectory=`)",
    );
    let is_there = folders::check(folder, at, words, machine, problems);
    if is_there && !machine.runs_here && access(folder, Access::WRITE_OK).is_err() {
        let message = format!(
            "the folder {} cannot be written by this user, and the gateway does not start if its user \
             cannot create the file",
            folder.display()
        );
        problems.warning(at, message);
    }
}

fn receiver(
    syslog: &Syslog,
    folder: &Path,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Receiver> {
    match (&syslog.address, &syslog.socket) {
        (None, None) => {
            let message = "has no receiver: write address or socket";
            problems.error(&syslog.at, message);
            None
        }
        (Some(_), Some(socket)) => {
            problems.error(&socket.at, "a receiver has an address or a socket; remove one of them");
            None
        }
        (None, Some(socket)) => {
            for at in [syslog.tls.as_ref().map(Read::at), tls_key(syslog)].into_iter().flatten() {
                problems.error(at, "belongs to `address`; a socket has no TLS");
            }
            let path = folder.join(&socket.value.as_ref()?.0);
            check_socket(&path, &socket.at, machine, problems);
            Some(Receiver::Socket(path))
        }
        (Some(leaf), None) => tcp(syslog, leaf, folder, machine, problems),
    }
}

/// A key that only applies with TLS.
fn tls_key(syslog: &Syslog) -> Option<&Location> {
    syslog.ca.as_ref().map(Read::at).or(syslog.server_name.as_ref().map(Read::at))
}

fn check_socket(path: &Path, at: &Location, machine: &Machine, problems: &mut Problems) {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => problems.error(at, format!("{shown} exists and is not a socket")),
        Err(_) if machine.runs_here => {}
        Err(error) => problems.warning(
            at,
            format!("{shown} cannot be found here ({error}): records wait until it can"),
        ),
    }
}

fn tcp(
    syslog: &Syslog,
    leaf: &Leaf<HostPort>,
    folder: &Path,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Receiver> {
    let address = leaf.value.as_ref()?;
    if value(&syslog.tls) == Some(&SyslogTls::None) {
        if let Some(at) = tls_key(syslog) {
            problems.error(at, "has no effect with `tls: none`; remove one of them");
        }
        if !is_here(&address.host, machine) {
            let message = "records cross the network in clear with `tls: none`: names of users and files, \
                           and anyone between can change them";
            problems.warning(&leaf.at, message);
        }
        let address = address.with_default_port(CLEAR_PORT);
        return Some(Receiver::Tcp { address, tls: None });
    }
    let tls = tls(syslog, &leaf.at, address, folder, problems)?;
    Some(Receiver::Tcp { address: address.with_default_port(TLS_PORT), tls: Some(tls) })
}

/// RFC 6761 section 6.3: `localhost` needs no resolver.
fn is_here(host: &str, machine: &Machine) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(machine.is_own)
}

fn tls(
    syslog: &Syslog,
    at: &Location,
    address: &HostPort,
    folder: &Path,
    problems: &mut Problems,
) -> Option<ClientTls> {
    let roots = match &syslog.ca {
        Some(leaf) => {
            let FileName(file) = leaf.value.as_ref()?;
            let path: PathBuf = folder.join(file);
            Some(load_ca(&path).map_err(|e| problems.error(&leaf.at, e.to_string())).ok()?)
        }
        None => None,
    };
    let (at, name) = match &syslog.server_name {
        Some(leaf) => (&leaf.at, leaf.value.as_ref()?.0.as_str()),
        None => (at, address.host.as_str()),
    };
    match ClientTls::new(name, roots, true, SessionReuse::None) {
        Ok(tls) => Some(tls),
        Err(ClientTlsError::NoSystemRoots) => {
            let message = "the system has no trusted certificates: install ca-certificates, or name the \
                           receiver's certificate authority with `ca`";
            problems.error(&syslog.at, message);
            None
        }
        Err(error) => {
            problems.error(at, error.to_string());
            None
        }
    }
}
