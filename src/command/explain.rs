//! `lockgate explain`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lockgate::config::Compiled;
use lockgate::{admin, app};
use serde_json::Value;

use super::print;

#[derive(clap::Args)]
pub(crate) struct Explain {
    /// The user name, as the client sends it
    #[arg(long)]
    user: String,
    /// The client's IP address
    #[arg(long, value_name = "ADDRESS")]
    source: IpAddr,
    /// The listener's name [default: the only listener]
    #[arg(long)]
    listener: Option<String>,
    /// The server name that the client sends under TLS
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// list, read, create, overwrite, append, delete, rename, mkdir, rmdir, attributes or link; or an FTP
    /// command in upper case, such as "SITE CHMOD"
    #[arg(long)]
    operation: Option<String>,
    /// The path, as the client sees it
    #[arg(long)]
    path: Option<String>,
    /// The new path of a rename or a link
    #[arg(long, value_name = "PATH")]
    to: Option<String>,
    /// When it happens, such as 2026-11-30T08:00:00Z [default: now]
    #[arg(long)]
    time: Option<String>,
    /// The client uses no TLS, where the listener allows that
    #[arg(long)]
    plain: bool,
    /// Ask the gateway that runs with this admin socket, instead of reading the configuration
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Prints what the gateway with this admin socket answers.
    pub(crate) async fn ask(&self, socket: &Path) -> anyhow::Result<()> {
        self.print(&admin::fetch_explanation(socket, &self.question()).await?)
    }

    /// Prints what a gateway with this configuration would answer. Within a tokio runtime.
    pub(crate) fn answer(&self, config: Compiled) -> anyhow::Result<()> {
        let answer = app::explainer(config)?.answer(&self.question());
        self.print(&answer.map_err(|error| anyhow::anyhow!("{error}"))?)
    }

    fn question(&self) -> admin::Question {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        admin::Question {
            user: self.user.clone(),
            source: self.source.to_string(),
            listener: text(&self.listener),
            server_name: text(&self.server_name),
            operation: text(&self.operation),
            path: text(&self.path),
            to: text(&self.to),
            time: text(&self.time),
            plain: if self.plain { "true".into() } else { String::new() },
        }
    }

    fn print(&self, answer: &Value) -> anyhow::Result<()> {
        print(&if self.json { format!("{answer:#}\n") } else { admin::explanation_text(answer) })
    }
}
