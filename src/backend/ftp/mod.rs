//! An FTP or FTPS server as a backend (RFC 959, 2228, 2389, 2428, 3659, 4217).

mod channel;
mod connection;
mod control;
mod features;
mod listing;
mod login;
mod operations;
mod reply;
mod settings;
mod transfer;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    Abilities, Answer, Backend, BackendSession, Listing, Login, OpenFile, ReadTransfer,
    WriteTransfer,
};
use crate::op::{Failure, FailureKind, RemotePath};
use crate::route::Target;
use connection::Connection;

pub use settings::{DataMode, Settings, TlsMode};

/// A configured FTP backend.
pub struct FtpBackend {
    settings: Arc<Settings>,
}

/// One logged-in control connection. Operations take turns on it; a transfer holds it to its end.
struct FtpSession {
    connection: Arc<Mutex<Connection>>,
    home: RemotePath,
}

/// The control connection, held by one operation.
type Turn = OwnedMutexGuard<Connection>;

impl FtpBackend {
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

#[async_trait]
impl Backend for FtpBackend {
    async fn login(&self, login: &Login) -> Result<Box<dyn BackendSession>, Failure> {
        let credentials = match login {
            Login::Unchecked(credentials) | Login::Vouched(Some(credentials)) => credentials,
            Login::Vouched(None) => {
                return Err(Failure::gateway(
                    FailureKind::Internal,
                    "an FTP backend was entered without an account",
                ));
            }
        };
        let (connection, home) = login::login(&self.settings, credentials).await?;
        Ok(Box::new(FtpSession { connection: Arc::new(Mutex::new(connection)), home }))
    }
}

impl FtpSession {
    /// The control connection in step, or why there is none.
    async fn turn(&self) -> Result<Turn, Failure> {
        let connection = self.connection.clone().lock_owned().await;
        connection.check()?;
        Ok(connection)
    }
}

#[async_trait]
impl BackendSession for FtpSession {
    fn home(&self) -> RemotePath {
        self.home.clone()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn perform(&self, target: &Target) -> Result<Answer, Failure> {
        operations::perform(&mut *self.turn().await?, target.operation()).await
    }

    async fn list(&self, target: &Target) -> Result<Box<dyn Listing>, Failure> {
        listing::open(self.turn().await?, target.operation().path()).await
    }

    async fn open_read(&self, target: &Target) -> Result<Box<dyn ReadTransfer>, Failure> {
        transfer::open(self.turn().await?, target.operation()).await
    }

    async fn open_write(&self, target: &Target) -> Result<Box<dyn WriteTransfer>, Failure> {
        upload::open(self.turn().await?, target.operation()).await
    }

    async fn open(&self, target: &Target) -> Result<Arc<dyn OpenFile>, Failure> {
        Err(operations::misdirected(target.operation()))
    }

    async fn close(&self) {
        let mut connection = self.connection.lock().await;
        connection.quit().await;
    }
}
