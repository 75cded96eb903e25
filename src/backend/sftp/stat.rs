//! STAT and LSTAT (draft-ietf-secsh-filexfer-02 section 6.8).

use super::attributes;
use super::server::Server;
use super::status::Expect;
use crate::op::{Entry, Failure, RemotePath};
use crate::wire::sftp::RequestBody as R;

pub(super) async fn stat(server: &Server, path: &RemotePath) -> Result<Entry, Failure> {
    let said = server.requests.ask(R::Stat { path: server.wire(path) }).await?;
    let said = said.attributes(format_args!("tell what {path} is"))?;
    Ok(attributes::entry(path.name().unwrap_or(b"/"), &said))
}

pub(super) async fn link_stat(server: &Server, path: &RemotePath) -> Result<Entry, Failure> {
    let said = server.requests.ask(R::LinkStat { path: server.wire(path) }).await?;
    let said = said.attributes(format_args!("tell what {path} is"))?;
    Ok(attributes::entry(path.name().unwrap_or(b"/"), &said))
}
