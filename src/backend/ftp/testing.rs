//! An FTP server for tests that counts round trips: it keeps files in memory, and can be as odd as
//! real ones are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{DataMode, FtpBackend, PassiveCommand, Settings, Timing, TlsMode, UncheckedRename};
use crate::auth::Credentials;
use crate::backend::{
    Backend, BackendSession, IgnoredAttributes, Login, Origin, PartialUploads, SendProxyProtocol,
    UnsupportedAttributes,
};
use crate::net::{Connector, Connectors};
use crate::wire::proxy::{Header, decode};

const MODIFIED: &str = "20260102030405";

/// What is odd about a server.
#[derive(Clone, Default)]
pub(super) struct Oddities {
    /// Throws away what comes along with a command.
    pub drops_pipelined: bool,
    /// Data connections take a second to be made, as to a server far away.
    pub distant: bool,
    /// Answers 425 to a transfer whose connection is not there yet.
    pub impatient: bool,
    /// Ends each download after so many bytes with this reply.
    pub cuts_at: Option<(usize, &'static str)>,
    /// Refuses the end of each upload.
    pub refuses_uploads: Option<&'static str>,
    /// Renames onto nothing that is there.
    pub never_replaces: bool,
    /// Its first connection ends instead of giving this name to anything.
    pub dies_renaming_to: Option<&'static str>,
    pub no_mlst: bool,
    /// Knows no STAT with a path.
    pub no_stat: bool,
    pub no_site: bool,
    /// Names a port where nobody listens.
    pub dead_ports: bool,
    /// Of `RETR`: closes both connections after so many bytes.
    pub dies_at: Option<usize>,
    /// Logins beyond so many at once are refused.
    pub most: Option<usize>,
    /// LIST does not take `-a`, and names with a dot are not shown.
    pub hides_dots: bool,
    /// SIZE is refused always.
    pub no_size: bool,
    /// Closes so many ports, and who came to them, right away.
    pub drops_ports: usize,
    /// Answers 425 to so many transfers.
    pub refuses_transfers: usize,
    /// Uploads show at their end only.
    pub switches_at_the_end: bool,
    /// Every connection begins with a PROXY protocol header.
    pub proxied: bool,
    /// Control connections do.
    pub proxied_control: bool,
    /// Folders are looked at before they are made, entered and removed, and what is refused is refused
    /// without a reason.
    pub vague: bool,
    /// Of STOR: closes both connections after so many bytes.
    pub dies_storing: Option<usize>,
    /// What is said behind each listing.
    pub ends_listings: Option<&'static str>,
    /// What is said instead of a listing.
    pub says_for_listings: Option<&'static str>,
    /// LIST shows this, whatever is there.
    pub lists: Option<&'static str>,
    /// Of listings: resets the data connection after so many bytes.
    pub resets_listings: Option<usize>,
    pub no_ascii: bool,
    /// SIZE is not known.
    pub never_had_size: bool,
    /// As ProFTPD: facts of links have what they lead to for their kind, and their own length.
    pub links_as_files: bool,
    /// Of STOR: closes the data connection after so many bytes, and says that all is well.
    pub leaves_storing: Option<usize>,
    /// Of STOR and APPE: takes all, and resets the data connection behind it.
    pub resets_stored: bool,
    /// Answers PWD so; with nothing: not at all.
    pub pwd: Option<&'static [u8]>,
    /// Where the login puts the user; what is no absolute path is seen from there.
    pub login_folder: &'static str,
    /// Of STOR: takes so little at a time, with a pause of 50 ms between.
    pub dribbles: Option<usize>,
    /// Waits, after a transfer was asked for, for a data connection that nobody can make, until ABOR.
    pub waits_for_data: bool,
    /// How times are set: `MFMT` (where nothing is said), `MDTM`, `UTIME`, `UTIME UTC`, or `none`.
    pub sets_times_by: Option<&'static str>,
    /// What is answered as if it were done, and is not.
    pub pretends: &'static [&'static str],
    /// Times are not to be set.
    pub denies_times: bool,
    pub greeting: Option<&'static str>,
    /// Ends lines so.
    pub line_end: Option<&'static str>,
    /// What LIST says to `-a`.
    pub refuses_list_all: Option<&'static str>,
    /// LIST takes `-a` for the name of a file that is not there, and shows nothing.
    pub takes_options_for_names: bool,
    /// Announces a transfer before it knows whether there is a data connection.
    pub announces_early: bool,
}

#[derive(Default)]
pub(super) struct Seen {
    pub files: BTreeMap<String, Vec<u8>>,
    /// By their name of now, what the files in them begin with.
    pub folders: BTreeMap<String, String>,
    /// Links, and where they lead.
    pub links: BTreeMap<String, String>,
    /// What verbs are answered with, where that is not as usual; nothing: not at all. A port that is listened on takes the
    /// place of `{port}`, or of `{high}` and `{low}`; one where nobody listens, of `{dead}`; one that
    /// nobody can connect to, of `{full}`. `150` stands for what
    /// announces a transfer, `end` for what ends an upload.
    pub replies: BTreeMap<&'static str, &'static str>,
    /// By name, the permissions that were set.
    pub modes: BTreeMap<String, u32>,
    /// By name, the times that were set.
    pub times: BTreeMap<String, String>,
    /// When the files were last changed, where that is not [`MODIFIED`].
    pub modified: Option<&'static str>,
    pub lines: Vec<String>,
    /// Times that a server that had answered everything got something to do.
    pub rounds: usize,
    /// Connections whose next command is awaited.
    pub at_rest: usize,
    pub connections: usize,
    pub open: usize,
    /// Transfers that were asked for before their data connection was there.
    pub queue_budget: usize,
    /// Of control and data connections, in the order of their coming.
    pub headers: Vec<Header>,
}

#[derive(Clone)]
pub(super) struct Server {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(super) async fn start(files: &[(&str, &[u8])], odd: Oddities) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, seen: Arc::default() };
        let own = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        server.seen().files.extend(own);
        let seen = server.seen.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (seen, odd) = (seen.clone(), odd.clone());
                tokio::spawn(async move {
                    {
                        let mut seen = seen.lock().unwrap();
                        seen.connections += 1;
                        seen.open += 1;
                    }
                    let proxied = odd.proxied || odd.proxied_control;
                    let mut session = Session::new(tcp, seen.clone(), odd);
                    if proxied {
                        take_header(&mut session.control, &seen).await.unwrap();
                    }
                    // How a connection ends does not matter.
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

    /// Round trips since the last call, as soon as every connection awaits its next command.
    pub(super) async fn take_rounds(&self) -> usize {
        self.at_rest().await;
        std::mem::take(&mut self.seen().rounds)
    }

    pub(super) async fn at_rest(&self) {
        self.until(|seen| seen.at_rest == seen.open).await;
    }

    pub(super) async fn until(&self, is_refused: impl Fn(&Seen) -> bool) {
        let held = async {
            while !is_refused(&self.seen()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), held).await.expect("it never came to that");
    }

    pub(super) fn backend(&self) -> FtpBackend {
        self.backend_with(|_| {})
    }

    pub(super) fn backend_with(&self, change: impl FnOnce(&mut Settings)) -> FtpBackend {
        let mut settings = Settings {
            name: "test".into(),
            addresses: vec![self.address.clone()],
            tls: TlsMode::None,
            data_mode: DataMode::Passive,
            data_ports: None,
            passive_command: PassiveCommand::Auto,
            trust_pasv_address: false,
            login_folder: None,
            partial_uploads: PartialUploads::Keep,
            tail_copy_max: Settings::TAIL_COPY_MAX,
            unsupported_attributes: UnsupportedAttributes::Refuse,
            unchecked_rename: UncheckedRename::Allow,
            send_proxy_protocol: SendProxyProtocol::None,
            connections: Settings::CONNECTIONS,
            connects_at_once: Connector::DEFAULT_AT_ONCE,
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
    backend.login(&Login::Unchecked(credentials()), Origin::ANY).await.expect("a login")
}

pub(super) fn credentials() -> Credentials {
    Credentials {
        user: b"user".to_vec(),
        password: b"password".to_vec().into(),
        account: None,
        key: None,
    }
}

/// IPv4's, without TLVs.
async fn take_header(tcp: &mut TcpStream, seen: &Mutex<Seen>) -> Ended {
    let mut bytes = [0; 28];
    tcp.read_exact(&mut bytes).await?;
    let header = decode(&bytes).unwrap().unwrap().header;
    seen.lock().unwrap().headers.push(header);
    Ok(())
}

struct Session {
    control: TcpStream,
    buffered: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
    odd: Oddities,
    data: Option<TcpListener>,
    /// What nobody can connect to.
    full: Option<TcpListener>,
    offset: usize,
    from: String,
    /// Its working directory, as it was called when it was entered.
    place: String,
    /// They keep others from connecting.
    fillers: Vec<TcpStream>,
}

type Ended = std::io::Result<()>;

impl Session {
    fn new(control: TcpStream, seen: Arc<Mutex<Seen>>, odd: Oddities) -> Self {
        let (buffered, data, offset, from) = (vec![], None, 0, String::new());
        let place = odd.login_folder.to_owned();
        let (full, fillers) = (None, vec![]);
        Self { control, buffered, seen, odd, data, full, offset, from, place, fillers }
    }

    async fn run(&mut self) -> Ended {
        self.reply(self.odd.greeting.unwrap_or("220 counting")).await?;
        loop {
            let line = self.line().await?;
            self.seen.lock().unwrap().lines.push(line.clone());
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if verb == "QUIT" {
                return self.reply("221 goodbye").await;
            }
            self.answer(verb, argument).await?;
        }
    }

    /// The next command. Whatever is not there yet when all was answered is a round trip.
    async fn line(&mut self) -> std::io::Result<String> {
        let mut waited = false;
        loop {
            if let Some(end) = self.buffered.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=end).collect();
                if self.odd.drops_pipelined {
                    self.buffered.clear();
                }
                return Ok(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            if !waited {
                self.seen.lock().unwrap().rounds += 1;
                waited = true;
            }
            let mut bytes = [0; 4096];
            self.seen.lock().unwrap().at_rest += 1;
            let read = self.control.read(&mut bytes).await;
            self.seen.lock().unwrap().at_rest -= 1;
            match read {
                Ok(n) if n > 0 => self.buffered.extend(&bytes[..n]),
                ended => {
                    // Nothing more was asked.
                    self.seen.lock().unwrap().rounds -= 1;
                    return Err(ended.err().unwrap_or(std::io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }

    async fn reply(&mut self, text: &str) -> Ended {
        let line_end = self.odd.line_end.unwrap_or("\r\n");
        let text = format!("{text}\r\n").replace("\r\n", line_end);
        self.control.write_all(text.as_bytes()).await
    }

    async fn answer(&mut self, verb: &str, argument: &str) -> Ended {
        let absolute = self.absolute(verb, argument);
        let argument = absolute.as_deref().unwrap_or(argument);
        let link = self.seen.lock().unwrap().links.get(argument).cloned();
        let there = link.clone().unwrap_or_else(|| argument.to_owned());
        let size = self.seen.lock().unwrap().files.get(&there).map(Vec::len);
        let scripted = self.seen.lock().unwrap().replies.get(verb).copied();
        if let Some(template) = scripted {
            if template.is_empty() {
                return Ok(());
            }
            let reply = self.filled_in(template).await?;
            return self.reply(&reply).await;
        }
        match verb {
            "CWD" if link.is_some() && !self.has_folder(&there) => {
                self.reply("550 Failed to change directory.").await
            }
            "MLST" if let Some(target) = &link => {
                let facts = self.link_facts(argument, target);
                self.reply(&format!("250-\r\n {facts}\r\n250 end")).await
            }
            "SIZE" if self.odd.never_had_size => self.reply("500 not known").await,
            "TYPE" if self.odd.no_ascii && argument == "A" => self.reply("504 not here").await,
            "FEAT" if self.odd.never_had_size => self.reply("211-\r\n MDTM\r\n211 end").await,
            "USER" => {
                let open = self.seen.lock().unwrap().open;
                match self.odd.most {
                    Some(most) if open > most => self.reply("530 too many").await,
                    _ => self.reply("331 password").await,
                }
            }
            "PASS" => self.reply("230 in").await,
            "FEAT" if self.odd.no_mlst => self.reply("211-\r\n SIZE\r\n MDTM\r\n211 end").await,
            "FEAT" => {
                self.reply("211-\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MFMT\r\n211 end").await
            }
            "PWD" if let Some(answer) = self.odd.pwd => self.control.write_all(answer).await,
            "PWD" => self.reply("257 \"/\"").await,
            "SITE" if self.odd.no_site => self.reply("500 SITE not understood").await,
            "SITE" if let Some(utime) = argument.strip_prefix("UTIME ") => {
                let reply: Vec<_> = utime.rsplitn(5, ' ').collect();
                let reply = match (timed(utime), &reply[..]) {
                    (Some((time, name)), _) => self.set_time("UTIME", time, name),
                    (None, ["UTC", _, time, _, name]) => self.set_time("UTIME UTC", time, name),
                    _ => "501 not understood".into(),
                };
                self.reply(&reply).await
            }
            "SITE" if let Some(mode) = argument.strip_prefix("CHMOD ") => {
                let (mode, name) = mode.split_once(' ').unwrap();
                let mode = u32::from_str_radix(mode, 8).unwrap();
                let name = self.seen_from_login(name);
                self.seen.lock().unwrap().modes.insert(name, mode);
                self.reply("200 done").await
            }
            "RMD" if self.odd.vague && !self.has_empty(argument) => {
                self.reply("550 Remove directory operation failed.").await
            }
            "RMD" => {
                self.seen.lock().unwrap().folders.remove(argument);
                self.reply("250 removed").await
            }
            "OPTS" | "TYPE" | "SITE" => self.reply("200 done").await,
            "CWD"
                if self.odd.vague
                    && argument != "/"
                    && link.is_none()
                    && !self.has_folder(argument) =>
            {
                self.reply("550 Failed to change directory.").await
            }
            "CWD" => {
                // Folders keep who is in them, whatever they are called later.
                let mut moved = argument.trim_end_matches('/').to_owned();
                if let Some(folder) = self.seen.lock().unwrap().folders.get(&moved) {
                    moved.clone_from(folder);
                }
                self.place = moved;
                self.reply("250 done").await
            }
            "MKD" if self.odd.vague && (size.is_some() || self.has_folder(argument)) => {
                self.reply("550 Create directory operation failed.").await
            }
            "MKD" => {
                {
                    let mut seen = self.seen.lock().unwrap();
                    let inode = format!("{argument}#{}", seen.folders.len());
                    seen.folders.insert(argument.to_owned(), inode);
                }
                self.reply("257 done").await
            }
            "EPSV" => {
                let port = self.listen().await?;
                self.reply(&format!("229 passive (|||{port}|)")).await?;
                if self.odd.drops_ports > 0
                    && let Some(listener) = self.data.take()
                {
                    self.odd.drops_ports -= 1;
                    listener.accept().await?;
                }
                Ok(())
            }
            "REST" => {
                self.offset = argument.parse().unwrap();
                self.reply("350 go on").await
            }
            "SIZE" if self.odd.no_size => self.reply("550 SIZE is not allowed here").await,
            "SIZE" => match size {
                Some(size) => self.reply(&format!("213 {size}")).await,
                None => self.reply("550 no such file").await,
            },
            "MDTM" | "MFMT" if let Some((time, name)) = timed(argument) => {
                let reply = self.set_time(verb, time, name);
                self.reply(&reply).await
            }
            "MDTM" if self.odd.sets_times_by.is_some() && size.is_none() => {
                self.reply("550 Could not get file modification time.").await
            }
            "MDTM" => {
                let modified = {
                    let seen = self.seen.lock().unwrap();
                    let default = seen.modified.unwrap_or(MODIFIED).to_owned();
                    seen.times.get(argument).cloned().unwrap_or(default)
                };
                self.reply(&format!("213 {modified}")).await
            }
            "MLST" if self.has_folder(argument) => {
                self.reply(&format!("250-\r\n type=dir; {argument}\r\n250 end")).await
            }
            "MLST" => match size {
                Some(size) => {
                    let facts = {
                        let seen = self.seen.lock().unwrap();
                        let time = seen.times.get(argument).map(String::as_str);
                        facts(size, argument, time.or(seen.modified))
                    };
                    self.reply(&format!("250-\r\n {facts}\r\n250 end")).await
                }
                None => self.reply("550 no such file").await,
            },
            "STAT" if self.odd.no_stat => self.reply("502 not known").await,
            "STAT" if !argument.is_empty() => {
                // As vsftpd has it: what the name fits, by the end of the line.
                let name = argument.rsplit('/').next().unwrap_or_default();
                let mut lines = format!("lrwxrwxrwx 1 0 0 1 Nov 22 17:35 other -> {name}\r\n");
                if let Some(target) = &link {
                    lines += &format!("lrwxrwxrwx 1 0 0 9 Nov 22 17:35 {name} -> {target}\r\n");
                } else if let Some(size) = size {
                    let mode = self.seen.lock().unwrap().modes.get(argument).copied();
                    let mode = mode_letters(mode.unwrap_or(0o755));
                    lines += &format!("-{mode} 1 0 0 {size} Nov 22 17:35 {name}\r\n");
                }
                self.reply(&format!("213-Status follows:\r\n{lines}213 End of status")).await
            }
            "DELE" => {
                let gone = self.seen.lock().unwrap().files.remove(argument);
                self.reply(if gone.is_some() { "250 done" } else { "550 no such file" }).await
            }
            "RNFR" if self.seen.lock().unwrap().folders.contains_key(argument) => {
                self.from = argument.to_owned();
                self.reply("350 to where?").await
            }
            "RNFR" if size.is_none() => self.reply("550 no such file").await,
            "RNFR" => {
                self.from = argument.to_owned();
                self.reply("350 to where?").await
            }
            "RNTO" if size.is_some() && self.odd.never_replaces => {
                self.reply("553 there is such a file").await
            }
            "RNTO"
                if self.odd.dies_renaming_to == Some(argument)
                    && self.seen.lock().unwrap().connections == 1 =>
            {
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            "RNTO" if self.has_folder(argument) => self.reply("550 Rename failed.").await,
            "RNTO" => {
                let from = std::mem::take(&mut self.from);
                {
                    let mut seen = self.seen.lock().unwrap();
                    if let Some(inode) = seen.folders.remove(&from) {
                        seen.folders.insert(argument.to_owned(), inode);
                    }
                    if let Some(bytes) = seen.files.remove(&from) {
                        seen.files.insert(argument.to_owned(), bytes);
                        seen.modes.remove(argument);
                        seen.times.remove(argument);
                        if let Some(mode) = seen.modes.remove(&from) {
                            seen.modes.insert(argument.to_owned(), mode);
                        }
                    }
                }
                self.reply("250 done").await
            }
            "RETR" | "STOR" | "APPE" | "MLSD" | "LIST" => self.transfer(verb, argument).await,
            "STOU" => self.transfer(verb, "/unique").await,
            "ABOR" => self.reply("226 nothing to abort").await,
            _ => self.reply("502 not here").await,
        }
    }

    /// A relative name as seen from the login's folder.
    fn absolute(&mut self, verb: &str, argument: &str) -> Option<String> {
        const ABOUT_PATHS: [&str; 13] = [
            "SIZE", "MDTM", "MLST", "MLSD", "STAT", "RETR", "STOR", "APPE", "DELE", "RNFR", "RNTO",
            "MKD", "RMD",
        ];
        let folder = self.odd.login_folder;
        let seen = |name: &str| self.seen_from_login(name);
        if verb == "LIST" && !folder.is_empty() {
            self.place = seen(argument.trim_start_matches("-a").trim_start());
            return None;
        }
        (!folder.is_empty() && ABOUT_PATHS.contains(&verb)).then(|| seen(argument))
    }

    fn seen_from_login(&self, name: &str) -> String {
        let folder = self.odd.login_folder;
        match name.strip_prefix("./").unwrap_or(name) {
            "" => folder.to_owned(),
            name if name.starts_with('/') => name.to_owned(),
            name => format!("{folder}/{name}"),
        }
    }

    /// As vsftpd has it, which does not say why.
    fn set_time(&self, way: &str, time: &str, name: &str) -> String {
        let sets = self.odd.sets_times_by.unwrap_or("MFMT");
        if self.odd.pretends.contains(&way) {
            return "213 done".into();
        }
        let name = self.seen_from_login(name);
        let mut seen = self.seen.lock().unwrap();
        match (way == sets, way, seen.files.contains_key(&name)) {
            (false, "MDTM", _) => "550 Could not get file modification time.".into(),
            (false, ..) => "500 not understood".into(),
            (true, _, true) if self.odd.denies_times => "550 Could not set it.".into(),
            (true, _, true) => {
                seen.times.insert(name, time.to_owned());
                "213 done".into()
            }
            (true, ..) => "550 Could not get file modification time.".into(),
        }
    }

    fn has_folder(&self, path: &str) -> bool {
        self.seen.lock().unwrap().folders.contains_key(path)
    }

    fn has_empty(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        let has_files =
            self.seen.lock().unwrap().files.keys().any(|file| file.starts_with(&inside));
        self.has_folder(path) && !has_files
    }

    async fn listen(&mut self) -> std::io::Result<u16> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse().unwrap())?;
        if self.odd.dribbles.is_some() {
            socket.set_recv_buffer_size(64 * 1024)?;
        }
        let listener = socket.listen(if self.odd.distant { 0 } else { 16 })?;
        let address = listener.local_addr()?;
        self.fillers.clear();
        // The kernel drops the first packet of those for whom there is no room.
        while self.odd.distant
            && let Ok(filler) =
                tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
        {
            self.fillers.push(filler?);
        }
        self.data = Some(listener).filter(|_| !self.odd.dead_ports);
        Ok(address.port())
    }

    async fn filled_in(&mut self, template: &str) -> std::io::Result<String> {
        self.data = None;
        let port = match template {
            _ if template.contains("{full}") => {
                let distant = std::mem::replace(&mut self.odd.distant, true);
                let port = self.listen().await?;
                self.odd.distant = distant;
                self.full = self.data.take();
                port
            }
            _ if template.contains('{') => self.listen().await?,
            _ => return Ok(template.to_owned()),
        };
        if template.contains("{dead}") {
            self.data = None;
        }
        let [high, low] = port.to_be_bytes().map(|byte| byte.to_string());
        let port = port.to_string();
        let ports = ["{port}", "{dead}", "{full}"];
        let filled = ports.iter().fold(template.to_owned(), |text, name| text.replace(name, &port));
        Ok(filled.replace("{high}", &high).replace("{low}", &low))
    }

    /// Whether a data connection has been made before the command came.
    async fn has_data(&mut self) -> std::io::Result<bool> {
        let Some(listener) = &self.data else { return Ok(true) };
        if self.fillers.is_empty() {
            return Ok(true);
        }
        for _ in self.fillers.drain(..) {
            listener.accept().await?;
        }
        self.seen.lock().unwrap().queue_budget += 1;
        Ok(false)
    }

    async fn transfer(&mut self, verb: &str, argument: &str) -> Ended {
        let offset = std::mem::take(&mut self.offset);
        let bytes = {
            let seen = self.seen.lock().unwrap();
            seen.files.get(seen.links.get(argument).map_or(argument, String::as_str)).cloned()
        };
        let has_data = self.has_data().await?;
        if verb == "LIST" && argument == "-a" && self.odd.hides_dots {
            return self.reply("501 no options").await;
        }
        if let ("LIST", "-a", Some(reply)) = (verb, argument, self.odd.refuses_list_all) {
            return self.reply(reply).await;
        }
        if let ("MLSD" | "LIST", Some(reply)) = (verb, self.odd.says_for_listings) {
            self.data = None;
            return self.reply(reply).await;
        }
        if verb == "RETR" && bytes.is_none() {
            return self.reply("550 no such file").await;
        }
        if self.odd.impatient && !has_data {
            // Whoever comes may come, and next time the way is free.
            self.odd.distant = false;
            return self.reply("425 no data connection yet").await;
        }
        if self.odd.refuses_transfers > 0 {
            self.odd.refuses_transfers -= 1;
            return self.reply("425 not from before").await;
        }
        let Some(listener) = self.data.take() else {
            if self.odd.waits_for_data {
                return Ok(());
            }
            if self.odd.announces_early {
                self.reply("150 go").await?;
            }
            return self.reply("425 nobody came").await;
        };
        let (mut data, _) = listener.accept().await?;
        if self.odd.proxied {
            take_header(&mut data, &self.seen).await?;
        }
        let mark = self.seen.lock().unwrap().replies.get("150").copied().unwrap_or("150 go");
        self.reply(mark).await?;
        match verb {
            "STOR" | "APPE" | "STOU" => {
                let mut taken = match verb {
                    "APPE" => bytes.unwrap_or_default(),
                    _ => bytes.unwrap_or_default().into_iter().take(offset).collect(),
                };
                if !self.odd.switches_at_the_end {
                    self.seen.lock().unwrap().files.insert(argument.to_owned(), taken.clone());
                }
                // The upload's data and its end are one flight: the server waits for it.
                self.seen.lock().unwrap().rounds += 1;
                if let Some(at) = self.odd.dies_storing {
                    data.read_exact(&mut vec![0; at]).await?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                let mut new = Vec::new();
                if let Some(at) = self.odd.leaves_storing {
                    new.resize(at, 0);
                    data.read_exact(&mut new).await?;
                    taken.extend(new);
                    self.seen.lock().unwrap().files.insert(argument.to_owned(), taken);
                    // What came and was not read makes the close a reset.
                    let end = self.seen.lock().unwrap().replies.get("end").copied();
                    return self.reply(end.unwrap_or("226 taken")).await;
                }
                let end = match self.odd.dribbles {
                    Some(piece) => dribble(&mut data, piece, &mut new).await,
                    None => data.read_to_end(&mut new).await,
                };
                if self.odd.resets_stored {
                    crate::net::reset_on_drop(&data);
                }
                drop(data);
                taken.extend(new);
                let scripted = self.seen.lock().unwrap().replies.get("end").copied();
                let refusal = scripted.or(self.odd.refuses_uploads);
                let preferred = end.is_ok() && refusal.is_none();
                if preferred || !self.odd.switches_at_the_end {
                    self.seen.lock().unwrap().files.insert(argument.to_owned(), taken);
                }
                match (end, refusal) {
                    (Err(_), _) => self.reply("426 cut").await,
                    (Ok(_), Some(refusal)) => self.reply(refusal).await,
                    (Ok(_), None) => self.reply("226 taken").await,
                }
            }
            "RETR" => {
                let bytes = bytes.unwrap_or_default().split_off(offset);
                if let Some(at) = self.odd.dies_at.filter(|at| *at < bytes.len()) {
                    data.write_all(&bytes[..at]).await?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                let (part, last) = match self.odd.cuts_at {
                    Some((at, refusal)) => (&bytes[..at.min(bytes.len())], refusal),
                    None => (&bytes[..], "226 that was all"),
                };
                let sent = data.write_all(part).await;
                drop(data);
                self.reply(if sent.is_ok() { last } else { "426 cut" }).await
            }
            _ => {
                let listing = match self.odd.lists.filter(|_| verb == "LIST") {
                    _ if self.odd.takes_options_for_names && argument == "-a" => Vec::new(),
                    Some(lines) => lines.as_bytes().to_vec(),
                    None => self.listing(verb, argument),
                };
                if let Some(at) = self.odd.resets_listings {
                    data.write_all(&listing[..at]).await?;
                    crate::net::reset_on_drop(&data);
                    drop(data);
                    return self.reply("226 that was all").await;
                }
                data.write_all(&listing).await?;
                drop(data);
                self.reply(self.odd.ends_listings.unwrap_or("226 that was all")).await
            }
        }
    }

    fn link_facts(&self, name: &str, target: &str) -> String {
        self.facts_of_link(&self.seen.lock().unwrap(), name, target)
    }

    fn facts_of_link(&self, seen: &Seen, name: &str, target: &str) -> String {
        let kind = match self.odd.links_as_files {
            true if seen.folders.contains_key(target) => "dir".to_owned(),
            true if seen.files.contains_key(target) => "file".to_owned(),
            _ => format!("OS.unix=slink:{target}"),
        };
        format!("type={kind};size=9;modify={MODIFIED};UNIX.mode=0777; {name}")
    }

    fn listing(&self, verb: &str, folder: &str) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        let folder = match verb {
            "LIST" => self.place.as_str(),
            _ if folder == "/" => "",
            _ => folder,
        };
        let inside = seen.files.iter().filter_map(|(path, bytes)| {
            Some((path.strip_prefix(folder)?.strip_prefix('/')?, bytes.len()))
        });
        let inside = inside
            .filter(|(name, _): &(&str, usize)| !(self.odd.hides_dots && name.starts_with('.')))
            .filter(|(name, _)| !name.contains('/'));
        let line = |(name, size)| match verb {
            "MLSD" => format!("{}\r\n", facts(size, name, seen.modified)),
            _ => format!("-rw-r--r-- 1 u g {size} Jan 02 2026 {name}\r\n"),
        };
        let folders = seen.folders.keys().filter_map(|path| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some(match verb {
                "MLSD" => format!("type=dir; {name}\r\n"),
                _ => format!("drwxr-xr-x 2 u g 4096 Jan 02 2026 {name}\r\n"),
            })
        });
        let links = seen.links.iter().filter_map(|(path, target)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            let facts = |name| self.facts_of_link(&seen, name, target);
            Some(match verb {
                "MLSD" => format!("{}\r\n", facts(name)),
                _ => format!("lrwxrwxrwx 1 u g 9 Jan 02 2026 {name} -> {target}\r\n"),
            })
        });
        let lines = inside.map(line).chain(folders).chain(links).collect::<String>();
        lines.replace("\r\n", self.odd.line_end.unwrap_or("\r\n")).into_bytes()
    }
}

/// A time before a name.
fn timed(argument: &str) -> Option<(&str, &str)> {
    let (time, name) = argument.split_once(' ')?;
    (time.len() == 14 && time.bytes().all(|b| b.is_ascii_digit())).then_some((time, name))
}

fn mode_letters(mode: u32) -> String {
    let letter =
        |bit: u32| if mode & (1 << (8 - bit)) > 0 { b"rwx"[bit as usize % 3] } else { b'-' };
    (0..9).map(|bit| char::from(letter(bit))).collect()
}

fn facts(size: usize, name: &str, modified: Option<&str>) -> String {
    format!("type=file;size={size};modify={}; {name}", modified.unwrap_or(MODIFIED))
}

async fn dribble(data: &mut TcpStream, piece: usize, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut bytes = vec![0; piece];
    loop {
        match data.read(&mut bytes).await? {
            0 => return Ok(into.len()),
            n => into.extend(&bytes[..n]),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
