//! USER, PASS, ACCT, REIN, QUIT: RFC 959 sections 4.1.1 and 5.4.

use zeroize::Zeroizing;

use crate::auth::Credentials;
use crate::front::ftp::client::{Client, Flow, LoggedIn, LoginState, TransferState};
use crate::op::{Failure, FailureKind, Fault};
use crate::session::{ClientRefusal, EndSlot, Proof, SessionEnd};

impl Client {
    pub(super) async fn user(&mut self, name: Vec<u8>) -> Flow {
        match self.login {
            LoginState::In(_) => {
                self.answer(503, "you are logged in; REIN first to be somebody else").await;
            }
            _ if self.needs_tls() => {
                let what = "it spoke no TLS, and the listener has `tls.mode: required`; the client is to use FTP over explicit TLS";
                self.refused(ClientRefusal::NoTls, what);
                self.answer(530, "TLS is required here: AUTH TLS first").await;
            }
            _ => {
                self.login = LoginState::User(name);
                self.answer(331, "password, please").await;
            }
        }
        Flow::Continue
    }

    pub(super) async fn pass(&mut self, password: Zeroizing<Vec<u8>>) -> Flow {
        match std::mem::replace(&mut self.login, LoginState::Nobody) {
            LoginState::User(user) => self.enter(user, password, None).await,
            other => {
                self.login = other;
                self.answer(503, "USER first").await;
                Flow::Continue
            }
        }
    }

    pub(super) async fn acct(&mut self, account: Zeroizing<Vec<u8>>) -> Flow {
        match std::mem::replace(&mut self.login, LoginState::Nobody) {
            LoginState::Account(user, password) => self.enter(user, password, Some(account)).await,
            other => {
                let (code, text) = match other {
                    LoginState::In(_) => (202, "no account is needed"),
                    _ => (503, "USER and PASS first"),
                };
                self.login = other;
                self.answer(code, text).await;
                Flow::Continue
            }
        }
    }

    pub(super) async fn rein(&mut self) {
        if let LoginState::In(logged_in) = std::mem::replace(&mut self.login, LoginState::Nobody) {
            logged_in.session.close().await;
            self.client_info.end.set(SessionEnd::done("the client said REIN"));
            drop(logged_in);
            // What follows is another session on the same connection.
            self.client_info.end = EndSlot::default();
            self.begin_again();
        }
        self.transfer = TransferState::default();
        self.facts = Default::default();
        self.answer(220, "ready for another user").await;
    }

    pub(super) async fn quit(&mut self) -> Flow {
        self.client_info.end.set(SessionEnd::done("the client said QUIT"));
        self.answer(221, "goodbye").await;
        Flow::Close
    }

    fn needs_tls(&self) -> bool {
        self.tls_required() && !self.control.is_tls()
    }

    async fn enter(
        &mut self,
        user: Vec<u8>,
        password: Zeroizing<Vec<u8>>,
        account: Option<Zeroizing<Vec<u8>>>,
    ) -> Flow {
        let credentials =
            Credentials { user: user.clone(), password: password.clone(), account, key: None };
        self.has_tried_login = true;
        let gateway = self.shared.gateway.clone();
        let deadline = self.login_deadline();
        let login = gateway.login(&self.client_info, Proof::Password(credentials), deadline);
        // Who has gone keeps nobody waiting who is there.
        let Some(entered) = self.control.while_there(login).await else { return Flow::Close };
        match entered {
            Ok(session) => {
                let directory = session.home();
                let logged_in = LoggedIn { session, directory, rename_from: None };
                self.login = LoginState::In(Box::new(logged_in));
                self.answer(230, "logged in").await;
                Flow::Continue
            }
            Err(failure) => {
                if failure.kind == FailureKind::AccountNeeded {
                    self.login = LoginState::Account(user, password);
                }
                self.refuse(&failure).await
            }
        }
    }

    async fn refuse(&mut self, failure: &Failure) -> Flow {
        self.attempts += 1;
        let flow = self.fail(failure).await;
        if flow == Flow::Continue && self.attempts >= self.shared.gateway.limits.login_attempts {
            self.client_info.end.set(SessionEnd::by(Fault::Client, "too many failed logins"));
            self.answer(421, "too many failed logins; goodbye").await;
            return Flow::Close;
        }
        flow
    }
}
