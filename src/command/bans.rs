//! `lockgate bans`.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lockgate::admin;

use super::print;

#[derive(clap::Args)]
pub(crate) struct Bans {
    /// Lift the ban of this address, and forget its failed logins
    #[arg(long, value_name = "ADDRESS")]
    lift: Option<IpAddr>,
    /// For those who write `lift` as a subcommand
    #[arg(hide = true, value_parser = no_subcommand)]
    _subcommand: Option<Infallible>,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
    /// Print the bans as JSON
    #[arg(long, conflicts_with = "lift")]
    json: bool,
}

fn no_subcommand(_: &str) -> Result<Infallible, &'static str> {
    Err("to lift a ban, write --lift and the address")
}

impl Bans {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        if let Some(address) = self.lift {
            let was_banned = admin::lift_ban(socket, address).await?;
            anyhow::ensure!(was_banned, "{address} is not banned; its failed logins are forgotten");
            return print(&format!("{address} is no longer banned\n"));
        }
        let bans = admin::fetch_bans(socket).await?;
        print(&if self.json { format!("{bans:#}\n") } else { admin::bans_table(&bans) })
    }
}
