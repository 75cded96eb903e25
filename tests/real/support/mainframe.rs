//! An FTP server that behaves like that of z/OS: data sets instead of files, SITE parameters, jobs, and replies in
//! its words. It is scripted, and keeps its data sets in memory.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::scripted::{Peer, Scripted};

pub struct Mainframe {
    server: Scripted,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// By name, without quotes: "USER.DATA(MEMBER)".
    data_sets: BTreeMap<String, Vec<u8>>,
    jobs: Vec<Vec<u8>>,
}

/// The state of one control connection.
struct Session<'a> {
    peer: &'a mut Peer,
    shared: &'a Mutex<Shared>,
    /// "USER." or, in a partitioned data set, "USER.DATA(".
    prefix: String,
    /// `SITE FILETYPE=JES`: STOR submits jobs.
    is_jes: bool,
    record_length: String,
    representation: String,
    rename_from: Option<String>,
}

impl Mainframe {
    pub fn start(data_sets: &[(&str, &[u8])]) -> Self {
        let own = data_sets.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        let shared = Shared { data_sets: own.collect(), jobs: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let of_server = shared.clone();
        let server = Scripted::start(move |peer| {
            let session = Session {
                peer,
                shared: &of_server,
                prefix: "USER.".to_owned(),
                is_jes: false,
                record_length: "128".to_owned(),
                representation: "Ascii NonPrint".to_owned(),
                rename_from: None,
            };
            session.run()
        });
        Self { server, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn server(&self) -> &Scripted {
        &self.server
    }

    pub fn data_set(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.lock().expect("no holder panics").data_sets.get(name).cloned()
    }

    pub fn jobs(&self) -> Vec<Vec<u8>> {
        self.shared.lock().expect("no holder panics").jobs.clone()
    }

    /// The lines received, without those of the login, of data connections and of the end.
    pub fn relayed(&self) -> Vec<String> {
        let own = ["USER", "PASS", "EPSV", "QUIT"];
        let is_own = |line: &String| own.contains(&line.split(' ').next().unwrap_or_default());
        self.server.lines().into_iter().filter(|line| !is_own(line)).collect()
    }
}

impl Session<'_> {
    fn run(mut self) -> io::Result<()> {
        self.peer.reply("220-FTPD1 IBM FTP CS V2R5 at MVS1, 10:00:00 on 2026-12-01.\r\n220 Connection will close if idle for more than 5 minutes.")?;
        loop {
            let line = self.peer.line()?;
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if verb == "QUIT" {
                return self.peer.reply("221 Quit command received. Goodbye.");
            }
            self.answer(verb, argument)?;
        }
    }

    fn answer(&mut self, verb: &str, argument: &str) -> io::Result<()> {
        let reply = match verb {
            "USER" => "331 Send password please.".to_owned(),
            "PASS" => "230 USER is logged on.  Working directory is \"USER.\".".to_owned(),
            "SYST" => "215 MVS is the operating system of this server. FTP Server is running on z/OS.".to_owned(),
            "NOOP" => "200 OK".to_owned(),
            "FEAT" => "211-Extensions supported:\r\n UTF8\r\n LANG EN*\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n HOST\r\n EPSV\r\n REST STREAM\r\n SIZE\r\n XCRC\r\n211 End".to_owned(),
            "HELP" => "214-The server-FTP commands are:\r\n214-ABOR ACCT ALLO APPE\r\n214 *** end of help ***".to_owned(),
            "STAT" => format!(
                "211-Server FTP talking to host 192.0.2.1, port 1034\r\n211-User: USER  Working directory: {}\r\n\
                 211-Data transfer mode is {}; LRECL is {}\r\n211 *** end of status ***",
                self.prefix, self.representation, self.record_length
            ),
            "PWD" => format!("257 \"'{}'\" is working directory.", self.prefix),
            "CWD" => self.change(argument),
            "MKD" => format!("257 \"'{}'\" created.", self.name(argument).replace('"', "\"\"")),
            "TYPE" => {
                let representation = if argument == "E" { "Ebcdic NonPrint" } else { "Image" };
                representation.clone_into(&mut self.representation);
                format!("200 Representation type is {}", self.representation)
            }
            "STRU" => "250 Structure record".to_owned(),
            "MODE" => "200 Data transfer mode is Block".to_owned(),
            "SITE" => self.site(argument),
            "REST" => format!("350 Restarting at {argument}"),
            "EPSV" => format!("229 Entering Extended Passive Mode (|||{}|)", self.peer.listen(Ipv4Addr::LOCALHOST)?),
            "DELE" => {
                let name = self.name(argument);
                match self.shared().data_sets.remove(&name) {
                    Some(_) => format!("250 {name} deleted."),
                    None => format!("550 DELE fails: {name} does not exist."),
                }
            }
            "RNFR" => {
                self.rename_from = Some(self.name(argument));
                "350 RNFR accepted. Please supply new name for RNTO.".to_owned()
            }
            "RNTO" => self.rename(argument),
            "LIST" | "NLST" => return self.list(argument),
            "RETR" => return self.send(argument),
            "STOR" => return self.receive(argument),
            // A transfer that only this server knows.
            "XFER" => "125 Opening a data connection for XFER".to_owned(),
            "DROP" => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => format!("500 unknown command {verb}"),
        };
        self.peer.reply(&reply)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder panics")
    }

    /// Without quotes, and with the prefix unless it has quotes.
    fn name(&self, argument: &str) -> String {
        match argument.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            Some(absolute) => absolute.to_owned(),
            None if self.prefix.ends_with('(') => format!("{}{argument})", self.prefix),
            None => format!("{}{argument}", self.prefix),
        }
    }

    fn change(&mut self, argument: &str) -> String {
        if argument == ".." {
            let parent = self.prefix.trim_end_matches(['(', '.']);
            self.prefix = parent.rfind('.').map_or(String::new(), |at| parent[..=at].to_owned());
            return format!("250 \"'{}'\" is the working directory name prefix.", self.prefix);
        }
        let name = self.name(argument);
        let name = name.trim_end_matches('.');
        let members = format!("{name}(");
        let is_partitioned = self.shared().data_sets.keys().any(|it| it.starts_with(&members));
        if is_partitioned {
            self.prefix = members;
            return format!("250 The working directory \"{name}\" is a partitioned data set");
        }
        self.prefix = format!("{name}.");
        format!("250 \"'{}'\" is the working directory name prefix.", self.prefix)
    }

    fn site(&mut self, argument: &str) -> String {
        let mut unknown = Vec::new();
        for parameter in argument.split(' ').filter(|it| !it.is_empty()) {
            match parameter.to_ascii_uppercase().split_once('=') {
                Some(("FILETYPE" | "FILE", kind)) => self.is_jes = kind == "JES",
                Some(("LRECL", length)) => length.clone_into(&mut self.record_length),
                Some(("RECFM" | "BLKSIZE", _)) => {}
                _ => unknown.push(parameter),
            }
        }
        let unknown = unknown
            .iter()
            .map(|it| format!("200-Unrecognized parameter '{it}' on SITE command.\r\n"));
        format!("{}200 SITE command was accepted", unknown.collect::<String>())
    }

    fn rename(&mut self, argument: &str) -> String {
        let to = self.name(argument);
        let Some(from) = self.rename_from.take() else {
            return "503 RNFR command must precede RNTO command.".to_owned();
        };
        let mut shared = self.shared();
        let Some(bytes) = shared.data_sets.remove(&from) else {
            return format!("550 Rename fails: {from} does not exist.");
        };
        shared.data_sets.insert(to.clone(), bytes);
        format!("250 {from} renamed to {to}")
    }

    fn list(&mut self, argument: &str) -> io::Result<()> {
        let prefix = match argument {
            "" => self.prefix.clone(),
            pattern => self.name(pattern).trim_end_matches('*').to_owned(),
        };
        let names: Vec<String> = self
            .shared()
            .data_sets
            .keys()
            .filter(|name| name.starts_with(&prefix))
            .cloned()
            .collect();
        if names.is_empty() {
            return self.peer.reply("550 No data sets found.");
        }
        let mut records =
            String::from("Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname\r\n");
        for name in names {
            records +=
                &format!("WRKLB1 3390   2026/11/30  1    1  FB      80 27920  PO  '{name}'\r\n");
        }
        self.peer.reply("125 List started OK")?;
        self.peer.data()?.write_all(records.as_bytes())?;
        self.peer.reply("250 List completed successfully.")
    }

    fn send(&mut self, argument: &str) -> io::Result<()> {
        let name = self.name(argument);
        let found = self.shared().data_sets.get(&name).cloned();
        let Some(bytes) = found else {
            return self.peer.reply(&format!("550 Data set {name} not found"));
        };
        self.peer.reply(&format!("125 Sending data set {name} FIXrecfm {}", self.record_length))?;
        self.peer.data()?.write_all(&bytes)?;
        self.peer.reply("250 Transfer completed successfully.")
    }

    fn receive(&mut self, argument: &str) -> io::Result<()> {
        let name = self.name(argument);
        self.peer.reply(&if self.is_jes {
            format!("125 Sending Job to JES internal reader FIXrecfm {}", self.record_length)
        } else {
            format!("125 Storing data set {name}")
        })?;
        let mut bytes = Vec::new();
        self.peer.data()?.read_to_end(&mut bytes)?;
        if self.is_jes {
            self.shared().jobs.push(bytes);
            return self.peer.reply(
                "250-It is known to IBM as JOB01234\r\n250-3 lines were read\r\n250 Transfer completed successfully.",
            );
        }
        self.shared().data_sets.insert(name, bytes);
        self.peer.reply("250 Transfer completed successfully.")
    }
}
