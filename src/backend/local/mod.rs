//! A folder of this machine as a backend, sandboxed with cap-std: no path, `..` or symlink leaves it.
//!
//! Every call to the file system runs on tokio's blocking threads, a bounded number at a time.

mod attributes;
mod blocking;
mod copy;
mod errno;
mod file;
mod links;
mod listing;
mod namespace;
mod open;
mod opened;
mod partial;
mod paths;
mod queue;
mod read;
#[cfg(test)]
mod testing;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use blocking::BlockingPool;

use super::{Backend, BackendSession, Home, Listing, Login, Origin, PartialUploads};
use super::{OpenFile, ReadTransfer, WriteTransfer};
use crate::op::{
    Abilities, Answer, Failure, FailureKind, ListDirectory, OpenHandle, Operation, ReadFile,
    RemotePath, Representation, WriteFile,
};
use crate::route::Target;

/// A `local` backend as configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder. It must exist at start.
    pub folder: PathBuf,
    /// What becomes of the file of an aborted upload.
    pub partial_uploads: PartialUploads,
}

/// Why a `local` backend cannot start. For the operator: it names the real folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the local backend's folder {}", folder.display())]
pub struct OpenError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// A folder that clients see as `/`. It stays the folder that was opened, even if it is renamed later.
pub struct LocalBackend {
    root: Arc<Dir>,
    pool: BlockingPool,
    partial_uploads: PartialUploads,
}

impl LocalBackend {
    /// Opens the folder; blocks. Fails if it does not exist, is not a folder, or may not be entered.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let Settings { folder, partial_uploads } = settings;
        let root = Dir::open_ambient_dir(folder, ambient_authority())
            .and_then(|root| namespace::enterable(&root).map(|()| root))
            .map_err(|source| OpenError { folder: folder.clone(), source })?;
        Ok(Self {
            root: Arc::new(root),
            pool: BlockingPool::new(),
            partial_uploads: *partial_uploads,
        })
    }
}

#[async_trait]
impl Backend for LocalBackend {
    /// Only for users whom the gateway has authenticated: a folder cannot check a password.
    async fn login(&self, login: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        match login {
            Login::Authenticated(_) => Ok(Box::new(LocalSession {
                root: Arc::clone(&self.root),
                pool: self.pool.clone(),
                partial_uploads: self.partial_uploads,
            })),
            Login::Unverified(_) => Err(Failure::backend(
                FailureKind::LoginRefused,
                "a local folder cannot check a password; its route needs `authenticate: gateway`",
            )),
        }
    }
}

struct LocalSession {
    root: Arc<Dir>,
    pool: BlockingPool,
    partial_uploads: PartialUploads,
}

#[async_trait]
impl BackendSession for LocalSession {
    fn home(&self) -> Home {
        Home::At(RemotePath::root())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            file_system: true,
            hard_link: true,
            sync: true,
            link_attributes: true,
            copy_data: true,
            account_names: false,
            replacing_rename: true,
            exclusive_creation: true,
            modified: true,
        }
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        let root = Arc::clone(&self.root);
        match target.action().clone() {
            Operation::Size(path, Representation::Ascii) => {
                read::count_ascii(&self.pool, root, path).await
            }
            operation => self.pool.run(move || namespace::perform(&root, &operation)).await,
        }
    }

    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        let (root, path) = (Arc::clone(&self.root), target.action().path.clone());
        let pool = self.pool.clone();
        Ok(Box::new(self.pool.run(move || listing::open(pool, &root, path)).await?))
    }

    async fn open_read(&self, target: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        let root = Arc::clone(&self.root);
        let ReadFile { path, offset, representation } = target.action().clone();
        Ok(Box::new(read::open(&self.pool, root, path, offset, representation).await?))
    }

    async fn open_write(
        &self,
        target: &Target<WriteFile>,
    ) -> Result<Box<dyn WriteTransfer>, Failure> {
        let root = Arc::clone(&self.root);
        let WriteFile { path, mode, representation } = target.action().clone();
        let partial = self.partial_uploads;
        let opened = write::open(&self.pool, root, path, mode, representation, partial).await?;
        Ok(Box::new(opened))
    }

    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        let root = Arc::clone(&self.root);
        let OpenHandle { path, mode } = target.action().clone();
        Ok(Arc::new(file::open(&self.pool, root, path, mode, self.partial_uploads).await?))
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::testing::Sandbox;
    use super::*;
    use crate::auth::Credentials;

    #[tokio::test]
    async fn a_login_with_an_unchecked_password_is_refused() {
        let sandbox = Sandbox::new();
        let password = Zeroizing::new(b"x".to_vec());
        let login = Login::Unverified(Credentials {
            user: b"root".to_vec(),
            password,
            account: None,
            sent: Default::default(),
            key: None,
        });
        let refused = sandbox.backend().login(&login, Origin::ANY).await.err().unwrap();
        assert_eq!(refused.kind, FailureKind::LoginRefused);
        assert!(sandbox.backend().login(&Login::Authenticated(None), Origin::ANY).await.is_ok());
    }

    #[test]
    fn the_folder_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let folder = folder.path().join(name);
            LocalBackend::open(&Settings { folder, partial_uploads: PartialUploads::Keep })
        };
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(open("").is_ok());
        assert!(open("missing").is_err());
        let error = open("file").err().unwrap();
        assert!(error.to_string().ends_with("/file"), "{error}");
    }
}
