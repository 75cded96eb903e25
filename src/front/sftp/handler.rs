//! What russh asks: who may log in, and what a channel may do (RFC 4254).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::client::GexParams;
use russh::kex::dh::groups::DhGroup;
use russh::server::{
    Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{ChannelId, ChannelOpenFailure, Disconnect, Error, Pty};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::auth::{self, Logins};
use super::channel::Channel;
use super::connection::Connection;
use super::groups;
use super::opening::SUBSYSTEM;
use super::window::window;
use crate::op::Fault;
use crate::session::SessionEnd;

/// Channels that one connection may have or have had, without those that the client closed first: of
/// the others russh keeps some kilobytes as long as the connection lives.
const CHANNELS_KEPT: u64 = if cfg!(test) { 100 } else { 5000 };

pub(super) struct Handler {
    connection: Arc<Connection>,
    logins: Logins,
    channels: HashMap<ChannelId, Wanted>,
    /// Channels whose task lives.
    open: Arc<AtomicUsize>,
    /// Channels of which russh keeps something.
    kept: u64,
}

/// What a channel was asked for.
struct Wanted {
    /// The one thing that a session channel may start (RFC 4254 section 6.5).
    started: bool,
    /// Ends the channel's task.
    end: CancellationToken,
}

/// Counts an open channel.
struct Place(Arc<AtomicUsize>);

impl Handler {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        let logins = Logins::new(connection.clone());
        Self { connection, logins, channels: HashMap::new(), open: Arc::default(), kept: 0 }
    }

    /// Whether a channel may start something; it may once.
    fn start(&mut self, id: ChannelId) -> bool {
        let wanted = self.channels.get_mut(&id);
        wanted.is_some_and(|wanted| !std::mem::replace(&mut wanted.started, true))
    }

    /// The channel's task says why, and answers.
    fn refuse_program(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        match self.start(id) {
            true => Ok(()),
            false => session.channel_failure(id),
        }
    }

    fn is_worn_out(&self) -> bool {
        self.kept >= CHANNELS_KEPT
    }

    fn refusal(&self) -> Option<ChannelOpenFailure> {
        let limit = self.connection.shared.settings.channels;
        if self.connection.shared.drain.is_draining() {
            let reason = "the gateway is shutting down; connect again".to_owned();
            return Some(ChannelOpenFailure::Other { code: 4, reason });
        }
        if self.open.load(Ordering::Relaxed) >= limit {
            let reason = format!("this connection has its most channels ({limit}); close one");
            return Some(ChannelOpenFailure::Other { code: 4, reason });
        }
        if self.is_worn_out() {
            if self.open.load(Ordering::Relaxed) == 0 {
                wear_out(&self.connection);
            }
            let reason = "this connection has opened too many channels; connect again".to_owned();
            return Some(ChannelOpenFailure::Other { code: 4, reason });
        }
        None
    }
}

impl russh::server::Handler for Handler {
    type Error = Error;

    async fn lookup_dh_gex_group(&mut self, wanted: &GexParams) -> Result<Option<DhGroup>, Error> {
        Ok(groups::group(wanted))
    }

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Error> {
        Ok(auth::reject())
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
            None => Ok(auth::ask_password()),
            Some(mut answers) => match answers.next() {
                Some(password) => Ok(self.logins.password(user, &password).await),
                None => Ok(auth::reject()),
            },
        }
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        Ok(self.logins.offer(user, offer.public_key, offer.algorithm))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        Ok(self.logins.public_key(user, key.public_key, key.algorithm).await)
    }

    async fn channel_open_session(
        &mut self,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        russh: &mut Session,
    ) -> Result<(), Error> {
        if let Some(why) = self.refusal() {
            reply.reject(why).await;
            return Ok(());
        }
        let Some(session) = self.connection.session().cloned() else {
            return Err(Error::Inconsistent);
        };
        // Of channels that the gateway closed russh tells no more.
        self.channels.retain(|_, wanted| !wanted.end.is_cancelled());
        let end = self.connection.closing.child_token();
        self.channels.insert(channel.id(), Wanted { started: false, end: end.clone() });
        self.kept += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.open.clone());
        let (last, open) = (self.is_worn_out(), self.open.clone());
        let (connection, handle) = (self.connection.clone(), russh.handle());
        reply.accept().await;
        let span = session.span().clone();
        let serving = async move {
            let _ended = end.clone().drop_guard();
            Channel::serve(connection.clone(), session, channel, handle, end).await;
            drop(place);
            if last && open.load(Ordering::Relaxed) == 0 {
                wear_out(&connection);
            }
        };
        self.connection.channels.spawn(serving.instrument(span));
        Ok(())
    }

    /// Is called only where the client was first.
    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.kept = self.kept.saturating_sub(1);
        if let Some(wanted) = self.channels.remove(&id) {
            wanted.end.cancel();
        }
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        window(self.open.load(Ordering::Relaxed))
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        match name == SUBSYSTEM && self.start(id) {
            true => session.channel_success(id),
            false => session.channel_failure(id),
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

/// Clients that share a connection make a new one where there is none, but not where a channel is
/// refused.
fn wear_out(connection: &Connection) {
    let why = "this connection has had too many channels; connect again";
    connection.end(Disconnect::ByApplication, SessionEnd::by(Fault::Client, why));
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
