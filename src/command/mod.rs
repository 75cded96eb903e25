//! Subcommands that are more than a call.

pub(crate) mod backends;
pub(crate) mod bans;
pub(crate) mod doctor;
pub(crate) mod documents;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod ports;
pub(crate) mod reload;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod show;
pub(crate) mod users;

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;

/// Prints to standard output. A closed pipe, as with head, is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match write_out(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints to standard error; ignores errors.
pub(crate) fn print_error(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
