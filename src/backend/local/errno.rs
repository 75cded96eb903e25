//! Failures of the file system, from errno.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::op::{Failure, FailureKind};

/// The failure of `what` ("open /in/x for reading"), from the error of the file system.
pub(super) fn failed(what: impl fmt::Display, error: &io::Error) -> Failure {
    let (kind, reason) = explain(error);
    Failure::backend(kind, format_args!("cannot {what}: {reason}"))
}

/// A refusal by this backend itself.
pub(super) fn refused(
    kind: FailureKind,
    what: impl fmt::Display,
    reason: impl fmt::Display,
) -> Failure {
    Failure::client(kind, format_args!("cannot {what}: {reason}"))
}

/// The one place that turns an errno into a failure. The texts never name a path of the host.
fn explain(error: &io::Error) -> (FailureKind, &'static str) {
    use FailureKind::*;
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => (NotFound, "no such file or directory"),
        Some(Errno::LOOP) => (NotFound, "too many levels of symbolic links"),
        Some(Errno::ACCESS | Errno::PERM) => (PermissionDenied, "permission denied"),
        Some(Errno::ROFS) => (PermissionDenied, "the file system is read-only"),
        Some(Errno::EXIST) => (AlreadyExists, "it exists already"),
        Some(Errno::NOTDIR) => (NotADirectory, "not a directory"),
        Some(Errno::ISDIR) => (IsADirectory, "it is a directory"),
        Some(Errno::NOTEMPTY) => (DirectoryNotEmpty, "the directory is not empty"),
        Some(Errno::NOSPC) => (NoSpace, "no space left on the device"),
        Some(Errno::DQUOT) => (NoSpace, "the disk quota is used up"),
        Some(Errno::FBIG) => (NoSpace, "the file would be larger than the file system allows"),
        Some(Errno::NAMETOOLONG) => (NameRefused, "the name is too long"),
        // From encrypted and case-folding file systems, for names that are not UTF-8.
        Some(Errno::ILSEQ) => (NameRefused, "the file system does not take this name"),
        Some(Errno::OVERFLOW) => (InvalidArgument, "the offset is too large"),
        Some(Errno::INVAL) => (InvalidArgument, "the file system does not take this argument"),
        Some(Errno::XDEV) => (Unsupported, "the two names lie on different file systems"),
        Some(Errno::OPNOTSUPP) => (Unsupported, "the file system does not offer this"),
        Some(Errno::BUSY | Errno::TXTBSY | Errno::AGAIN) => (Busy, "it is in use"),
        Some(Errno::MFILE | Errno::NFILE) => (Busy, "too many files are open"),
        Some(Errno::NXIO) => (PermissionDenied, NOT_A_FILE),
        Some(Errno::IO) => (Internal, "input/output error"),
        Some(Errno::STALE) => (Internal, "the network file system lost the file"),
        // cap-std's own error for a path that would leave the folder; it has no errno.
        None if error.kind() == io::ErrorKind::PermissionDenied => {
            (PermissionDenied, "it leads outside of the backend's folder")
        }
        None if error.kind() == io::ErrorKind::WriteZero => (Internal, "nothing more was written"),
        _ => (Internal, "the file system failed in an unexpected way"),
    }
}

pub(super) const NOT_A_FILE: &str = "it is a device, a pipe or a socket, not a file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_operation_and_the_reason() {
        let full = io::Error::from_raw_os_error(Errno::DQUOT.raw_os_error());
        let failure = failed("write /in/x", &full);
        assert_eq!(failure.kind, FailureKind::NoSpace);
        assert_eq!(failure.message, "cannot write /in/x: the disk quota is used up");
    }
}
