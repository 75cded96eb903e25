//! The configuration file: from YAML text to the settings of each module. Modules never import this.
//!
//! All mistakes are reported at once. `tree` parses YAML and keeps positions and duplicate keys, `read`
//! reads it into the `schema` and reports unknown, duplicate and missing keys and invalid values, and
//! `compile` makes settings and reports contradictions.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth::{GuardSettings, UserTable};
use crate::backend::group::{self, ServerSettings};
use crate::data::PoolSettings;
use crate::front::ftp::ListenerSettings;
use crate::net::{CertificateEnd, DrainSettings};
use crate::policy::RuleSet;
use crate::route::RouteTable;
use crate::session::{Limits, ShownUsers};

mod algorithms;
mod compile;
mod fixed;
mod leaf;
mod machine;
mod masked;
mod nearest;
mod read;
mod reference;
mod report;
mod schema;
mod secret;
mod secret_url;
mod stamp;
#[cfg(test)]
mod tests;
mod tree;
mod users_file;
mod values;

pub use fixed::Fixed;
pub use report::{Problem, Report, Severity};
pub use stamp::Stamps;
pub use users_file::UsersFiles;

use machine::Machine;
use read::Read;
use report::{Location, Problems};

/// The largest configuration file, in bytes; users of a `users_file` are not part of it.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// A valid configuration, as the settings of each module.
pub struct Compiled {
    /// The `listeners` with `protocol: ftp`.
    pub listeners: Vec<ListenerSettings>,
    /// The `listeners` with `protocol: sftp`.
    pub sftp_listeners: Vec<crate::front::sftp::ListenerSettings>,
    /// The pools of `data_ports`.
    pub pools: Vec<PoolSettings>,
    /// The servers of all backends, by name: the backend's own, or, of several addresses, that with the
    /// address.
    pub backends: Vec<(String, BackendSettings)>,
    /// How each server is checked and limited, in the same order.
    pub servers: Vec<ServerSettings>,
    /// The servers of each backend.
    pub groups: Vec<group::Settings>,
    /// The users whom the gateway authenticates (`users` and `users_file`).
    pub users: UserTable,
    /// The `login_hooks`, by name.
    pub login_hooks: Vec<crate::auth::hook::Settings>,
    /// The account of each backend (its `login`), for users whom a login hook sends there.
    pub accounts: HashMap<String, crate::route::Account>,
    /// To read the users again (`users_file`).
    pub users_files: Option<UsersFiles>,
    /// The `routes`, in the order of the file.
    pub routes: RouteTable,
    /// The `policy`; `None`: whatever the backends allow.
    pub policy: Option<RuleSet>,
    /// The `policy.limits`.
    pub policy_limits: Vec<crate::policy::limits::Limit>,
    /// The files that are expected (`expect`).
    pub expectations: Vec<crate::expected::Expectation>,
    /// Where daily quotas, and which expected files have arrived, are kept.
    pub state_dir: Option<PathBuf>,
    /// Limits and timeouts (`limits`), with defaults for absent keys.
    pub limits: Limits,
    /// How the gateway ends (`drain`).
    pub drain: DrainSettings,
    /// When clients are delayed and banned (`login_guard`).
    pub login_guard: GuardSettings,
    /// The address of `/metrics`, `/live` and `/ready`.
    pub metrics: Option<SocketAddr>,
    /// Which users the metrics show.
    pub shown_users: ShownUsers,
    /// When the certificates end that the configuration names.
    pub certificate_ends: Vec<CertificateEnd>,
    /// Whether `/ready` needs a backend with a server that is up.
    pub ready_needs_backend: bool,
    /// The operators' Unix socket.
    pub admin_socket: Option<PathBuf>,
    /// The operators' address, and who may use it.
    pub admin_address: Option<(SocketAddr, crate::admin::Access)>,
    /// What is logged, and how (`log`).
    pub log: LogSettings,
    /// The outputs of the audit (`audit`).
    pub audit: Vec<crate::audit::Settings>,
    /// The files that it is made of, as they were, without those of `users_file`.
    pub files: Stamps,
    /// What a running gateway keeps when it gets this configuration.
    pub fixed: Fixed,
    /// As written, without secrets, as JSON.
    pub masked: serde_json::Value,
    /// Whether open sessions are judged anew when it replaces another one (`on_reload`).
    pub judges_sessions: bool,
    /// Warnings; often empty.
    pub warnings: Report,
}

/// The text of a configuration file, to read the files that it names again.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    name: String,
    text: String,
    stamp: Stamps,
}

/// One of the `backends`.
#[derive(Clone)]
pub enum BackendSettings {
    /// `protocol: ftp`, with or without TLS.
    Ftp(crate::backend::ftp::Settings),
    /// `protocol: sftp`.
    Sftp(crate::backend::sftp::Settings),
    /// `protocol: local`: a folder of this machine.
    Local(crate::backend::local::Settings),
}

impl BackendSettings {
    /// The server's name; `backend`: that of a folder, which does not know its own.
    fn name<'a>(&'a self, backend: &'a str) -> &'a str {
        match self {
            Self::Ftp(settings) => &settings.name,
            Self::Sftp(settings) => &settings.name,
            Self::Local(_) => backend,
        }
    }
}

/// `log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// `log.format`. Default: text.
    pub format: LogFormat,
    /// `log.level`. Default: info. `RUST_LOG` overrides it.
    pub level: LogLevel,
}

/// How log lines are written (`log.format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line of text for each event.
    #[default]
    Text,
    /// One JSON object on a line for each event.
    Json,
}

/// The least severe events that are logged (`log.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What failed because of the gateway or its environment.
    Error,
    /// Also what needs an operator's attention.
    Warn,
    /// Also records of sessions, logins and operations.
    #[default]
    Info,
    /// Also details for the diagnosis of a connection.
    Debug,
    /// Everything.
    Trace,
}

impl Source {
    /// Reads the file at `path`, and checks nothing.
    pub fn read(path: &Path) -> Result<Self, Report> {
        // Before it is read: a change meanwhile is found at the first look.
        let stamp = Stamps::of_file(path);
        let (name, text) = read_file(path)?;
        Ok(Self { path: path.to_owned(), name, text, stamp })
    }

    /// As [`Self::read`], of the same file as it is now.
    pub fn read_again(&self) -> Result<Self, Report> {
        if is_special(&self.path) {
            let reason = "is a FIFO or a device, which cannot be read again";
            return Err(unreadable(&self.name, reason.into()));
        }
        Self::read(&self.path)
    }

    /// Checks the text and every file that it names, as they are now, for a gateway that runs here. Blocks.
    pub fn load(&self) -> Result<Compiled, Report> {
        load_in(&self.text, &self.name, folder_of(&self.path), &Machine::local(true))
    }

    /// The files that it names, as they are now.
    pub fn named_files(&self) -> Stamps {
        let (mut problems, mut files) = (Problems::default(), Stamps::default());
        if let Some(root) = tree::parse(&self.text, &mut problems) {
            schema::File::read(&root, Location::default(), &mut problems);
        }
        let folder = folder_of(&self.path);
        files.set(problems.files().iter().map(|(_, file)| folder.join(file)));
        files
    }

    /// Tells this version of the file from others.
    pub fn stamp(&self) -> &Stamps {
        &self.stamp
    }

    /// The configuration file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads and checks the file at `path` and every file that it names, for a gateway that runs here.
pub fn load(path: &Path) -> Result<Compiled, Report> {
    Source::read(path)?.load()
}

/// As [`load`], only to check: maybe on another machine, or beside the running gateway. Also warns of what
/// would fail at a start: tries addresses, ports and names, which takes a few seconds at most.
pub fn check(path: &Path) -> Result<Report, Report> {
    load_file(path, &Machine::local(false)).map(|compiled| compiled.warnings)
}

/// As [`check`], for `doctor`, which looks up names, tries addresses and asks for the limit of open files itself:
/// without warnings of these.
pub fn load_to_examine(path: &Path) -> Result<Compiled, Report> {
    let machine = Machine {
        availability: |_| machine::Availability::Free,
        resolve: |_| machine::Names::new(),
        descriptors: None,
        ..Machine::local(false)
    };
    load_file(path, &machine)
}

/// The file's `admin.socket`, if it has one. Checks nothing else.
pub fn admin_socket(path: &Path) -> Result<Option<PathBuf>, Report> {
    let (name, text) = read_file(path)?;
    let mut problems = Problems::default();
    let root = tree::parse(&text, &mut problems);
    let Some(root) = root else { return Err(report(&name, &text, None, problems)) };
    let file = schema::File::read(&root, Location::default(), &mut problems);
    let socket = file.admin.and_then(|admin| admin.socket?.value);
    Ok(socket.map(|socket| folder_of(path).join(socket.0)))
}

fn load_file(path: &Path, machine: &Machine) -> Result<Compiled, Report> {
    let (name, text) = read_file(path)?;
    load_in(&text, &name, folder_of(path), machine)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// `root`: of the text, if that is YAML.
fn report(name: &str, text: &str, root: Option<&tree::Node>, problems: Problems) -> Report {
    // Nobody reads lines if there is nothing to say.
    let lines = if problems.is_empty() {
        Vec::new()
    } else {
        secret::lines(text, root.map(masked::spans).as_deref())
    };
    Report::new(name, lines, problems)
}

fn unreadable(name: &str, reason: String) -> Report {
    let mut problems = Problems::default();
    problems.error(&Location::default(), reason);
    report(name, "", None, problems)
}

/// The file's name, for messages, and its text.
fn read_file(path: &Path) -> Result<(String, String), Report> {
    let name = path.display().to_string();
    let unreadable = |reason: String| unreadable(&name, reason);
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|e| unreadable(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(unreadable(format!("has more than {FILE_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|b| **b == b'\n').count() + 1;
        unreadable(format!("line {line} is not UTF-8 text"))
    })?;
    Ok((name, text))
}

/// As [`load`], for text without a file. Relative file names are relative to the current folder.
pub fn load_str(text: &str, name: &str) -> Result<Compiled, Report> {
    load_in(text, name, Path::new(""), &Machine::local(true))
}

/// Whether it is there, and is neither a file nor a folder; /dev/null is as good as an empty file.
fn is_special(path: &Path) -> bool {
    let special = |metadata: std::fs::Metadata| !metadata.is_file() && !metadata.is_dir();
    std::fs::metadata(path).is_ok_and(special) && path != Path::new("/dev/null")
}

/// The JSON Schema of the file.
pub fn json_schema() -> serde_json::Value {
    let mut schema = <schema::File as Read>::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema
}

/// The reference of the file's keys, as Markdown (docs/configuration-reference.md).
pub fn reference() -> String {
    reference::markdown(&<schema::File as Read>::section_keys())
}

fn load_in(text: &str, name: &str, folder: &Path, machine: &Machine) -> Result<Compiled, Report> {
    let mut problems = Problems::default();
    let root = tree::parse(text, &mut problems);
    let compiled = root.as_ref().and_then(|root| {
        let mut file = schema::File::read(root, Location::default(), &mut problems);
        // Before they are read: a change meanwhile is found at the first look.
        let mut files = Stamps::default();
        let paths = problems.files().iter().map(|(at, file)| (at.clone(), folder.join(file)));
        let paths: Vec<_> = paths.collect();
        files.set(paths.iter().map(|(_, path)| path.clone()));
        // A FIFO may have no end, and a device may have none either, which would stop a reload for ever.
        if let Some((at, path)) = paths.iter().find(|(_, path)| is_special(path)) {
            let message = "is a FIFO or a device; write the name of a file";
            problems.error(at, format!("{} {message}", path.display()));
            return None;
        }
        let added = users_file::add(&mut file, folder, &mut problems);
        let compiled = compile::compile(&file, folder, machine, &mut problems);
        let users_files = added.map(|added| added.with(&compiled.users));
        let (fixed, masked) = (Fixed::of(root), masked::masked(root));
        Some(Compiled { users_files, files, fixed, masked, ..compiled })
    });
    if compiled.is_none() && problems.is_empty() {
        problems.error(&Location::default(), "is empty");
    }
    let report = report(name, text, root.as_ref(), problems);
    match compiled {
        Some(compiled) if !report.has_errors() => Ok(Compiled { warnings: report, ..compiled }),
        _ => Err(report),
    }
}
