//! The guard against guessing: what a login waits for, and what a failed one counts.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::super::client_info::ClientInfo;
use super::super::client_refusal::ClientRefusal;
use super::super::proof::Proof;
use super::Gateway;
use crate::auth::{LoginGuard, PasswordSent};
use crate::op::{Failure, FailureKind};

/// No login is refused sooner: what differs between the ways to a refusal takes less time.
const REFUSAL_FLOOR: Duration = Duration::from_millis(250);

/// What clients of a banned address read.
pub const BANNED: &str = "too many failed logins from your address; try again later";

/// One login, for the guard.
pub(super) struct Attempt {
    /// When it may begin.
    begin: Instant,
    user: Vec<u8>,
    /// Keys cannot be guessed; a connection with refused ones is counted when it ends.
    has_password: bool,
}

impl Attempt {
    /// `user`: whose password it is.
    pub(super) fn new(user: &[u8], proof: &Proof, delay: Duration) -> Self {
        let has_password = proof.password.is_some();
        Self { begin: Instant::now() + delay, user: user.to_owned(), has_password }
    }
}

/// Dropped before its outcome, a login counts as a refused one if a backend or a login hook has the password:
/// servers accept at once and refuse late, so who hangs up in between knows enough.
pub(super) struct Undecided<'a> {
    guard: &'a LoginGuard,
    address: IpAddr,
    user: &'a [u8],
    sent: Option<PasswordSent>,
}

impl<'a> Undecided<'a> {
    pub(super) fn new(
        guard: &'a LoginGuard,
        client: &ClientInfo,
        attempt: &'a Attempt,
        proof: &Proof,
    ) -> Self {
        let sent = proof.password.as_ref().map(|password| password.sent.clone());
        Self { guard, address: client.peer.ip(), user: &attempt.user, sent }
    }

    /// There is an outcome.
    pub(super) fn decided(mut self) {
        self.sent = None;
    }
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        if self.sent.as_ref().is_some_and(PasswordSent::is_set) {
            self.guard.login_refused(self.address, Some(self.user));
        }
    }
}

impl Gateway {
    /// Whether to close a new connection of a banned address, which is counted, but not logged.
    pub fn refuses(&self, listener: &str, address: IpAddr) -> bool {
        let is_banned = self.guard.is_banned(address);
        if is_banned {
            self.metrics.client_refused(listener, ClientRefusal::Banned);
        }
        is_banned
    }

    /// Counts a connection without a login of which public keys were refused.
    pub fn keys_refused(&self, client: &ClientInfo) {
        self.guard.login_refused(client.peer.ip(), None);
    }

    /// Waits for the delay of a login. Nothing else waits for it.
    pub(super) async fn pass_guard(
        &self,
        client: &ClientInfo,
        attempt: &Attempt,
    ) -> Result<(), Failure> {
        self.refuse_banned(client)?;
        if attempt.begin > Instant::now() {
            sleep_until(attempt.begin).await;
            self.refuse_banned(client)?;
        }
        Ok(())
    }

    /// For connections that are older than the ban.
    pub(super) fn refuse_banned(&self, client: &ClientInfo) -> Result<(), Failure> {
        if !self.guard.is_banned(client.peer.ip()) {
            return Ok(());
        }
        let detail = "the client's address is banned after failed logins (login_guard); `lockgate bans --lift` \
                      lifts it";
        Err(Failure::client(FailureKind::Unavailable, BANNED).with_detail(detail))
    }

    /// Counts a guess, and holds the answer back until every refusal's time. A backend that cannot be reached
    /// is no guess.
    pub(super) async fn login_failed(
        &self,
        client: &ClientInfo,
        attempt: &Attempt,
        failure: &Failure,
        deadline: Instant,
    ) {
        if failure.kind != FailureKind::LoginRefused {
            return;
        }
        if attempt.has_password {
            self.guard.login_refused(client.peer.ip(), Some(&attempt.user));
        }
        sleep_until((attempt.begin + REFUSAL_FLOOR).min(deadline)).await;
    }
}
