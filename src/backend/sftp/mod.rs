//! An SFTP server as a backend (SSH File Transfer Protocol version 3 over SSH, RFC 4251 to 4254).

mod attributes;
mod chunk;
mod connection;
mod copy;
mod disk_full;
mod ending;
mod explain;
mod file;
mod first_error;
mod host_certificate;
mod host_key;
mod known_hosts;
mod listing;
mod login;
mod operations;
mod queue;
mod read_ahead;
mod read_stream;
#[cfg(test)]
mod real;
mod remote_file;
mod requests;
mod server;
mod settings;
mod stat;
mod status;
#[cfg(test)]
mod tests;
mod transfer;
mod upload;
mod window;
mod write_state;
mod write_stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::path_leases::{Account, PathLeases};
use super::unsupported::AttributePolicy;
use super::{
    Backend, BackendSession, Home, IgnoredAttributes, Listing, Login, OpenFile, Origin, Presented,
    ReadTransfer, WriteTransfer,
};
use crate::net::{Connector, Connectors, Peer};
use crate::op::{
    Abilities, Answer, Failure, ListDirectory, OpenHandle, Operation, ReadFile, WriteFile,
};
use crate::policy::Names;
use crate::route::Target;
use crate::task;
use host_key::Unpinned;
use server::Server;

pub use known_hosts::KnownHosts;
pub use settings::{HostKey, Settings};

/// How long the end of a session waits for the cleanup after aborted uploads.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A configured SFTP backend.
pub struct SftpBackend {
    settings: Arc<Settings>,
    connector: Connector,
    unpinned: Unpinned,
    leases: Arc<PathLeases>,
    attributes: AttributePolicy,
}

impl SftpBackend {
    /// A backend with these settings; connects at the first login.
    pub fn new(settings: Settings, connectors: &Connectors, ignored: &IgnoredAttributes) -> Self {
        let Settings { name, addresses, connects_at_once, .. } = &settings;
        let attributes = AttributePolicy::new(name, settings.unsupported_attributes, ignored);
        let connector = connectors
            .connector(name, addresses, *connects_at_once)
            .from_address(settings.source_address);
        let (settings, leases) = (Arc::new(settings), Arc::default());
        Self { settings, connector, unpinned: Unpinned::default(), leases, attributes }
    }

    /// With the leases of other backends at the same server.
    pub fn with_leases(self, leases: Arc<PathLeases>) -> Self {
        Self { leases, ..self }
    }
}

#[async_trait]
impl Backend for SftpBackend {
    async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        let credentials = login.account("an SFTP backend")?;
        let header = self.settings.send_proxy_protocol.then(|| origin.header());
        let header = header.unwrap_or_default();
        let Self { settings, connector, unpinned, .. } = self;
        let header = (&header[..], origin.rooted);
        let server = login::login(settings, connector, credentials, header, unpinned).await?;
        let account = Account::new(&self.leases, &credentials.user);
        let server = server.with_account(account).with_policy(self.attributes.clone());
        Ok(Box::new(SftpSession { server: Arc::new(server) }))
    }

    async fn greet(&self) -> Result<Presented, Failure> {
        let header = self.settings.send_proxy_protocol.then(|| Origin::CHECK.header());
        let header = header.unwrap_or_default();
        login::greet(&self.settings, &self.connector, &header, &self.unpinned).await
    }

    fn names(&self) -> Names {
        self.settings.names
    }

    fn addresses(&self) -> &[String] {
        &self.settings.addresses
    }
}

/// One SSH connection with one SFTP channel, shared by operations and files.
struct SftpSession {
    server: Arc<Server>,
}

#[async_trait]
impl BackendSession for SftpSession {
    fn home(&self) -> Home {
        self.server.home.clone()
    }

    fn abilities(&self) -> Abilities {
        self.server.abilities()
    }

    fn peer(&self) -> Option<Peer> {
        self.server.peer.clone()
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        let performed = operations::perform(&self.server, target.action()).await;
        match (performed, target.action()) {
            (Err(failure), Operation::SetAttributes { changes, .. }) => {
                self.server.apply_attribute_policy(changes, failure).map(|()| Answer::Done(None))
            }
            (performed, _) => performed,
        }
    }

    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        listing::open(&self.server, target.action()).await
    }

    async fn open_read(&self, target: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        transfer::open(&self.server, target.action()).await
    }

    async fn open_write(
        &self,
        target: &Target<WriteFile>,
    ) -> Result<Box<dyn WriteTransfer>, Failure> {
        upload::open(&self.server, target.action()).await
    }

    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        file::open(&self.server, target.action()).await
    }

    /// Ends the connection after the cleanup of aborted uploads. What was sent of an upload will be
    /// written in any case: while the server processes it, the connection stays open, so that uploads
    /// that wait for the path see its end.
    async fn close(&self) {
        self.server.cleanups.close();
        let server = self.server.clone();
        let ending = task::spawn(async move {
            server.cleanups.wait().await;
            server.requests.end();
        });
        let _ = timeout(CLEANUP_TIMEOUT, ending).await;
    }
}
