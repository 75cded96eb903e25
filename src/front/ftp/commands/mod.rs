//! The verbs, one group a file.

mod access;
mod directory;
mod facts;
mod files;
mod info;
mod listing;
mod parameters;
mod security;
mod transfer;

use super::client::{Client, Flow, LoggedIn, LoginState};
use crate::op::{Failure, FailureKind, RemotePath};
use crate::wire::ftp::command::Command as C;

impl Client {
    pub(super) async fn dispatch(&mut self, command: C) -> Flow {
        match command {
            C::User(name) => return self.user(name).await,
            C::Pass(password) => return self.pass(password).await,
            C::Acct(account) => return self.acct(account).await,
            C::Quit => return self.quit().await,
            C::Rein => self.rein().await,
            C::Auth(mechanism) => return self.auth(&mechanism).await,
            C::Pbsz => self.pbsz().await,
            C::Prot(level) => self.prot(&level).await,
            C::Ccc => self.answer(533, "the control connection stays protected").await,
            C::Feat => self.feat().await,
            C::Opts(what) => self.opts(&what).await,
            C::Help => self.help().await,
            C::SiteHelp => self.answer(214, "SITE commands: CHMOD HELP UTIME").await,
            C::Noop => self.answer(200, "NOOP ok").await,
            C::Syst => self.answer(215, "UNIX Type: L8").await,
            C::Stat(None) => self.status().await,
            C::Allo => self.answer(202, "no storage needs to be allocated").await,
            C::Abor => self.answer(225, "no transfer to abort").await,
            _ if !matches!(self.login, LoginState::In(_)) => {
                self.answer(530, "not logged in: USER and PASS first").await;
            }
            command => return self.dispatch_logged_in(command).await,
        }
        Flow::Continue
    }

    async fn dispatch_logged_in(&mut self, command: C) -> Flow {
        let outcome = match command {
            C::Cwd(path) => self.cwd(&path).await,
            C::Cdup => self.cwd(b"..").await,
            C::Pwd => self.pwd().await,
            C::Type(representation) => self.set_type(representation).await,
            C::Mode(letter) => self.mode(letter).await,
            C::Stru(letter) => self.structure(letter).await,
            C::Pasv => self.pasv().await,
            C::Epsv(protocol) => self.epsv(protocol).await,
            C::Port(address) => self.port(address).await,
            C::Rest(offset) => self.rest(offset).await,
            C::Retr(path) => self.retr(&path).await,
            C::Store(path, store) => self.store(&path, store).await,
            C::Stou => self.stou().await,
            C::List(path) => self.list(path, listing::Shape::Long).await,
            C::Nlst(path) => self.list(path, listing::Shape::Names).await,
            C::Mlsd(path) => self.list(path, listing::Shape::Facts).await,
            C::Mlst(path) => self.mlst(path).await,
            C::Stat(path) => self.stat(path).await,
            C::Size(path) => self.size(&path).await,
            C::Mdtm(path) => self.mdtm(&path).await,
            C::MdtmWithTime { whole, seconds, path } => {
                self.mdtm_with_time(&whole, seconds, &path).await
            }
            C::Utime { seconds, path } => self.utime(seconds, &path).await,
            C::Mfmt { seconds, path } => self.mfmt(seconds, &path).await,
            C::Rnfr(path) => self.rnfr(&path).await,
            C::Rnto(path) => self.rnto(&path).await,
            C::Dele(path) => self.dele(&path).await,
            C::Mkd(path) => self.mkd(&path).await,
            C::Rmd(path) => self.rmd(&path).await,
            C::Chmod { mode, path } => self.chmod(mode, &path).await,
            // Every other verb was served before the login was asked for.
            _ => Err(Failure::gateway(FailureKind::Internal, "a command was misdirected")),
        };
        match outcome {
            Ok(flow) => flow,
            Err(failure) => self.fail(&failure).await,
        }
    }

    /// The login; commands that need one are dispatched only to those who have it.
    fn logged_in(&mut self) -> Result<&mut LoggedIn, Failure> {
        match &mut self.login {
            LoginState::In(logged_in) => Ok(logged_in),
            _ => Err(Failure::client(FailureKind::LoginRefused, "not logged in")),
        }
    }

    /// A name as the client gave it, seen from its working directory.
    fn path(&mut self, given: &[u8]) -> Result<RemotePath, Failure> {
        RemotePath::resolve(&self.logged_in()?.directory, given)
            .map_err(|e| Failure::client(FailureKind::NameRefused, e))
    }
}

/// What a command handler brings: it has answered, or its failure is to be.
type Outcome = Result<Flow, Failure>;
