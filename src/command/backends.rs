//! `lockgate backends`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate::admin;
use lockgate::op::escape::printable;
use serde_json::Value;

use super::{print, print_error};

/// Between two questions about a server that is being drained.
const POLL: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Backends {
    #[command(subcommand)]
    action: Option<Action>,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long, global = true)]
    pub(crate) socket: Option<PathBuf>,
    /// Print the servers as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Send no new sessions to a server, and wait until it has none; the drain goes on if you stop waiting
    Drain {
        /// The server's name, as `lockgate backends` prints it
        server: String,
        /// Do not wait
        #[arg(long)]
        no_wait: bool,
    },
    /// Send sessions to a drained server again
    Undrain {
        /// The server's name
        server: String,
    },
}

impl Backends {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let servers = match &self.action {
            None => admin::fetch_backends(socket).await?,
            Some(Action::Undrain { server }) => admin::drain_backend(socket, server, false).await?,
            Some(Action::Drain { server, no_wait }) => {
                let mut drained = admin::drain_backend(socket, server, true).await?;
                let mut told = None;
                while !no_wait && sessions(&drained) > 0 {
                    let left = sessions(&drained);
                    if told.replace(left) != Some(left) {
                        let server = printable(server.as_bytes());
                        print_error(format_args!("{server} is drained; sessions left: {left}"));
                    }
                    tokio::time::sleep(POLL).await;
                    drained = admin::drain_backend(socket, server, true).await?;
                }
                drained
            }
        };
        print(&if self.json { format!("{servers:#}\n") } else { admin::backends_table(&servers) })
    }
}

fn sessions(answer: &Value) -> u64 {
    answer["servers"][0]["sessions"].as_u64().unwrap_or(0)
}
