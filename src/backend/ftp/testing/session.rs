//! The control connection of the server: replies to commands.

mod data;

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{MODIFIED, Oddities, Seen};
use crate::wire::proxy::decode;

/// An IPv4 header without TLVs.
pub(super) async fn take_header(tcp: &mut TcpStream, seen: &Mutex<Seen>) -> Outcome {
    let mut bytes = [0; 28];
    tcp.read_exact(&mut bytes).await?;
    let header = decode(&bytes).unwrap().unwrap().header;
    seen.lock().unwrap().headers.push(header);
    Ok(())
}

pub(super) struct Session {
    pub(super) control: TcpStream,
    buffered: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
    oddities: Oddities,
    data: Option<TcpListener>,
    /// A port that nothing can connect to.
    full: Option<TcpListener>,
    offset: usize,
    from: String,
    /// The working directory, by the name under which it was entered.
    directory: String,
    /// Connections that fill the backlog.
    fillers: Vec<TcpStream>,
}

pub(super) type Outcome = std::io::Result<()>;

impl Session {
    pub(super) fn new(control: TcpStream, seen: Arc<Mutex<Seen>>, oddities: Oddities) -> Self {
        let (buffered, data, offset, from) = (vec![], None, 0, String::new());
        let directory = oddities.login_folder.to_owned();
        let (full, fillers) = (None, vec![]);
        Self { control, buffered, seen, oddities, data, full, offset, from, directory, fillers }
    }

    pub(super) async fn run(&mut self) -> Outcome {
        self.reply(self.oddities.greeting.unwrap_or("220 counting")).await?;
        loop {
            let line = self.line().await?;
            self.seen.lock().unwrap().lines.push(line.clone());
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if verb == "QUIT" {
                return self.reply("221 goodbye").await;
            }
            self.reply_to(verb, argument).await?;
        }
    }

    /// Reads a command. If it has not arrived yet, that is a round trip.
    async fn line(&mut self) -> std::io::Result<String> {
        let mut waited = false;
        loop {
            if let Some(end) = self.buffered.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=end).collect();
                if self.oddities.drops_pipelined {
                    self.buffered.clear();
                }
                return Ok(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            if !waited {
                self.seen.lock().unwrap().round_trips += 1;
                waited = true;
            }
            let mut bytes = [0; 4096];
            self.seen.lock().unwrap().idle += 1;
            let read = self.control.read(&mut bytes).await;
            self.seen.lock().unwrap().idle -= 1;
            match read {
                Ok(n) if n > 0 => self.buffered.extend(&bytes[..n]),
                result => {
                    // No command followed.
                    self.seen.lock().unwrap().round_trips -= 1;
                    return Err(result.err().unwrap_or(std::io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }

    async fn reply(&mut self, text: &str) -> Outcome {
        let line_end = self.oddities.line_end.unwrap_or("\r\n");
        let text = format!("{text}\r\n").replace("\r\n", line_end);
        self.control.write_all(text.as_bytes()).await
    }

    async fn reply_to(&mut self, verb: &str, argument: &str) -> Outcome {
        let absolute = self.absolute(verb, argument);
        let argument = absolute.as_deref().unwrap_or(argument);
        let link = self.seen.lock().unwrap().links.get(argument).cloned();
        let target = link.clone().unwrap_or_else(|| argument.to_owned());
        let size = self.seen.lock().unwrap().files.get(&target).map(Vec::len);
        let scripted = self.seen.lock().unwrap().replies.get(verb).copied();
        if let Some(template) = scripted {
            if template.is_empty() {
                return Ok(());
            }
            let reply = self.fill_in(template).await?;
            return self.reply(&reply).await;
        }
        match verb {
            "CWD" if link.is_some() && !self.has_folder(&target) => {
                self.reply("550 Failed to change directory.").await
            }
            "MLST" if let Some(target) = &link => {
                let facts = self.link_facts(argument, target);
                self.reply(&format!("250-\r\n {facts}\r\n250 end")).await
            }
            "SIZE" if self.oddities.size_unknown => self.reply("500 not known").await,
            "TYPE" if self.oddities.no_ascii && argument == "A" => self.reply("504 not here").await,
            "FEAT" if self.oddities.size_unknown => self.reply("211-\r\n MDTM\r\n211 end").await,
            "USER" => {
                let open = self.seen.lock().unwrap().open;
                match self.oddities.logins_max {
                    Some(logins_max) if open > logins_max => self.reply("530 too many").await,
                    _ => self.reply("331 password").await,
                }
            }
            "PASS" => self.reply("230 in").await,
            "FEAT" if self.oddities.no_mlst => {
                self.reply("211-\r\n SIZE\r\n MDTM\r\n211 end").await
            }
            "FEAT" => {
                self.reply("211-\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MFMT\r\n211 end").await
            }
            "PWD" if let Some(reply_to) = self.oddities.pwd => {
                self.control.write_all(reply_to).await
            }
            "PWD" => self.reply("257 \"/\"").await,
            "SITE" if self.oddities.no_site => self.reply("500 SITE not understood").await,
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
            "RMD" if self.oddities.unspecific && !self.has_empty(argument) => {
                self.reply("550 Remove directory operation failed.").await
            }
            "RMD" => {
                self.seen.lock().unwrap().folders.remove(argument);
                self.reply("250 removed").await
            }
            "OPTS" | "TYPE" | "SITE" => self.reply("200 done").await,
            "CWD"
                if self.oddities.unspecific
                    && argument != "/"
                    && link.is_none()
                    && !self.has_folder(argument) =>
            {
                self.reply("550 Failed to change directory.").await
            }
            "CWD" => {
                // A session stays in a folder that is renamed.
                let mut moved = argument.trim_end_matches('/').to_owned();
                if let Some(folder) = self.seen.lock().unwrap().folders.get(&moved) {
                    moved.clone_from(folder);
                }
                self.directory = moved;
                self.reply("250 done").await
            }
            "MKD" if self.oddities.unspecific && (size.is_some() || self.has_folder(argument)) => {
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
                if self.oddities.closes_ports > 0
                    && let Some(listener) = self.data.take()
                {
                    self.oddities.closes_ports -= 1;
                    listener.accept().await?;
                }
                Ok(())
            }
            "REST" => {
                self.offset = argument.parse().unwrap();
                self.reply("350 go on").await
            }
            "SIZE" if self.oddities.no_size => self.reply("550 SIZE is not allowed here").await,
            "SIZE" => match size {
                Some(size) => self.reply(&format!("213 {size}")).await,
                None => self.reply("550 no such file").await,
            },
            "MDTM" | "MFMT" if let Some((time, name)) = timed(argument) => {
                let reply = self.set_time(verb, time, name);
                self.reply(&reply).await
            }
            "MDTM" if self.oddities.sets_times_by.is_some() && size.is_none() => {
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
            "STAT" if self.oddities.no_stat => self.reply("502 not known").await,
            "STAT" if !argument.is_empty() => {
                // Like vsftpd: files whose line ends with the name.
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
                let removed = self.seen.lock().unwrap().files.remove(argument);
                self.reply(if removed.is_some() { "250 done" } else { "550 no such file" }).await
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
            "RNTO" if size.is_some() && self.oddities.never_overwrites => {
                self.reply("553 there is such a file").await
            }
            "RNTO"
                if self.oddities.drops_renaming_to == Some(argument)
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

    /// A relative name, as seen from the login folder.
    fn absolute(&mut self, verb: &str, argument: &str) -> Option<String> {
        const ABOUT_PATHS: [&str; 13] = [
            "SIZE", "MDTM", "MLST", "MLSD", "STAT", "RETR", "STOR", "APPE", "DELE", "RNFR", "RNTO",
            "MKD", "RMD",
        ];
        let folder = self.oddities.login_folder;
        let seen = |name: &str| self.seen_from_login(name);
        if verb == "LIST" && !folder.is_empty() {
            self.directory = seen(argument.trim_start_matches("-a").trim_start());
            return None;
        }
        (!folder.is_empty() && ABOUT_PATHS.contains(&verb)).then(|| seen(argument))
    }

    fn seen_from_login(&self, name: &str) -> String {
        let folder = self.oddities.login_folder;
        match name.strip_prefix("./").unwrap_or(name) {
            "" => folder.to_owned(),
            name if name.starts_with('/') => name.to_owned(),
            name => format!("{folder}/{name}"),
        }
    }

    /// Like vsftpd, which gives no reason.
    fn set_time(&self, way: &str, time: &str, name: &str) -> String {
        let sets = self.oddities.sets_times_by.unwrap_or("MFMT");
        if self.oddities.falsely_confirms.contains(&way) {
            return "213 done".into();
        }
        let name = self.seen_from_login(name);
        let mut seen = self.seen.lock().unwrap();
        match (way == sets, way, seen.files.contains_key(&name)) {
            (false, "MDTM", _) => "550 Could not get file modification time.".into(),
            (false, ..) => "500 not understood".into(),
            (true, _, true) if self.oddities.denies_times => "550 Could not set it.".into(),
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
