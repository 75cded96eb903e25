//! `lockgate reload`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lockgate::admin;

use super::{print, print_error};
use crate::EXIT_BAD_CONFIGURATION;

#[derive(clap::Args)]
pub(crate) struct Reload {
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
}

impl Reload {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<ExitCode> {
        // The gateway has escaped what it quotes.
        match admin::reload(socket).await? {
            Ok(warnings) => {
                warnings.iter().for_each(print_error);
                print("the configuration is in force\n")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problems) => {
                print_error(problems);
                print_error("the configuration before stays in force");
                Ok(EXIT_BAD_CONFIGURATION.into())
            }
        }
    }
}
