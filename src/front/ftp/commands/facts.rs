//! SIZE, MDTM, MLST (RFC 3659), MFMT (draft-somers-ftp-mfxx), and the other commands that set the
//! modification time: MDTM with a time, SITE UTIME.

use super::Outcome;
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::Flow;
use crate::front::ftp::reply::Reply;
use crate::op::{
    Answer, Changes, Entry, Failure, FailureKind, Operation, Precision, RemotePath, Representation,
};
use crate::wire::ftp::listing::render_facts;
use crate::wire::ftp::time::format_time;

impl Client {
    pub(super) async fn size(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let operation = Operation::Size(path, self.transfer.representation);
        match self.logged_in()?.session.perform(operation).await? {
            Answer::Size(size) => self.reply(Reply::new(213, size.to_string())).await,
            _ => return Err(unexpected()),
        }
        Ok(Flow::Continue)
    }

    pub(super) async fn mdtm(&mut self, given: &[u8]) -> Outcome {
        let path = self.path(given)?;
        let entry = self.entry(path).await?;
        let time = entry.attributes.modified.filter(|time| time.precision == Precision::Second);
        match time.and_then(|time| format_time(time.seconds)) {
            Some(time) => self.reply(Reply::new(213, time)).await,
            None => self.reply(Reply::NO_MODIFICATION_TIME).await,
        }
        Ok(Flow::Continue)
    }

    /// Reports the time of a file whose name is the whole argument; else sets the time.
    pub(super) async fn mdtm_with_time(
        &mut self,
        whole: &[u8],
        seconds: i64,
        given: &[u8],
    ) -> Outcome {
        let size = Operation::Size(self.path(whole)?, Representation::Image);
        match self.logged_in()?.session.perform(size).await {
            Ok(_) => return self.mdtm(whole).await,
            Err(failure) if failure.kind == FailureKind::Unavailable => return Err(failure),
            Err(_) => {}
        }
        self.set_modified(seconds, given).await?;
        self.reply(Reply::TIME_SET).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn utime(&mut self, seconds: i64, given: &[u8]) -> Outcome {
        self.set_modified(seconds, given).await?;
        self.reply(Reply::UTIME).await;
        Ok(Flow::Continue)
    }

    async fn set_modified(&mut self, seconds: i64, given: &[u8]) -> Result<(), Failure> {
        let (path, changes) = (self.path(given)?, Changes::modified(seconds));
        let operation = Operation::SetAttributes { path, changes, follow: true };
        self.logged_in()?.session.perform(operation).await.map(drop)
    }

    pub(super) async fn mfmt(&mut self, seconds: i64, given: &[u8]) -> Outcome {
        self.set_modified(seconds, given).await?;
        let time = format_time(seconds).unwrap_or_default();
        let text = [b"Modify=", time.as_bytes(), b"; ", given].concat();
        self.reply(Reply::new(213, text)).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn mlst(&mut self, given: Option<Vec<u8>>) -> Outcome {
        let path = self.path(given.as_deref().unwrap_or_default())?;
        let entry = self.entry(path.clone()).await?;
        let entry = Entry { name: path.as_bytes().to_vec(), ..entry };
        let mut facts = vec![b' '];
        if !render_facts(&entry, self.facts, &mut facts) {
            return Err(Failure::client(FailureKind::NameRefused, "FTP cannot carry the name"));
        }
        self.control.reply_lines(250, &[b"Facts:", &facts[..], b"End"]).await;
        Ok(Flow::Continue)
    }

    pub(super) async fn entry(&mut self, path: RemotePath) -> Result<Entry, Failure> {
        match self.logged_in()?.session.perform(Operation::Stat(path)).await? {
            Answer::Entry(entry) => Ok(entry),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> Failure {
    Failure::gateway(FailureKind::Internal, "the backend returned an unexpected answer")
}
