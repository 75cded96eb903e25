//! Known limits of servers, found by `servers_direct`.

use super::servers::Software;

/// A step of `clients/session.py` that fails, and why.
struct Limit {
    software: Software,
    steps: &'static [&'static str],
    reason: &'static str,
    /// Whether the gateway cannot work around it.
    stays: bool,
}

const LIMITS: &[Limit] = &[
    Limit {
        software: Software::Vsftpd,
        steps: &["mlsd", "mlst", "names-mlsd"],
        reason: "vsftpd does not support MLSD and MLST",
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
        reason: "pure-ftpd removes spaces at the end of a line",
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
        reason: "pure-ftpd shows a control character in a listing as an underscore",
        stays: true,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["nlst-options"],
        reason: "pure-ftpd takes the options of NLST as a file name",
        stays: false,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["resumption"],
        reason: "pure-ftpd resumes TLS 1.2 sessions only, not TLS 1.3",
        stays: false,
    },
    Limit {
        software: Software::PureFtpd,
        steps: &["quoted-folder"],
        reason: "pure-ftpd does not double quotes in 257 replies",
        stays: false,
    },
    Limit {
        software: Software::Asyncssh,
        steps: &["scp-up", "scp-down"],
        reason: "asyncssh sends no exit status for the sftp subsystem, so scp exits with 1",
        stays: false,
    },
    Limit {
        software: Software::Asyncssh,
        steps: &["symlink"],
        reason: "asyncssh expects the arguments of SYMLINK in the draft's order, unless the client identifies as OpenSSH or paramiko, and cannot follow a relative link in a chroot",
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
        reason: "mod_sftp sometimes drops a connection with a second channel",
        stays: false,
    },
    Limit {
        software: Software::ProFtpdSftp,
        steps: &["copy-data"],
        reason: "mod_sftp does not support copy-data",
        stays: false,
    },
    Limit {
        software: Software::RusshSftp,
        steps: &["name:latin-1", "name:iac"],
        reason: "russh-sftp decodes names as lossy UTF-8: this server refuses other names, as it would store the file under a different one",
        stays: true,
    },
    Limit {
        software: Software::RusshSftp,
        steps: &["posix-rename-overwrites"],
        reason: "russh-sftp leaves extensions to the application: this server has no posix-rename, without which a gateway cannot replace a file atomically",
        stays: true,
    },
    Limit {
        software: Software::RusshSftp,
        steps: &["symlink", "hardlink", "statvfs", "fsync", "copy-data"],
        reason: "russh-sftp leaves extensions to the application: this server has none, and no symlinks",
        stays: false,
    },
];

/// Why this step may fail when a client speaks to the server itself.
pub fn direct(software: Software, step: &str) -> Option<&'static str> {
    find(software, step).map(|limit| limit.reason)
}

/// Why this step may fail when the server is a backend of the gateway.
pub fn through_gateway(software: Software, step: &str) -> Option<&'static str> {
    find(software, step).filter(|limit| limit.stays).map(|limit| limit.reason)
}

/// All limits, as rows of a table: the server, the limit, and the result through the gateway.
pub fn table() -> Vec<String> {
    let row = |limit: &Limit| {
        let result = if limit.stays { "fails the same way" } else { "works or is refused" };
        format!("| {} | {} | {result} |", limit.software.name(), limit.reason)
    };
    LIMITS.iter().map(row).collect()
}

fn find(software: Software, step: &str) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.software == software && limit.steps.contains(&step))
}
