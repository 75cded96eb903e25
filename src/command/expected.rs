//! `lockgate expected`.

use std::path::{Path, PathBuf};

use lockgate::admin;

use super::watch::show;

#[derive(clap::Args)]
pub(crate) struct Expected {
    /// Print the entries as JSON
    #[arg(long)]
    json: bool,
    /// Print them every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
}

impl Expected {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let fetch = async || admin::fetch_expected(socket).await;
        show(fetch, admin::expected_table, (self.json, self.watch)).await
    }
}
