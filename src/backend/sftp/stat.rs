//! STAT and LSTAT (draft-ietf-secsh-filexfer-02 section 6.8).

use super::attributes;
use super::server::Server;
use super::status::Expect;
use crate::op::{Entry, Failure, RemotePath};
use crate::wire::sftp::RequestBody as R;

pub(super) async fn stat(server: &Server, path: &RemotePath) -> Result<Entry, Failure> {
    entry(server, path, R::Stat { path: server.wire_path(path) }).await
}

pub(super) async fn link_stat(server: &Server, path: &RemotePath) -> Result<Entry, Failure> {
    entry(server, path, R::LinkStat { path: server.wire_path(path) }).await
}

async fn entry(server: &Server, path: &RemotePath, body: R) -> Result<Entry, Failure> {
    let response = server.requests.send(body).await?;
    let attributes = response.attributes(format_args!("get the attributes of {path}"))?;
    Ok(attributes::entry(path.name().unwrap_or(b"/"), &attributes))
}
