//! `lockgate drain`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate::admin;
use tokio::net::UnixStream;

use super::{print, print_error};

/// Between two questions how far the drain is.
const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct DrainGateway {
    /// Show the progress, and return when the gateway has ended; the drain goes on if you stop waiting
    #[arg(long)]
    wait: bool,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
    /// Print the progress as JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl DrainGateway {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let mut progress = admin::drain_gateway(socket).await?;
        let process = progress["process"].clone();
        let mut told = None;
        loop {
            let changed = (progress["phase"].clone(), progress["sessions"].clone());
            if told.as_ref() != Some(&changed) {
                told = Some(changed);
                let line =
                    if self.json { progress.to_string() } else { admin::drain_text(&progress) };
                print(&format!("{line}\n"))?;
            }
            if !self.wait {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
            progress = match admin::fetch_drain(socket).await {
                Ok(next) if next["process"] == process => next,
                // Another gateway has the socket now.
                Ok(_) => break,
                Err(_) if UnixStream::connect(socket).await.is_err() => break,
                Err(error) => return Err(error),
            };
        }
        if !self.json {
            print_error("the gateway has ended; its exit status says whether transfers were cut");
        }
        Ok(())
    }
}
