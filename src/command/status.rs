//! `lockgate status`.

use std::path::{Path, PathBuf};

use lockgate::admin;

use super::watch::show;

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
        let fetch = async || admin::fetch_status(socket).await;
        show(fetch, admin::status_text, (self.json, self.watch)).await
    }
}
