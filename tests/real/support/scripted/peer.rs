//! One control connection of the scripted server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Shared, TIMEOUT, is_verb};
use crate::support::raw::Wire;

/// One control connection.
pub struct Peer {
    control: BufReader<Wire<ServerConnection>>,
    shared: Arc<Shared>,
    answers: Vec<(&'static str, &'static str)>,
    data: Option<TcpListener>,
}

impl Peer {
    pub(super) fn new(tcp: TcpStream, shared: Arc<Shared>) -> Self {
        let control = BufReader::new(Wire::Plain(tcp));
        Self { control, shared, answers: Vec::new(), data: None }
    }

    /// Sets the reply to this verb in [`Peer::until`]; it may have several lines.
    pub fn answer(&mut self, verb: &'static str, reply: &'static str) {
        self.answers.retain(|(other, _)| *other != verb);
        self.answers.push((verb, reply));
    }

    pub fn greet(&mut self) -> io::Result<()> {
        self.reply("220 scripted")
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wire = self.control.get_mut();
        wire.write_all(bytes)?;
        wire.flush()
    }

    pub fn reply(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("{text}\r\n").as_bytes())
    }

    /// The next command.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.control.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line: String = line.into_iter().map(char::from).collect();
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        self.shared.lock().lines.push(line.clone());
        Ok(line)
    }

    /// Replies to commands as servers do until this verb, which is left to the script.
    pub fn until(&mut self, verb: &str) -> io::Result<String> {
        self.until_any(&[verb])
    }

    /// The same for several verbs.
    pub fn until_any(&mut self, verbs: &[&str]) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if verbs.iter().any(|verb| is_verb(&line, verb)) {
                return Ok(line);
            }
            let scripted = self.answers.iter().find(|(verb, _)| is_verb(&line, verb));
            let reply = match scripted {
                Some((_, reply)) => (*reply).to_owned(),
                None => self.usual(line.split(' ').next().unwrap_or_default())?,
            };
            self.reply(&reply)?;
        }
    }

    /// Replies to commands until the connection ends.
    pub fn serve(&mut self) -> io::Result<()> {
        self.until("no such verb").map(drop)
    }

    fn usual(&mut self, verb: &str) -> io::Result<String> {
        let text = match verb {
            "USER" => "331 password",
            "PASS" => "230 in",
            "PWD" => "257 \"/\" is where you are",
            "CWD" | "DELE" | "RMD" | "RNTO" => "250 done",
            "TYPE" | "PBSZ" | "PROT" | "NOOP" => "200 done",
            "REST" | "RNFR" => "350 go on",
            "MKD" => "257 \"made\"",
            "QUIT" => "221 goodbye",
            "EPSV" => {
                return Ok(format!("229 passive (|||{}|)", self.listen(Ipv4Addr::LOCALHOST)?));
            }
            "PASV" => {
                let [high, low] = self.listen(Ipv4Addr::LOCALHOST)?.to_be_bytes();
                return Ok(format!("227 passive (127,0,0,1,{high},{low})"));
            }
            _ => "502 not here",
        };
        Ok(text.to_owned())
    }

    /// Opens the port of the next data connection.
    pub fn listen(&mut self, ip: Ipv4Addr) -> io::Result<u16> {
        let listener = TcpListener::bind((ip, 0))?;
        let port = listener.local_addr()?.port();
        self.data = Some(listener);
        Ok(port)
    }

    /// Sets the script's own listener for the next data connection.
    pub fn use_listener(&mut self, listener: TcpListener) {
        self.data = Some(listener);
    }

    /// The data connection, made before or after the 150.
    pub fn data(&mut self) -> io::Result<TcpStream> {
        let listener = self.data.take().ok_or(io::ErrorKind::NotConnected)?;
        let (tcp, _) = listener.accept()?;
        tcp.set_read_timeout(Some(TIMEOUT))?;
        tcp.set_write_timeout(Some(TIMEOUT))?;
        Ok(tcp)
    }

    /// A whole download, RETR or LIST.
    pub fn give(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reply("150 here it comes")?;
        self.data()?.write_all(bytes)?;
        self.reply("226 that was all")
    }

    /// A whole upload.
    pub fn take(&mut self) -> io::Result<Vec<u8>> {
        self.reply("150 send it")?;
        let mut bytes = Vec::new();
        self.data()?.read_to_end(&mut bytes)?;
        self.reply("226 taken")?;
        Ok(bytes)
    }

    /// The server's half of the handshake, on the control connection.
    pub fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let wire = std::mem::replace(self.control.get_mut(), Wire::Taken);
        let Wire::Plain(mut tcp) = wire else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        *self.control.get_mut() = Wire::Tls(Box::new(StreamOwned::new(tls, tcp)));
        Ok(())
    }

    /// Whether the gateway sends nothing on the control connection for this long.
    pub fn quiet_for(&self, time: Duration) -> bool {
        let Wire::Plain(socket) = self.control.get_ref() else { panic!("this is for clear text") };
        socket.set_read_timeout(Some(time)).expect("a timeout above zero");
        let peeked = socket.peek(&mut [0]);
        socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout above zero");
        self.control.buffer().is_empty()
            && peeked.is_err_and(|e| matches!(e.kind(), io::ErrorKind::WouldBlock))
    }

    /// Closes the control connection; data connections stay open.
    pub fn close_control(&mut self) {
        *self.control.get_mut() = Wire::Taken;
    }
}
