//! USER, PASS, ACCT, REIN, QUIT: RFC 959 sections 4.1.1 and 5.4.

use zeroize::Zeroizing;

use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::{Flow, LoggedIn, LoginState, RelayedState, TransferState};
use crate::front::ftp::reply::Reply;
use crate::op::{Failure, FailureKind, Fault, Greeting};
use crate::session::{ClientRefusal, EndSlot, Password, PasswordNeed, Proof, SessionEnd};

impl Client {
    pub(super) async fn user(&mut self, name: Vec<u8>) -> Flow {
        match self.login {
            LoginState::LoggedIn(_) => {
                self.reply(Reply::LOGGED_IN_ALREADY).await;
            }
            _ if self.needs_tls() => {
                let reason = "the client did not use TLS, and the listener has `tls.mode: required`; \
                              configure FTP over explicit TLS in the client";
                self.log_refused(ClientRefusal::NoTls, reason);
                self.reply(Reply::TLS_REQUIRED).await;
            }
            _ => {
                let gateway = &self.shared.gateway;
                let reply = match gateway.password_need(&self.client_info, &name) {
                    PasswordNeed::Nothing => return self.log_in(name, None).await,
                    PasswordNeed::Password => Reply::PASSWORD,
                    PasswordNeed::MailAddress => Reply::MAIL_ADDRESS,
                };
                self.login = LoginState::User(name);
                self.reply(reply).await;
            }
        }
        Flow::Continue
    }

    pub(super) async fn pass(&mut self, password: Zeroizing<Vec<u8>>) -> Flow {
        match std::mem::replace(&mut self.login, LoginState::Initial) {
            LoginState::User(user) => self.log_in(user, Some(password.into())).await,
            other => {
                let reply = match &other {
                    // Some clients send it whatever the reply to USER was.
                    LoginState::LoggedIn(logged_in) if logged_in.by_certificate => {
                        Reply::PASS_SUPERFLUOUS
                    }
                    _ => Reply::LOGIN_WITH_USER,
                };
                self.login = other;
                self.reply(reply).await;
                Flow::Continue
            }
        }
    }

    pub(super) async fn acct(&mut self, account: Zeroizing<Vec<u8>>) -> Flow {
        match std::mem::replace(&mut self.login, LoginState::Initial) {
            LoginState::Account(user, password) => {
                self.log_in(user, Some(Password { account: Some(account), ..password.into() }))
                    .await
            }
            other => {
                let reply = match other {
                    LoginState::LoggedIn(_) => Reply::ACCT_SUPERFLUOUS,
                    _ => Reply::LOGIN_BEFORE_ACCT,
                };
                self.login = other;
                self.reply(reply).await;
                Flow::Continue
            }
        }
    }

    pub(super) async fn rein(&mut self) -> Flow {
        if let LoginState::LoggedIn(logged_in) =
            std::mem::replace(&mut self.login, LoginState::Initial)
        {
            logged_in.session.close().await;
            self.client_info.end.set(SessionEnd::done("the client sent REIN"));
            drop(logged_in);
            // Another session follows on the same connection.
            self.client_info.end = EndSlot::default();
            self.restart_login_timeout();
        }
        self.transfer = TransferState::default();
        self.facts = Default::default();
        if self.shared.replaced.is_cancelled() {
            // The next login would go by routes that are in force no more, for as long as the client likes.
            let reason = "the configuration has changed; connect again";
            self.end_early(SessionEnd::by(Fault::Gateway, reason)).await;
            return Flow::Close;
        }
        self.reply(Reply::READY_AGAIN).await;
        Flow::Continue
    }

    pub(super) async fn quit(&mut self) -> Flow {
        self.client_info.end.set(SessionEnd::done("the client sent QUIT"));
        self.reply(Reply::GOODBYE).await;
        Flow::Close
    }

    fn needs_tls(&self) -> bool {
        self.tls_required() && !self.control.is_tls()
    }

    /// `given`: `None` if the connection's certificate is enough.
    async fn log_in(&mut self, user: Vec<u8>, given: Option<Password>) -> Flow {
        let password = given.as_ref().map(|given| given.password.clone());
        let (proof, done) = match given {
            Some(given) => (Proof::password(user.clone(), given), Reply::LOGGED_IN),
            None => (Proof::certificate(user.clone()), Reply::LOGGED_IN_BY_CERTIFICATE),
        };
        self.is_recorded = true;
        let gateway = self.shared.gateway.clone();
        let deadline = self.login_deadline();
        let login = gateway.login(&self.client_info, proof, deadline);
        // A login that waits for its backend must not outlive the client.
        let live = self.client_info.live.clone();
        let outcome = tokio::select! {
            outcome = self.control.while_connected(login) => outcome,
            end = live.forced() => {
                self.end_early(end).await;
                None
            }
        };
        let Some(outcome) = outcome else { return Flow::Close };
        match outcome {
            Ok(session) => {
                let directory = session.home();
                let by_certificate = password.is_none();
                let (rename_from, relayed) = (None, RelayedState::default());
                let logged_in =
                    LoggedIn { session, directory, rename_from, relayed, by_certificate };
                let greeting = logged_in.session.greeting();
                let mut lines: Vec<_> = greeting.map(Greeting::lines).unwrap_or_default().to_vec();
                // Last, where clients and scripts expect it.
                lines.push(String::from_utf8_lossy(&done.text).into_owned());
                self.login = LoginState::LoggedIn(Box::new(logged_in));
                self.control.reply_lines(done.code, &lines).await;
                Flow::Continue
            }
            Err(failure) => {
                if let (FailureKind::AccountNeeded, Some(password)) = (failure.kind, password) {
                    self.login = LoginState::Account(user, password);
                }
                self.login_failed(&failure).await
            }
        }
    }

    async fn login_failed(&mut self, failure: &Failure) -> Flow {
        self.failed_logins += 1;
        let flow = self.fail(failure).await;
        if flow == Flow::Continue && self.failed_logins >= self.shared.gateway.limits.login_attempts
        {
            self.client_info.end.set(SessionEnd::by(Fault::Client, "too many failed logins"));
            self.reply(Reply::TOO_MANY_LOGINS).await;
            return Flow::Close;
        }
        flow
    }
}
