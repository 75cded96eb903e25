//! The login: the route, the user, the backend, within one deadline; and its record.

use std::sync::Arc;

use tracing::Instrument;

use super::super::client_info::ClientInfo;
use super::super::core::SessionCore;
use super::super::login_basis::{Judged, LoginBasis, Presented};
use super::super::login_record::LoginRecord;
use super::super::open_uploads::OpenUploads;
use super::super::proof::Proof;
use super::super::rules::SessionRules;
use super::super::session_info::{Established, Granted, SessionInfo};
use super::super::session_record::SessionRecord;
use super::Gateway;
use super::backend_login::LoggedIn;
use super::guessing::{Attempt, Undecided};
use super::progress::Progress;
use crate::auth::UserTable;
use crate::op::{Failure, FailureKind, Outage};
use crate::route::Chosen;
use crate::session::Session;

impl Gateway {
    /// Authenticates a user, chooses the route, and logs in at its backend, all until `deadline`.
    /// Writes one record.
    pub async fn login(
        &self,
        client: &ClientInfo,
        proof: Proof,
        deadline: tokio::time::Instant,
    ) -> Result<Session, Failure> {
        let users = self.passwords.users();
        let name = proof.user.clone();
        let chosen = self.choose_among(&users, client.login(&name));
        let choice = chosen.choice.as_ref();
        let info = SessionInfo::new(client, &proof, choice, &self.audit);
        let info = Arc::new(info);
        client.live.login_begins(info.account());
        let mut record = LoginRecord::new(info.clone(), self.metrics.clone());
        if let Err(failure) = self.audit.admits() {
            let failure = Failure { kind: FailureKind::Unavailable, ..failure };
            client.live.login_failed();
            record.done(Err(&failure));
            return Err(failure);
        }
        let progress = Progress::default();
        let span = info.span();
        // Not the name with a backend's: the password is the same at each.
        let user = choice.map_or(&proof.user, |choice| &choice.user);
        let delay = self.guard.delay(client.peer.ip(), user);
        record.delayed(delay);
        let attempt = Attempt::new(user, &proof, delay);
        let presented = Presented::now(client.certificate.get().cloned(), &proof);
        let undecided = Undecided::new(&self.guard, client, &attempt, &proof);
        let login = async {
            self.pass_guard(client, &attempt).await?;
            self.log_in(&users, &chosen, client, proof, &info, &progress).await
        };
        let login = login.instrument(span);
        let outcome = tokio::time::timeout_at(deadline, login);
        let outcome = outcome
            .await
            .unwrap_or_else(|_| Err(too_long(progress.is_at_backend().then_some(info.backend()))));
        undecided.decided();
        if let Some(certificate) = progress.into_minted() {
            let _ = info.minted.set(certificate);
        }
        if let Ok(LoggedIn { facts, backend, .. }) = &outcome {
            let (groups, peer) = (facts.groups.clone(), backend.peer());
            let resume_note = backend.resume_note();
            let files = Some(self.expected.of_session(facts.clone(), self.names(&facts.backend)));
            let _ = info.established.set(Established { groups, peer, files, resume_note });
            client.live.login_succeeded(info.account());
        } else {
            client.live.login_failed();
        }
        record.done(outcome.as_ref().map(|_| ()));
        if let (Err(failure), Some(backend)) = (&outcome, self.backends.get(info.backend())) {
            self.metrics.outages.note(info.backend(), backend.addresses(), failure);
        }
        if let Err(failure) = &outcome {
            self.login_failed(client, &attempt, failure, deadline).await;
        }
        let LoggedIn { facts, root, limits, backend } = outcome?;
        let basis = chosen.choice.as_ref().map(|choice| {
            LoginBasis::new(client.login(&name), choice, &users, facts.clone(), presented)
        });
        let session = Session::new(SessionCore {
            rules: Arc::new(SessionRules::new(self.session_policy(facts))),
            limits,
            record: SessionRecord::new(info.clone()),
            // A login hook may have changed what it shows.
            span: info.span(),
            info,
            metrics: self.metrics.clone(),
            root,
            backend,
            greeting: chosen.choice.and_then(|choice| choice.route.greeting.clone()),
            open_uploads: OpenUploads::default(),
        });
        if let Some(basis) = basis {
            client.live.set_judged(Judged { basis, rules: Arc::downgrade(&session.core.rules) });
        }
        Ok(session)
    }

    async fn log_in(
        &self,
        users: &UserTable,
        chosen: &Chosen<'_>,
        client: &ClientInfo,
        proof: Proof,
        info: &SessionInfo,
        progress: &Progress,
    ) -> Result<LoggedIn, Failure> {
        let user = self.authenticate(users, chosen, client, &proof).await?;
        if let Some(destination) = user.as_ref().and_then(|user| user.destination.as_ref()) {
            let granted =
                Granted { user: destination.user.clone(), backend: destination.backend.clone() };
            let _ = info.granted.set(granted);
        }
        let Some(choice) = &chosen.choice else { return Err(self.without_route(chosen)) };
        self.log_in_at_backend(choice, client, user, proof, progress).await
    }
}

/// `backend`: set once the login there has started.
fn too_long(backend: Option<&str>) -> Failure {
    let message = "the login took too long; try again";
    match backend {
        Some(backend) => Failure::backend(FailureKind::Unavailable, message)
            .with_detail(format!(
                "backend \"{backend}\" had not answered yet, or the login still waited for a connection \
                 (`connects_at_once`)"
            ))
            .with_outage(Outage::Timeout),
        None => Failure::gateway(FailureKind::Unavailable, message).with_detail(
            "the gateway had not checked the password yet, or still waited for the checks of other \
             logins, or a login hook had not answered yet (its `timeout` and \
             `requests_at_once`); no backend was involved",
        ),
    }
}
