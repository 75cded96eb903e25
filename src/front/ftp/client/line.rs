//! A line of a client: parsed, checked, and handled or relayed.

use zeroize::Zeroizing;

use super::Client;
use crate::front::ftp::client_state::{Flow, LoginState};
use crate::front::ftp::command_queue::Line;
use crate::front::ftp::reply::{self, Reply};
use crate::op::Failure;
use crate::wire::ftp::command::{self, Command};
use crate::wire::ftp::relayed::RelayedCommand;

impl Client {
    pub(super) async fn handle_line(&mut self, line: Line) -> Flow {
        // The client goes on, so it has received the last download.
        self.transfer.sent = None;
        let Ok(line) = line.map(Zeroizing::new) else {
            self.reset_preparations();
            self.reply(Reply::LINE_TOO_LONG).await;
            return Flow::Continue;
        };
        if let Some(tls) = self.tls.as_ref().filter(|_| self.control.is_tls()) {
            tls.note_command();
        }
        if self.is_opaque() {
            match RelayedCommand::parse(&line) {
                // Boxed: sessions at other servers do not need its space.
                Ok(Some(command)) => return Box::pin(self.relay(command)).await,
                Ok(None) => {}
                Err(error) => {
                    self.reset_preparations();
                    self.reply(reply::of_command_error(&error)).await;
                    return Flow::Continue;
                }
            }
        }
        match command::parse(&line) {
            Ok(command) => {
                if let Err(failure) = self.check_command(&line) {
                    self.reset_preparations();
                    return self.fail(&failure).await;
                }
                self.execute(command).await
            }
            Err(error) => {
                self.reset_preparations();
                self.reply(reply::of_command_error(&error)).await;
                Flow::Continue
            }
        }
    }

    /// Refuses a command that a policy rule denies.
    fn check_command(&self, line: &[u8]) -> Result<(), Failure> {
        match &self.login {
            LoginState::LoggedIn(logged_in) if logged_in.session.restricts_commands() => {
                logged_in.session.check_command(&command::name_of(line))
            }
            _ => Ok(()),
        }
    }

    async fn execute(&mut self, command: Command) -> Flow {
        // REST applies to the next transfer. Commands that clients send between the two keep it,
        // all others reset it. RNFR applies to the next command only.
        use Command as C;
        let keeps_restart = matches!(
            command,
            C::Retr(_)
                | C::Store(..)
                | C::Stou
                | C::Pasv
                | C::Epsv(_)
                | C::Port(_)
                | C::Type(_)
                | C::Mode(_)
                | C::Stru(_)
                | C::Allo
                | C::Noop
                | C::Pbsz
                | C::Prot(_)
                | C::Size(_)
                | C::Mdtm(_)
                | C::Feat
                | C::Opts(_)
                | C::Stat(None)
                | C::Pwd
                | C::Syst
                | C::Help
        );
        if !keeps_restart {
            self.transfer.restart = 0;
        }
        if !matches!(command, Command::Rnto(_))
            && let LoginState::LoggedIn(logged_in) = &mut self.login
        {
            logged_in.rename_from = None;
            logged_in.relayed.rename_from = None;
        }
        self.dispatch(command).await
    }

    /// A command that is refused uses up REST and RNFR.
    pub(in crate::front::ftp) fn reset_preparations(&mut self) {
        self.transfer.restart = 0;
        if let LoginState::LoggedIn(logged_in) = &mut self.login {
            logged_in.rename_from = None;
            logged_in.relayed.rename_from = None;
        }
    }
}
