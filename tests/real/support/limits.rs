//! What a server is known not to do, seen in `servers_direct`.

use super::servers::Software;

/// A step of `clients/session.py` that fails, and why.
struct Limit {
    software: Software,
    steps: &'static [&'static str],
    reason: &'static str,
    /// Whether a gateway cannot make up for it.
    stays: bool,
}

const LIMITS: &[Limit] = &[
    Limit {
        software: Software::Vsftpd,
        steps: &["mlsd", "mlst", "names-mlsd"],
        reason: "vsftpd knows no MLSD and MLST",
        stays: false,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["name:leading-space"],
        reason: "pure-ftpd skips spaces between verb and argument, here for STOR only",
        stays: false,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["name:trailing-space"],
        reason: "pure-ftpd cuts spaces off the end of a line",
        stays: true,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["name:backslash"],
        reason: "pure-ftpd prohibits backslashes in names (553)",
        stays: true,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["names-tab"],
        reason: "pure-ftpd makes a control character in a listing an underscore",
        stays: true,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["nlst-options"],
        reason: "pure-ftpd takes the options of NLST for a file's name",
        stays: false,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["resumption"],
        reason: "pure-ftpd resumes no TLS 1.3 session, only 1.2",
        stays: false,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["quoted-folder"],
        reason: "pure-ftpd does not double a quote in 257",
        stays: false,
    },
    Limit {
        software: Software::Asyncssh,
        steps: &["scp-up", "scp-down"],
        reason: "asyncssh tells no exit status of the sftp subsystem, so scp ends with 1",
        stays: false,
    },
    Limit {
        software: Software::Asyncssh,
        steps: &["symlink"],
        reason: "asyncssh takes the arguments of SYMLINK in the draft's order, unless the client \
                 names itself OpenSSH or paramiko, and cannot follow a relative link in a chroot",
        stays: true,
    },
    Limit {
        software: Software::ProFtpdSftp,
        steps: &["symlink"],
        reason: "mod_sftp reads a symlink in a chroot as an absolute path",
        stays: true,
    },
    Limit {
        software: Software::ProFtpdSftp,
        steps: &["two-channels"],
        reason: "mod_sftp now and then drops a connection that has a second channel",
        stays: false,
    },
    Limit {
        software: Software::ProFtpdSftp,
        steps: &["copy-data"],
        reason: "mod_sftp knows no copy-data",
        stays: false,
    },
    Limit {
        software: Software::RusshSftp,
        steps: &["name:latin-1", "name:iac"],
        reason: "russh-sftp makes a name lossy UTF-8 before the server sees it: refused there, since \
                 it would be kept under another name",
        stays: true,
    },
    Limit {
        software: Software::RusshSftp,
        steps: &["posix-rename-overwrites"],
        reason: "russh-sftp leaves extensions to its user: this server has no posix-rename, and a gateway \
                 cannot replace a file at once with what is left",
        stays: true,
    },
    Limit {
        software: Software::RusshSftp,
        steps: &["symlink", "hardlink", "statvfs", "fsync", "copy-data"],
        reason: "russh-sftp leaves extensions to its user: this server has none, and no symlinks",
        stays: false,
    },
];

/// Why this step may fail when a client speaks to the server itself.
pub fn direct(software: Software, step: &str) -> Option<&'static str> {
    find(software, step).map(|limit| limit.reason)
}

/// Why this step may fail when the server is a backend of the gateway.
pub fn behind_gateway(software: Software, step: &str) -> Option<&'static str> {
    find(software, step).filter(|limit| limit.stays).map(|limit| limit.reason)
}

/// All of them, as rows of a table: the server, what it does not do, what a client of the gateway meets.
pub fn table() -> Vec<String> {
    let row = |limit: &Limit| {
        let behind = if limit.stays { "fails the same way" } else { "works or is refused" };
        format!("| {} | {} | {behind} |", limit.software.name(), limit.reason)
    };
    LIMITS.iter().map(row).collect()
}

fn find(software: Software, step: &str) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.software == software && limit.steps.contains(&step))
}
