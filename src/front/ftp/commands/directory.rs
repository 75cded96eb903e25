//! CWD, CDUP, PWD: RFC 959 section 4.1.1, appendix II.

use super::Outcome;
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::Flow;
use crate::front::ftp::reply::Reply;
use crate::op::{Answer, Operation, RemotePath};

impl Client {
    pub(super) async fn cwd(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let logged_in = self.logged_in()?;
        let answer = logged_in.session.perform(Operation::Enter(path.clone())).await?;
        logged_in.directory = path;
        let reply = match answer {
            Answer::Done(reply) => reply,
            _ => None,
        };
        self.reply_done(Reply::DIRECTORY_CHANGED, reply).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn pwd(&mut self) -> Outcome {
        let directory = self.logged_in()?.directory.clone();
        self.reply_path(&directory, b" is the current directory").await;
        Ok(Flow::Continue)
    }

    /// 257: the path between quotes, quotes in it doubled.
    pub(super) async fn reply_path(&mut self, path: &RemotePath, suffix: &[u8]) {
        let mut text = vec![b'"'];
        for &byte in path.as_bytes() {
            text.push(byte);
            if byte == b'"' {
                text.push(b'"');
            }
        }
        text.push(b'"');
        text.extend_from_slice(suffix);
        self.reply(Reply::new(257, text)).await;
    }
}
