//! An SSH server of russh's whose logins each test configures.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, Response, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Preferred};
use tokio::net::TcpListener;

use crate::wire::sftp::{
    Attributes, MAX_PACKET, Name, PacketReader, Request, Response as SftpResponse, ResponseBody,
    Version,
};

#[derive(Clone)]
pub(super) struct SshServer {
    pub(super) methods: &'static [MethodKind],
    /// The prompts of keyboard-interactive, and whether the input is shown.
    pub(super) prompts: &'static [(&'static str, bool)],
    pub(super) subsystem: bool,
    /// Before it checks a password.
    pub(super) delay: Duration,
    /// Closes the connection instead of checking a password.
    pub(super) disconnects: bool,
    pub(super) packets: Arc<std::sync::Mutex<(PacketReader, bool)>>,
}

impl SshServer {
    pub(super) fn new(methods: &'static [MethodKind]) -> Self {
        let packets = Arc::new(std::sync::Mutex::new((PacketReader::new(MAX_PACKET), false)));
        Self {
            methods,
            prompts: &[("Password: ", false)],
            subsystem: true,
            delay: Duration::ZERO,
            disconnects: false,
            packets,
        }
    }

    fn reject(&self) -> Auth {
        let proceed_with_methods = Some(MethodSet::from(self.methods));
        Auth::Reject { proceed_with_methods, partial_success: false }
    }

    fn check(&self, user: &str, password: &[u8]) -> Auth {
        match (user, password) {
            ("alice", b"Secret") => Auth::Accept,
            _ => self.reject(),
        }
    }
}

impl Handler for SshServer {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        if !self.methods.contains(&MethodKind::Password) {
            return Ok(self.reject());
        }
        if self.disconnects {
            return Err(russh::Error::Disconnect);
        }
        tokio::time::sleep(self.delay).await;
        Ok(self.check(user, password.as_bytes()))
    }

    /// It does not support RFC 8332 (RSA with SHA-2).
    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        match key.algorithm {
            Algorithm::Rsa { hash: None } => Ok(Auth::Accept),
            _ => Ok(self.reject()),
        }
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut answers) = response else {
            let prompt = |(text, echo): &(&'static str, bool)| (Cow::Borrowed(*text), *echo);
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: self.prompts.iter().map(prompt).collect(),
            });
        };
        Ok(self.check(user, &answers.next().unwrap_or_default()))
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.subsystem {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.subsystem {
            return Ok(());
        }
        let mut out = BytesMut::new();
        {
            let mut state = self.packets.lock().unwrap();
            let (packets, initialized) = &mut *state;
            packets.push(Bytes::copy_from_slice(data));
            while let Some(packet) = packets.next().unwrap() {
                if !std::mem::replace(initialized, true) {
                    Version { version: 3, extensions: Vec::new() }.encode(&mut out);
                    continue;
                }
                let id = Request::decode(packet).unwrap().id;
                let (name, longname) = (Bytes::from_static(b"/home/alice"), Bytes::new());
                let home = Name { name, longname, attributes: Attributes::default() };
                SftpResponse { id, body: ResponseBody::Names(vec![home]) }.encode(&mut out);
            }
        }
        session.data(channel, out.freeze())
    }
}

/// Serves one connection. Returns its address.
pub(super) async fn serve(server: SshServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let config = russh::server::Config {
        keys: vec![key],
        methods: MethodSet::from(server.methods),
        auth_rejection_time: Duration::from_millis(10),
        // It lists no RSA signature algorithm, as old servers list none at all.
        preferred: Preferred { key: vec![Algorithm::Ed25519].into(), ..Preferred::DEFAULT },
        ..russh::server::Config::default()
    };
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = run_stream(Arc::new(config), tcp, server).await.unwrap().await;
    });
    address
}
