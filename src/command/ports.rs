//! `lockgate ports`.

use std::path::{Path, PathBuf};

use lockgate::admin;

use super::print;

#[derive(clap::Args)]
pub(crate) struct Ports {
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
    /// Print all ports as JSON
    #[arg(long)]
    json: bool,
}

impl Ports {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let ports = admin::fetch_ports(socket).await?;
        print(&if self.json { format!("{ports:#}\n") } else { admin::table(&ports) })
    }
}
