//! OPEN, CLOSE, READ, WRITE: draft-ietf-secsh-filexfer-02 sections 6.3 and 6.4.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, Requests, Work, done};
use crate::front::sftp::handles::{File, Handle};
use crate::front::sftp::room::LONGEST_DATA;
use crate::front::sftp::status;
use crate::op::{Failure, FailureKind, OpenMode};
use crate::wire::sftp::{Attributes, OpenFlags, ResponseBody};

impl Requests {
    pub(super) fn open(
        &self,
        path: &Bytes,
        flags: OpenFlags,
        attributes: &Attributes,
    ) -> Result<Work, Failure> {
        self.refuse_while_draining()?;
        let (path, mode) = (self.path(path)?, mode(flags, attributes)?);
        let place = self.handles.reserve()?;
        let session = self.session.clone();
        Ok(Box::pin(async move {
            let file = File::new(session.open(path.clone(), mode).await?, path, mode);
            Ok(Outcome::Opened(Handle::File(Arc::new(file)), place))
        }))
    }

    pub(super) fn close(&mut self, handle: &Bytes) -> Result<Work, Failure> {
        Ok(match self.handles.remove(handle)? {
            Handle::File(file) => {
                let closing = file.clone();
                file.in_line(async move { closing.close().await.map(|()| done()) })
            }
            Handle::Folder(folder) => Box::pin(async move {
                folder.close().await;
                Ok(done())
            }),
        })
    }

    pub(super) fn read(&self, handle: &Bytes, offset: u64, length: u32) -> Result<Work, Failure> {
        let file = self.handles.file(handle)?;
        if !file.mode.read {
            let why = "the file is not open for reading";
            return Err(Failure::client(FailureKind::PermissionDenied, why));
        }
        if length == 0 {
            return Ok(file.in_line(async { Ok(Outcome::Answer(status::end_of_file())) }));
        }
        let under_way = file.under_way();
        let reading = file.file.read_at(offset, length.min(LONGEST_DATA));
        Ok(file.in_line(async move {
            let _under_way = under_way;
            let data = reading.await?;
            Ok(Outcome::Answer(data.map_or_else(status::end_of_file, ResponseBody::Data)))
        }))
    }

    pub(super) fn write(&self, handle: &Bytes, offset: u64, data: Bytes) -> Result<Work, Failure> {
        let file = self.handles.file(handle)?;
        if !file.writes() {
            let why = "the file is not open for writing";
            return Err(Failure::client(FailureKind::PermissionDenied, why));
        }
        if data.is_empty() {
            return Ok(file.in_line(async { Ok(done()) }));
        }
        let under_way = file.under_way();
        let work = file.file.write_at(offset, data);
        Ok(file.in_line(async move { under_way.written(work.await).map(|()| done()) }))
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
    let invalid = |why: &str| Err(Failure::client(FailureKind::InvalidArgument, why));
    match mode {
        OpenMode { read: false, write: false, .. } => {
            invalid("open it for reading, for writing, or both")
        }
        OpenMode { write: false, truncate: true, .. } => {
            invalid("a file that is only read cannot be cut off")
        }
        OpenMode { create: false, exclusive: true, .. } => {
            invalid("EXCL is for files that CREAT makes")
        }
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
    fn flags_that_mean_something_become_a_mode() {
        let put = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mode = of(put).unwrap();
        assert!(mode.write && mode.create && mode.truncate && !mode.read && !mode.append);
        assert_eq!(mode.permissions, Some(0o640));
        // Clients leave WRITE out where they say APPEND.
        assert!(of(OpenFlags::APPEND).unwrap().write);
    }

    #[test]
    fn flags_that_mean_nothing_are_refused() {
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
