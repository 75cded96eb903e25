//! The requests of one channel (draft-ietf-secsh-filexfer-02), done in the user's folder.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};

use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode,
};
use russh_sftp::server::Handler;

use super::attributes::{MODE, set};
use super::files::{Files, Open, seen};
use super::refusal::Refusal;

/// The most that one READ brings, in bytes.
const MAX_READ: u32 = 256 * 1024;
/// Entries of one answer to READDIR.
const ENTRIES: usize = 100;

fn done(id: u32) -> Status {
    let (error_message, language_tag) = (String::new(), String::new());
    Status { id, status_code: StatusCode::Ok, error_message, language_tag }
}

impl Handler for Files {
    type Error = Refusal;

    fn unimplemented(&self) -> Refusal {
        Refusal::new(StatusCode::OpUnsupported, "not done here")
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        attributes: FileAttributes,
    ) -> Result<Handle, Refusal> {
        let mut options = OpenOptions::from(flags);
        let mode = attributes.permissions.unwrap_or(0o666);
        let file = options.mode(mode & MODE).open(self.disk_path(&path)?)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
        }
        Ok(self.keep(id, Open::File(file)))
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, Refusal> {
        match self.open.remove(&handle) {
            Some(_) => Ok(done(id)),
            None => Err(Refusal::new(StatusCode::Failure, "nothing open has this handle")),
        }
    }

    async fn read(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        len: u32,
    ) -> Result<Data, Refusal> {
        let mut data = vec![0; len.min(MAX_READ) as usize];
        match self.file(&handle)?.read_at(&mut data, offset)? {
            0 => Err(Refusal::new(StatusCode::Eof, "the end of the file")),
            count => {
                data.truncate(count);
                Ok(Data { id, data })
            }
        }
    }

    async fn write(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Status, Refusal> {
        self.file(&handle)?.write_all_at(&data, offset)?;
        Ok(done(id))
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, Refusal> {
        let attrs = FileAttributes::from(&fs::metadata(self.disk_path(&path)?)?);
        Ok(Attrs { id, attrs })
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, Refusal> {
        let attrs = FileAttributes::from(&fs::symlink_metadata(self.disk_path(&path)?)?);
        Ok(Attrs { id, attrs })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, Refusal> {
        let attrs = FileAttributes::from(&self.file(&handle)?.metadata()?);
        Ok(Attrs { id, attrs })
    }

    async fn setstat(
        &mut self,
        id: u32,
        path: String,
        attributes: FileAttributes,
    ) -> Result<Status, Refusal> {
        let writes = attributes.size.is_some();
        let file = OpenOptions::new().read(true).write(writes).open(self.disk_path(&path)?)?;
        set(&file, &attributes)?;
        Ok(done(id))
    }

    async fn fsetstat(
        &mut self,
        id: u32,
        handle: String,
        attributes: FileAttributes,
    ) -> Result<Status, Refusal> {
        set(self.file(&handle)?, &attributes)?;
        Ok(done(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, Refusal> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.disk_path(&path)?)? {
            let entry = entry?;
            // Others of the tests remove files meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(File::new(name, FileAttributes::from(&metadata)));
        }
        Ok(self.keep(id, Open::Folder(entries)))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, Refusal> {
        let Some(Open::Folder(entries)) = self.open.get_mut(&handle) else {
            return Err(Refusal::new(StatusCode::Failure, "no open folder has this handle"));
        };
        let files: Vec<File> = entries.drain(..entries.len().min(ENTRIES)).collect();
        if files.is_empty() {
            Err(Refusal::new(StatusCode::Eof, "the end of the folder"))
        } else {
            Ok(Name { id, files })
        }
    }

    async fn mkdir(
        &mut self,
        id: u32,
        path: String,
        attributes: FileAttributes,
    ) -> Result<Status, Refusal> {
        let mode = attributes.permissions.unwrap_or(0o777);
        DirBuilder::new().mode(mode & MODE).create(self.disk_path(&path)?)?;
        Ok(done(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Result<Status, Refusal> {
        fs::remove_dir(self.disk_path(&path)?)?;
        Ok(done(id))
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status, Refusal> {
        fs::remove_file(self.disk_path(&path)?)?;
        Ok(done(id))
    }

    /// Refuses a name that is taken (section 6.5).
    async fn rename(&mut self, id: u32, from: String, to: String) -> Result<Status, Refusal> {
        let (from, to) = (self.disk_path(&from)?, self.disk_path(&to)?);
        if fs::symlink_metadata(&to).is_ok() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        fs::rename(from, to)?;
        Ok(done(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, Refusal> {
        self.disk_path(&path)?;
        Ok(Name { id, files: vec![File::dummy(seen(&path))] })
    }
}
