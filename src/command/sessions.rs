//! `lockgate sessions` and `lockgate kick`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lockgate::admin::{self, Kicked, Selection};
use lockgate::op::escape::printable;

use super::print;
use super::show::Show;

#[derive(clap::Args)]
pub(crate) struct Sessions {
    /// Only sessions that are logged in, or being logged in, as this user
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("selection").required(true))]
pub(crate) struct Kick {
    /// The session's number, as in `lockgate sessions` and in the log
    #[arg(group = "selection", value_parser = session_number)]
    id: Option<u64>,
    /// All sessions that are logged in, or being logged in, as this user
    #[arg(long, group = "selection")]
    user: Option<String>,
    /// All sessions of clients at this IP address
    #[arg(long, group = "selection")]
    address: Option<IpAddr>,
    /// All sessions of users whose route leads to this backend
    #[arg(long, group = "selection")]
    backend: Option<String>,
    /// Let running transfers end first, and start no further ones
    #[arg(long)]
    after_transfers: bool,
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
}

fn session_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        "it is not the number of a session (`lockgate sessions`); a user's name goes with --user".to_owned()
    })
}

impl Sessions {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let selection = self.user.clone().map(Selection::User);
        let fetch = async || admin::fetch_sessions(socket, selection.as_ref()).await;
        self.show.run(fetch, admin::sessions_table).await
    }
}

impl Kick {
    /// Fails if there was no such session, or a process before the running one has not answered.
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<()> {
        let (selection, named) = self.selection()?;
        let Kicked { ended, unanswered } =
            admin::kick_sessions(socket, &selection, self.after_transfers).await?;
        if ended > 0 {
            self.print_ended(ended)?;
        }
        anyhow::ensure!(unanswered.is_empty(), unanswered.join("\n"));
        anyhow::ensure!(ended > 0, "no session {named} is open");
        Ok(())
    }

    fn print_ended(&self, ended: u64) -> anyhow::Result<()> {
        let (is, will) = match ended {
            1 => ("session", "is"),
            _ => ("sessions", "are"),
        };
        let when = if self.after_transfers { " once no transfer is running" } else { "" };
        print(&format!("{ended} {is} {will} ended{when}\n"))
    }

    /// With words for it.
    fn selection(&self) -> anyhow::Result<(Selection, String)> {
        let Self { id, user, address, backend, .. } = self;
        Ok(match (id, user, address, backend) {
            (Some(id), ..) => (Selection::Session(*id), id.to_string()),
            (_, Some(user), ..) => {
                let named = format!("of the user {}", printable(user.as_bytes()));
                (Selection::User(user.clone()), named)
            }
            (_, _, Some(address), _) => {
                (Selection::Address(address.to_canonical()), format!("from {address}"))
            }
            (.., Some(backend)) => {
                let named = format!("at the backend {}", printable(backend.as_bytes()));
                (Selection::Backend(backend.clone()), named)
            }
            // clap requires one.
            _ => anyhow::bail!("give the session's number, --user, --address or --backend"),
        })
    }
}
