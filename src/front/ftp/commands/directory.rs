//! CWD, CDUP, PWD: RFC 959 section 4.1.1, appendix II.

use super::Outcome;
use crate::front::ftp::client::{Client, Flow};
use crate::op::{Answer, Operation, RemotePath};

impl Client {
    pub(super) async fn cwd(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let logged_in = self.logged_in()?;
        let answer = logged_in.session.perform(Operation::Enter(path.clone())).await?;
        logged_in.directory = path;
        let words = match answer {
            Answer::Done(words) => words,
            _ => None,
        };
        self.answer_with(250, "directory changed", words).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn pwd(&mut self) -> Outcome {
        let directory = self.logged_in()?.directory.clone();
        self.answer_path(&directory, b" is the current directory").await;
        Ok(Flow::Continue)
    }

    /// 257: the path between quotes, quotes in it doubled.
    pub(super) async fn answer_path(&mut self, path: &RemotePath, behind: &[u8]) {
        let mut text = vec![b'"'];
        for &byte in path.as_bytes() {
            text.push(byte);
            if byte == b'"' {
                text.push(b'"');
            }
        }
        text.push(b'"');
        text.extend_from_slice(behind);
        self.control.reply(257, &[text]).await;
    }
}
