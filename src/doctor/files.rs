//! What the gateway writes: its state, the audit, the admin socket.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use super::finding::Findings;
use crate::audit::Output;
use crate::config::Compiled;

/// As the user who runs doctor; writes nothing.
pub(super) fn examine(config: &Compiled) -> Findings {
    let mut findings = Findings::new("files");
    if let Some(folder) = &config.state_dir {
        judge("state_dir", folder, may_create_in(folder), &mut findings);
    }
    if let Some(socket) = &config.admin_socket {
        judge("admin.socket", socket, may_create_in(folder_of(socket)), &mut findings);
    }
    for output in &config.audit {
        if let Output::File(file) = &output.output {
            judge("audit", file, may_append(file), &mut findings);
        }
    }
    findings
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn may_create_in(folder: &Path) -> io::Result<()> {
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn may_append(file: &Path) -> io::Result<()> {
    match access(file, Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => may_create_in(folder_of(file)),
        Err(error) => Err(error.into()),
    }
}

fn judge(key: &str, path: &Path, allowed: io::Result<()>, findings: &mut Findings) {
    let path = path.display();
    match allowed {
        Ok(()) => findings.ok(format!("{path} (`{key}`) can be written by this user")),
        Err(error) => findings.problem(
            format!("{path} (`{key}`) cannot be written by this user: {error}"),
            "run doctor as the gateway's user; if it is that one, let it write there (systemd: \
             `StateDirectory=`, `LogsDirectory=`, `RuntimeDirectory=`)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_folders_and_files_are_judged() {
        let folder = tempfile::tempdir().unwrap();
        assert!(may_create_in(folder.path()).is_ok());
        assert!(may_append(&folder.path().join("audit.log")).is_ok());
        let absent = folder.path().join("absent");
        assert!(may_create_in(&absent).is_err());
        assert!(may_append(&absent.join("audit.log")).is_err());
        let mut findings = Findings::new("t");
        judge("state_dir", &absent, may_create_in(&absent), &mut findings);
        assert!(findings.text().starts_with("problem"), "{}", findings.text());
        assert_eq!(folder_of(Path::new("admin.sock")), Path::new("."));
    }
}
