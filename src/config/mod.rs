//! The configuration file: from YAML text to each module's own settings. Modules never import this.
//!
//! Nothing stops at the first mistake. `tree` keeps every position and duplicate key, `read` walks
//! it against the `schema` and notes unknown, duplicate and missing keys and wrong values, and
//! `compile` makes settings of what is left and notes what does not fit together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth::UserTable;
use crate::data::PoolSettings;
use crate::front::ftp::ListenerSettings;
use crate::route::RouteTable;
use crate::session::Limits;

mod algorithms;
mod compile;
mod leaf;
mod nearest;
mod read;
mod report;
mod schema;
mod secret;
mod surroundings;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use report::{Problem, Report, Severity};

use read::Read;
use report::{At, Problems};
use surroundings::Surroundings;

/// A configuration without errors, as each module wants it.
pub struct Compiled {
    pub listeners: Vec<ListenerSettings>,
    pub sftp_listeners: Vec<crate::front::sftp::ListenerSettings>,
    pub pools: Vec<PoolSettings>,
    /// By name.
    pub backends: Vec<(String, BackendSettings)>,
    pub users: UserTable,
    pub routes: RouteTable,
    pub limits: Limits,
    /// Where `/metrics`, `/live` and `/ready` are served.
    pub metrics: Option<SocketAddr>,
    /// The operators' Unix socket.
    pub admin_socket: Option<PathBuf>,
    pub log: LogSettings,
    /// What is allowed and has no effect, or not the one that it seems to have; often empty.
    pub warnings: Report,
}

/// One of the `backends`.
#[derive(Clone)]
pub enum BackendSettings {
    Ftp(crate::backend::ftp::Settings),
    Sftp(crate::backend::sftp::Settings),
    Local(crate::backend::local::Settings),
}

/// `log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Reads and checks the file at `path` and every file that it names, for a gateway that is to run here.
pub fn load(path: &Path) -> Result<Compiled, Report> {
    load_file(path, &Surroundings::of_this_machine(true))
}

/// As [`load`], to know what is wrong: maybe on another machine than the gateway's, or beside it. Brings
/// the warnings, among them what only a start would find out: addresses, ports and names are tried, which
/// takes seconds at most.
pub fn check(path: &Path) -> Result<Report, Report> {
    load_file(path, &Surroundings::of_this_machine(false)).map(|compiled| compiled.warnings)
}

/// Where the gateway of this file lets operators look (`admin.socket`), if it does. Nothing else in it
/// is judged.
pub fn admin_socket(path: &Path) -> Result<Option<PathBuf>, Report> {
    let (name, text) = read_file(path)?;
    let mut problems = Problems::default();
    let root = tree::parse(&text, &mut problems);
    let Some(root) = root else { return Err(Report::new(&name, &text, problems)) };
    let file = schema::File::read(&root, At::default(), &mut problems);
    let socket = file.admin.and_then(|admin| admin.socket?.value);
    Ok(socket.map(|socket| folder_of(path).join(socket.0)))
}

fn load_file(path: &Path, surroundings: &Surroundings) -> Result<Compiled, Report> {
    let (name, text) = read_file(path)?;
    load_in(&text, &name, folder_of(path), surroundings)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The file's name, for messages, and its text.
fn read_file(path: &Path) -> Result<(String, String), Report> {
    let name = path.display().to_string();
    let unreadable = |reason: String| {
        let mut problems = Problems::default();
        problems.error(&At::default(), reason);
        Report::new(&name, "", problems)
    };
    let bytes = std::fs::read(path).map_err(|e| unreadable(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        unreadable(format!("line {line} is not UTF-8 text"))
    })?;
    Ok((name, text))
}

/// As [`load`], for text that stands in no file. Relative file names are seen from the current folder.
pub fn load_str(text: &str, name: &str) -> Result<Compiled, Report> {
    load_in(text, name, Path::new(""), &Surroundings::of_this_machine(true))
}

/// The JSON Schema of the file.
pub fn json_schema() -> serde_json::Value {
    let mut schema = <schema::File as Read>::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema
}

fn load_in(
    text: &str,
    name: &str,
    folder: &Path,
    surroundings: &Surroundings,
) -> Result<Compiled, Report> {
    let mut problems = Problems::default();
    let compiled = tree::parse(text, &mut problems).and_then(|root| {
        let file = schema::File::read(&root, At::default(), &mut problems);
        compile::compile(&file, folder, surroundings, &mut problems)
    });
    if compiled.is_none() && problems.is_empty() {
        problems.error(&At::default(), "holds no configuration");
    }
    let report = Report::new(name, text, problems);
    match compiled {
        Some(compiled) if !report.has_errors() => Ok(Compiled { warnings: report, ..compiled }),
        _ => Err(report),
    }
}
