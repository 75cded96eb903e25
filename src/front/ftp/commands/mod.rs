//! The commands, one file for each group.

mod access;
mod directory;
mod facts;
mod files;
mod info;
mod listing;
mod parameters;
mod relayed;
mod security;
mod transfer;

use super::client::Client;
use super::client_state::{Flow, LoggedIn, LoginState};
use super::reply::Reply;
use crate::op::{Failure, FailureKind, Fault, RemotePath};
use crate::wire::ftp::command::Command as C;

impl Client {
    pub(super) async fn dispatch(&mut self, command: C) -> Flow {
        match command {
            C::User(name) => return self.user(name).await,
            C::Pass(password) => return self.pass(password).await,
            C::Acct(account) => return self.acct(account).await,
            C::Quit => return self.quit().await,
            C::Rein => return self.rein().await,
            C::Auth(mechanism) => return self.auth(&mechanism).await,
            C::Pbsz => self.pbsz().await,
            C::Prot(level) => self.prot(&level).await,
            C::Ccc => self.reply(Reply::CCC_DENIED).await,
            C::Feat | C::Opts(_) | C::Syst if self.awaits_server() => {
                self.before_server(&command).await;
            }
            C::Feat => self.feat().await,
            C::Opts(argument) => self.opts(&argument).await,
            C::Help => self.help().await,
            C::SiteHelp => self.reply(Reply::SITE_HELP).await,
            C::Noop => self.reply(Reply::NOOP).await,
            C::Syst => self.reply(Reply::SYSTEM).await,
            C::Stat(None) => self.status().await,
            C::Allo => self.reply(Reply::ALLO).await,
            C::Abor => self.reply(Reply::NO_TRANSFER).await,
            _ if !matches!(self.login, LoginState::LoggedIn(_)) => {
                self.reply(Reply::NOT_LOGGED_IN).await;
            }
            command => return self.dispatch_logged_in(command).await,
        }
        Flow::Continue
    }

    async fn dispatch_logged_in(&mut self, command: C) -> Flow {
        let outcome = match command {
            C::Pasv | C::Epsv(_) | C::Port(_) if self.client_info.live.drain().is_draining() => {
                return self.end_drained().await;
            }
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
            C::List(path) => self.list(path, listing::ListingFormat::List).await,
            C::Nlst(path) => self.list(path, listing::ListingFormat::Nlst).await,
            C::Mlsd(path) => self.list(path, listing::ListingFormat::Mlsd).await,
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
            // `dispatch` has handled every other command.
            _ => Err(Failure::gateway(FailureKind::Internal, "unexpected command")),
        };
        match outcome {
            Ok(flow) => flow,
            Err(failure) => self.fail(&failure).await,
        }
    }

    /// The session. `dispatch` refuses commands that need one before the login.
    fn logged_in(&mut self) -> Result<&mut LoggedIn, Failure> {
        match &mut self.login {
            LoginState::LoggedIn(logged_in) => Ok(logged_in),
            _ => Err(Reply::NOT_LOGGED_IN.failure(FailureKind::LoginRefused, Fault::Client)),
        }
    }

    /// Resolves a pathname of the client against its working directory.
    fn path(&mut self, given: &[u8]) -> Result<RemotePath, Failure> {
        RemotePath::resolve(&self.logged_in()?.directory, given)
            .map_err(|e| Failure::client(FailureKind::NameRefused, e))
    }
}

/// A command handler has sent its reply, or returns the failure to reply with.
type Outcome = Result<Flow, Failure>;
