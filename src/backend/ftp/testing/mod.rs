//! A scripted FTP server for tests. It keeps files in memory, counts round trips, and can have the
//! oddities of real servers.

mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;

use super::{
    DataMode, Dialect, FtpBackend, PassiveCommand, Settings, Timing, TlsMode, UncheckedRename,
};
use crate::auth::Credentials;
use crate::backend::{
    Backend, BackendSession, IgnoredAttributes, Login, Origin, PartialUploads, SendProxyProtocol,
    UnsupportedAttributes,
};
use crate::net::{Connector, Connectors};
use crate::policy::Names;
use crate::wire::proxy::Header;
use session::{Session, take_header};

const MODIFIED: &str = "20260102030405";

/// How the server deviates from a plain one.
#[derive(Clone, Default)]
pub(super) struct Oddities {
    /// Discards what arrives along with a command.
    pub drops_pipelined: bool,
    /// Data connections take a second to establish, as to a distant server.
    pub distant: bool,
    /// Replies 425 to a transfer whose data connection is not established.
    pub impatient: bool,
    /// Ends each download after so many bytes, with this reply.
    pub cuts_downloads_at: Option<(usize, &'static str)>,
    /// Replies to the end of each upload with this.
    pub refuses_uploads: Option<&'static str>,
    /// Does not overwrite by renames.
    pub never_overwrites: bool,
    /// Drops its first connection instead of renaming a file to this.
    pub drops_renaming_to: Option<&'static str>,
    pub no_mlst: bool,
    /// Does not support STAT with a path.
    pub no_stat: bool,
    pub no_site: bool,
    /// Returns ports that nothing listens on.
    pub dead_ports: bool,
    /// RETR: drops both connections after so many bytes.
    pub drops_download_at: Option<usize>,
    /// Refuses logins beyond so many at once.
    pub logins_max: Option<usize>,
    /// LIST does not support `-a`, and hides names that start with a dot.
    pub hides_dot_files: bool,
    /// SIZE is refused with 550.
    pub no_size: bool,
    /// Closes so many ports right after a client has connected.
    pub closes_ports: usize,
    /// Replies 425 to so many transfers.
    pub refuses_transfers: usize,
    /// Uploaded files appear at the end of the upload.
    pub shows_uploads_at_end: bool,
    /// Every connection starts with a PROXY protocol header.
    pub proxied: bool,
    /// Control connections start with a PROXY protocol header.
    pub proxied_control: bool,
    /// Checks whether folders exist, and refuses with 550 without a reason.
    pub unspecific: bool,
    /// STOR: drops both connections after so many bytes.
    pub drops_upload_at: Option<usize>,
    /// The final reply to listings.
    pub ends_listings: Option<&'static str>,
    /// The reply to listings, instead of any data.
    pub replies_to_listings: Option<&'static str>,
    /// LIST always shows this.
    pub list_shows: Option<&'static str>,
    /// Listings: resets the data connection after so many bytes.
    pub resets_listings: Option<usize>,
    pub no_ascii: bool,
    /// SIZE is unknown.
    pub size_unknown: bool,
    /// Like ProFTPD: facts of links have the type of the target and the length of the link.
    pub links_as_files: bool,
    /// STOR: closes the data connection after so many bytes, and replies with success.
    pub closes_upload_at: Option<usize>,
    /// STOR and APPE: reads everything, then resets the data connection.
    pub resets_after_upload: bool,
    /// The reply to PWD; none if empty.
    pub pwd: Option<&'static [u8]>,
    /// The login folder; relative paths start there.
    pub login_folder: &'static str,
    /// STOR: reads so few bytes at a time, 50 ms apart.
    pub reads_slowly: Option<usize>,
    /// Without a data connection, does not reply to a transfer until ABOR.
    pub ignores_missing_data: bool,
    /// The command that sets times: `MFMT` (default), `MDTM`, `UTIME`, `UTIME UTC`, or `none`.
    pub sets_times_by: Option<&'static str>,
    /// Commands that set no time but are confirmed.
    pub falsely_confirms: &'static [&'static str],
    /// Denies setting times.
    pub denies_times: bool,
    pub greeting: Option<&'static str>,
    /// The line end.
    pub line_end: Option<&'static str>,
    /// The reply to LIST with `-a`.
    pub refuses_list_all: Option<&'static str>,
    /// LIST takes `-a` for an absent file, and shows nothing.
    pub takes_options_as_names: bool,
    /// Sends 150 before it has a data connection.
    pub announces_early: bool,
}

#[derive(Default)]
pub(super) struct Seen {
    pub files: BTreeMap<String, Vec<u8>>,
    /// By current name, the prefix of the files in them.
    pub folders: BTreeMap<String, String>,
    /// Links and their targets.
    pub links: BTreeMap<String, String>,
    /// Replies by verb, in place of the usual ones; none if empty. `{port}`, or `{high}` and
    /// `{low}`, is replaced by a port that is listened on, `{dead}` by one that is not, `{full}` by
    /// one that nothing can connect to. `150` is the reply that announces transfers, `end` the one
    /// that ends uploads.
    pub replies: BTreeMap<&'static str, &'static str>,
    /// The permissions that were set, by name.
    pub modes: BTreeMap<String, u32>,
    /// The times that were set, by name.
    pub times: BTreeMap<String, String>,
    /// The modification time, if not [`MODIFIED`].
    pub modified: Option<&'static str>,
    pub lines: Vec<String>,
    /// Round trips: how often the server waited for a command.
    pub round_trips: usize,
    /// Connections that wait for a command.
    pub idle: usize,
    pub connections: usize,
    pub open: usize,
    /// Transfers that arrived before their data connection.
    pub early_transfers: usize,
    /// Of control and data connections, in order of arrival.
    pub headers: Vec<Header>,
}

#[derive(Clone)]
pub(super) struct Server {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(super) async fn start(files: &[(&str, &[u8])], oddities: Oddities) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, seen: Arc::default() };
        let own = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        server.seen().files.extend(own);
        let seen = server.seen.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (seen, oddities) = (seen.clone(), oddities.clone());
                tokio::spawn(async move {
                    {
                        let mut seen = seen.lock().unwrap();
                        seen.connections += 1;
                        seen.open += 1;
                    }
                    let proxied = oddities.proxied || oddities.proxied_control;
                    let mut session = Session::new(tcp, seen.clone(), oddities);
                    if proxied {
                        take_header(&mut session.control, &seen).await.unwrap();
                    }
                    // The outcome does not matter.
                    let _ = session.run().await;
                    drop(session);
                    seen.lock().unwrap().open -= 1;
                });
            }
        });
        server
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(super) fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.seen().files.get(name).cloned()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().lines.clone()
    }

    pub(super) fn count(&self, verb: &str) -> usize {
        self.lines().iter().filter(|line| line.split(' ').next() == Some(verb)).count()
    }

    /// Round trips since the last call, once every connection waits for a command.
    pub(super) async fn take_round_trips(&self) -> usize {
        self.wait_until_idle().await;
        std::mem::take(&mut self.seen().round_trips)
    }

    pub(super) async fn wait_until_idle(&self) {
        self.until(|seen| seen.idle == seen.open).await;
    }

    pub(super) async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        let held = async {
            while !condition(&self.seen()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), held).await.expect("no round trip in time");
    }

    pub(super) fn backend(&self) -> FtpBackend {
        self.backend_with(|_| {})
    }

    pub(super) fn backend_with(&self, change: impl FnOnce(&mut Settings)) -> FtpBackend {
        let mut settings = Settings {
            name: "test".into(),
            addresses: vec![self.address.clone()],
            dialect: Dialect::Unix,
            tls: TlsMode::None,
            data_mode: DataMode::Passive,
            data_ports: None,
            passive_command: PassiveCommand::Auto,
            trust_pasv_address: false,
            login_folder: None,
            names: Names::Exact,
            has_path_rules: false,
            partial_uploads: PartialUploads::Keep,
            tail_copy_max: Settings::DEFAULT_TAIL_COPY_MAX,
            unsupported_attributes: UnsupportedAttributes::Refuse,
            unchecked_rename: UncheckedRename::Allow,
            send_proxy_protocol: SendProxyProtocol::None,
            connections: Settings::DEFAULT_CONNECTIONS_MAX,
            connects_at_once: Connector::DEFAULT_CONNECTS_AT_ONCE_MAX,
            source_address: None,
            greeting_timeout: None,
            connect_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            timing: Timing {
                surplus_reply_timeout: Duration::from_millis(200),
                pwd_timeout: Duration::from_secs(1),
                // The server is always near.
                near_server_max: Duration::ZERO,
            },
        };
        change(&mut settings);
        let ignored = IgnoredAttributes::for_test();
        FtpBackend::new(settings, None, &Connectors::for_test(), &ignored)
    }

    pub(super) async fn session(&self) -> Box<dyn BackendSession> {
        login(&self.backend()).await
    }
}

pub(super) async fn login(backend: &FtpBackend) -> Box<dyn BackendSession> {
    backend.login(&Login::Unverified(credentials()), Origin::ANY).await.expect("a login")
}

pub(super) fn credentials() -> Credentials {
    Credentials {
        user: b"user".to_vec(),
        password: b"password".to_vec().into(),
        account: None,
        sent: Default::default(),
        key: None,
    }
}
