//! An SFTP server as a backend (SSH File Transfer Protocol version 3 over SSH, RFC 4251-4254).

mod known_hosts;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, BackendSession, Login};
use crate::op::{Failure, FailureKind};

pub use known_hosts::KnownHosts;
pub use settings::{HostKey, Settings};

/// A configured SFTP backend.
pub struct SftpBackend {
    settings: Arc<Settings>,
}

impl SftpBackend {
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

#[async_trait]
impl Backend for SftpBackend {
    async fn login(&self, _login: &Login) -> Result<Box<dyn BackendSession>, Failure> {
        Err(Failure::gateway(FailureKind::Unsupported, &self.settings.name))
    }
}
