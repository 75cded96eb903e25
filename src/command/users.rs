//! `lockgate hash-password` and `lockgate import-users`.

use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use lockgate::auth::import::import;
use lockgate::auth::{self, HashKind};
use lockgate::op::escape::printable;
use zeroize::Zeroizing;

use super::{print, print_error};

/// The largest file that is imported, in bytes.
const IMPORT_MAX: u64 = 64 * 1024 * 1024;
const SECONDS_PER_DAY: u64 = 24 * 3600;

#[derive(clap::Args)]
pub(crate) struct HashPassword {
    /// PBKDF2-HMAC-SHA512 instead of argon2id, where only algorithms that NIST has approved may be used
    #[arg(long)]
    pbkdf2: bool,
}

#[derive(clap::Args)]
pub(crate) struct ImportUsers {
    /// ProFTPD's AuthUserFile, a passwd file, an htpasswd file or a shadow file; - is standard input
    file: PathBuf,
}

impl HashPassword {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        if std::io::stdin().is_terminal() {
            print_error("Type the password (it is shown), then Enter:");
        }
        let mut line = Zeroizing::new(Vec::new());
        std::io::stdin().lock().read_until(b'\n', &mut line).context("reading the password")?;
        let password = line.strip_suffix(b"\n").unwrap_or(&line);
        let password = password.strip_suffix(b"\r").unwrap_or(password);
        anyhow::ensure!(!password.is_empty(), "no password on standard input");
        let max = auth::PASSWORD_MAX;
        anyhow::ensure!(password.len() <= max, "a password has at most {max} bytes");
        let kind = if self.pbkdf2 { HashKind::Pbkdf2 } else { HashKind::Argon2id };
        let hash =
            auth::hash_password(password, kind).map_err(|e| anyhow::anyhow!("hashing: {e}"))?;
        print(&format!("{hash}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ImportUsers {
    /// Prints the users as YAML, and each line that was not taken to standard error. Fails if there is one.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let shown = printable(self.file.as_os_str().as_encoded_bytes()).to_string();
        let imported = import(&self.read().with_context(|| format!("reading {shown}"))?, today());
        print(&imported.to_string())?;
        for refused in &imported.refused {
            print_error(format_args!("{shown}: not taken: {refused}"));
        }
        let (taken, refused) = (imported.users.len(), imported.refused.len());
        print_error(format_args!("{shown}: {taken} users taken, {refused} lines not taken"));
        let weak = imported.users.iter().filter(|user| user.hash.weakness().is_some()).count();
        if weak > 0 {
            print_error(format_args!(
                "{weak} users have MD5 hashes, from which passwords are guessed fast; give them new passwords"
            ));
        }
        Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn read(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(Vec::new());
        let limit = IMPORT_MAX + 1;
        if self.file.as_os_str() == "-" {
            std::io::stdin().lock().take(limit).read_to_end(&mut text)?;
        } else {
            std::fs::File::open(&self.file)?.take(limit).read_to_end(&mut text)?;
        }
        anyhow::ensure!(
            text.len() as u64 <= IMPORT_MAX,
            "the file is larger than {IMPORT_MAX} bytes"
        );
        Ok(text)
    }
}

fn today() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| (since.as_secs() / SECONDS_PER_DAY) as i64)
}
