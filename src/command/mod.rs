//! Subcommands that are more than a call.

pub(crate) mod backends;
pub(crate) mod bans;
pub(crate) mod doctor;
pub(crate) mod users;

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;

/// Prints to standard output. A closed pipe, as with head, is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}

/// Prints to standard error; ignores errors.
pub(crate) fn print_error(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
