//! `lockgate status`.

use std::path::{Path, PathBuf};

use lockgate::admin;

use super::print;
use super::watch::watch;

#[derive(clap::Args)]
pub(crate) struct Status {
    /// Print the state as JSON
    #[arg(long)]
    json: bool,
    /// Print it every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
}

impl Status {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let show = async || {
            let status = admin::fetch_status(socket).await?;
            Ok(match (self.json, self.watch) {
                (false, _) => admin::status_text(&status),
                (true, false) => format!("{status:#}\n"),
                // A document on each line.
                (true, true) => format!("{status}\n"),
            })
        };
        if self.watch { watch(show).await } else { print(&show().await?) }
    }
}
