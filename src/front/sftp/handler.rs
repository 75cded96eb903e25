//! russh's callbacks: authentication (RFC 4252) and channels (RFC 4254).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::client::GexParams;
use russh::kex::dh::groups::DhGroup;
use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{ChannelId, ChannelOpenFailure, Disconnect, Error, Pty};
use tokio_util::sync::CancellationToken;

use super::auth::{self, Logins};
use super::channel::Channel;
use super::channel_request::SUBSYSTEM;
use super::connection::Connection;
use super::groups;
use super::window::window_size;
use crate::op::Fault;
use crate::session::SessionEnd;
use crate::task;

/// SSH_OPEN_RESOURCE_SHORTAGE (RFC 4254 section 5.1).
const RESOURCE_SHORTAGE: u32 = 4;
const TOO_MANY_CHANNELS: &str = "too many channels on this connection; connect again";

pub(super) struct Handler {
    connection: Arc<Connection>,
    logins: Logins,
    channels: HashMap<ChannelId, ChannelState>,
    /// Channels whose task is running.
    open: Arc<AtomicUsize>,
    /// Channels that russh keeps in memory: all that the client did not close first.
    retained: u64,
}

struct ChannelState {
    /// The client has started the one subsystem or program of the channel (RFC 4254 section 6.5).
    started: bool,
    /// Ends the channel's task.
    end: CancellationToken,
}

/// Counts an open channel.
struct OpenChannel(Arc<AtomicUsize>);

impl Handler {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        let logins = Logins::new(connection.clone());
        Self { connection, logins, channels: HashMap::new(), open: Arc::default(), retained: 0 }
    }

    /// Whether a channel may start a subsystem or program: only once.
    fn start(&mut self, id: ChannelId) -> bool {
        let state = self.channels.get_mut(&id);
        state.is_some_and(|state| !std::mem::replace(&mut state.started, true))
    }

    /// The channel's task sends the reason and the reply.
    fn refuse_program(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        if self.start(id) { Ok(()) } else { session.channel_failure(id) }
    }

    fn has_reached_retained_max(&self) -> bool {
        self.retained >= self.connection.shared.settings.retained_channels
    }

    fn refusal(&self) -> Option<ChannelOpenFailure> {
        let limit = self.connection.shared.settings.channels;
        let open = self.open.load(Ordering::Relaxed);
        let live = &self.connection.client_info.live;
        let reason = if live.drain().is_draining() {
            format!("{}; connect again", live.end().reason())
        } else if open >= limit {
            format!("too many channels on this connection (channels: {limit}); close one")
        } else if self.has_reached_retained_max() {
            if open == 0 {
                end_connection(&self.connection);
            }
            TOO_MANY_CHANNELS.to_owned()
        } else {
            return None;
        };
        Some(ChannelOpenFailure::Other { code: RESOURCE_SHORTAGE, reason })
    }
}

impl russh::server::Handler for Handler {
    type Error = Error;

    async fn lookup_dh_gex_group(&mut self, request: &GexParams) -> Result<Option<DhGroup>, Error> {
        Ok(groups::group(request))
    }

    /// Once, with the reply to the service request.
    async fn authentication_banner(&mut self) -> Result<Option<String>, Error> {
        Ok(self.connection.shared.settings.greeting.as_ref().map(auth::banner))
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        Ok(self.logins.reject(user))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Error> {
        Ok(self.logins.password(user, password.as_bytes()).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        match response {
            None => Ok(self.logins.ask_password(user)),
            Some(mut answers) => match answers.next() {
                Some(password) => Ok(self.logins.password(user, &password).await),
                None => Ok(self.logins.reject(user)),
            },
        }
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        Ok(self.logins.offer(user, offer.public_key, offer.algorithm).await)
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        Ok(self.logins.public_key(user, key.public_key, key.algorithm).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Error> {
        Ok(self.logins.certificate(user, certificate).await)
    }

    async fn channel_open_session(
        &mut self,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        russh: &mut Session,
    ) -> Result<(), Error> {
        if let Some(failure) = self.refusal() {
            reply.reject(failure).await;
            return Ok(());
        }
        let Some(session) = self.connection.session().cloned() else {
            return Err(Error::Inconsistent);
        };
        // russh does not report the end of channels that the gateway closed.
        self.channels.retain(|_, state| !state.end.is_cancelled());
        let end = self.connection.closing.child_token();
        self.channels.insert(channel.id(), ChannelState { started: false, end: end.clone() });
        self.retained += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        let counted = OpenChannel(self.open.clone());
        let (last, open) = (self.has_reached_retained_max(), self.open.clone());
        let (connection, handle) = (self.connection.clone(), russh.handle());
        reply.accept().await;
        let span = session.span().clone();
        let serving = async move {
            let _ended = end.clone().drop_guard();
            Channel::serve(connection.clone(), session, channel, handle, end).await;
            drop(counted);
            if last && open.load(Ordering::Relaxed) == 0 {
                end_connection(&connection);
            }
        };
        span.in_scope(|| task::spawn_tracked(&self.connection.channels, serving));
        Ok(())
    }

    /// Called only where the client closes first.
    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.retained = self.retained.saturating_sub(1);
        if let Some(state) = self.channels.remove(&id) {
            state.end.cancel();
        }
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        window_size(self.open.load(Ordering::Relaxed))
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        if name == SUBSYSTEM && self.start(id) {
            session.channel_success(id)
        } else {
            session.channel_failure(id)
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.refuse_program(id, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_program(id, session)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(id)
    }
}

/// Clients that share a connection open a new one after its end, but not after a refused channel.
fn end_connection(connection: &Connection) {
    connection.end(Disconnect::ByApplication, SessionEnd::by(Fault::Client, TOO_MANY_CHANNELS));
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
