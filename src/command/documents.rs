//! `lockgate completions` and `lockgate man`: what a package has beside the program.

use std::path::PathBuf;

use anyhow::Context;
use clap_complete::Shell;

use super::print;

#[derive(clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(clap::Args)]
pub(crate) struct ManualPages {
    /// The folder for the pages, which is made if it does not exist
    folder: PathBuf,
}

impl Completions {
    /// Prints the script for all of `command`.
    pub(crate) fn run(&self, mut command: clap::Command) -> anyhow::Result<()> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        print(&String::from_utf8(script).context("the script is not UTF-8")?)
    }
}

impl ManualPages {
    /// Writes a page for `command` and for each of its subcommands.
    pub(crate) fn run(&self, command: clap::Command) -> anyhow::Result<()> {
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(command, &self.folder));
        written.with_context(|| format!("writing manual pages to {}", self.folder.display()))
    }
}
