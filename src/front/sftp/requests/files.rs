//! OPEN, CLOSE, READ, WRITE: draft-ietf-secsh-filexfer-02 sections 6.3 and 6.4.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, RequestFuture, Requests, done};
use crate::front::sftp::budget::DATA_MAX;
use crate::front::sftp::handles::{File, Handle};
use crate::front::sftp::status;
use crate::op::{Failure, FailureKind, OpenMode};
use crate::wire::sftp::{Attributes, OpenFlags, ResponseBody};

impl Requests {
    pub(super) fn open(
        &self,
        path: &Bytes,
        flags: OpenFlags,
        attributes: &Attributes,
    ) -> Result<RequestFuture, Failure> {
        let (path, mode) = (self.path(path)?, mode(flags, attributes)?);
        let slot = self.handles.reserve()?;
        let session = self.session.clone();
        Ok(Box::pin(async move {
            let file = File::new(session.open(path.clone(), mode).await?, path, mode);
            Ok(Outcome::Opened(Handle::File(Arc::new(file)), slot))
        }))
    }

    pub(super) fn close(&mut self, handle: &Bytes) -> Result<RequestFuture, Failure> {
        Ok(match self.handles.remove(handle)? {
            Handle::File(file) => {
                let closing = file.clone();
                file.in_order(async move { closing.close().await.map(|()| done()) })
            }
            Handle::Directory(directory) => Box::pin(async move {
                directory.close().await;
                Ok(done())
            }),
        })
    }

    pub(super) fn read(
        &self,
        handle: &Bytes,
        offset: u64,
        length: u32,
    ) -> Result<RequestFuture, Failure> {
        let file = self.handles.file(handle)?;
        if !file.mode.read {
            let reason = "the file is not open for reading";
            return Err(Failure::client(FailureKind::PermissionDenied, reason));
        }
        if length == 0 {
            return Ok(file.in_order(async { Ok(Outcome::Response(status::end_of_file())) }));
        }
        let guard = file.start_request();
        let reading = file.file.read_at(offset, length.min(DATA_MAX));
        Ok(file.in_order(async move {
            let _guard = guard;
            let data = reading.await?;
            Ok(Outcome::Response(data.map_or_else(status::end_of_file, ResponseBody::Data)))
        }))
    }

    pub(super) fn write(
        &self,
        handle: &Bytes,
        offset: u64,
        data: Bytes,
    ) -> Result<RequestFuture, Failure> {
        let file = self.handles.file(handle)?;
        if !file.writes() {
            let reason = "the file is not open for writing";
            return Err(Failure::client(FailureKind::PermissionDenied, reason));
        }
        if data.is_empty() {
            return Ok(file.in_order(async { Ok(done()) }));
        }
        let guard = file.start_request();
        let work = file.file.write_at(offset, data);
        Ok(file.in_order(async move { guard.finish_write(work.await).map(|()| done()) }))
    }
}

fn mode(flags: OpenFlags, attributes: &Attributes) -> Result<OpenMode, Failure> {
    let has = |flag| flags.contains(flag);
    let append = has(OpenFlags::APPEND);
    let mode = OpenMode {
        read: has(OpenFlags::READ),
        write: has(OpenFlags::WRITE) || append,
        append,
        create: has(OpenFlags::CREATE),
        truncate: has(OpenFlags::TRUNCATE),
        exclusive: has(OpenFlags::EXCLUSIVE),
        permissions: attributes.permissions.map(|mode| mode & 0o7777),
    };
    let invalid = |reason: &str| Err(Failure::client(FailureKind::InvalidArgument, reason));
    match mode {
        OpenMode { read: false, write: false, .. } => invalid("OPEN needs READ, WRITE or both"),
        OpenMode { write: false, truncate: true, .. } => invalid("TRUNC needs WRITE"),
        OpenMode { create: false, exclusive: true, .. } => invalid("EXCL needs CREAT"),
        mode => Ok(mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: OpenFlags) -> Result<OpenMode, Failure> {
        mode(flags, &Attributes { permissions: Some(0o100_640), ..Attributes::default() })
    }

    #[test]
    fn valid_flags_become_a_mode() {
        let put = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mode = of(put).unwrap();
        assert!(mode.write && mode.create && mode.truncate && !mode.read && !mode.append);
        assert_eq!(mode.permissions, Some(0o640));
        // Some clients send APPEND without WRITE.
        assert!(of(OpenFlags::APPEND).unwrap().write);
    }

    #[test]
    fn invalid_flags_are_refused() {
        for flags in [
            OpenFlags(0),
            OpenFlags::CREATE,
            OpenFlags::READ | OpenFlags::TRUNCATE,
            OpenFlags::WRITE | OpenFlags::EXCLUSIVE,
        ] {
            assert_eq!(of(flags).unwrap_err().kind, FailureKind::InvalidArgument, "{flags:?}");
        }
    }
}
