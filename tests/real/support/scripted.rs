//! An FTP server that does what a test tells it to, on 127.0.0.1.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A peer that says nothing for so long is gone.
const TIMEOUT: Duration = Duration::from_secs(20);

pub struct Scripted {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    lines: Vec<String>,
    panicked: bool,
}

/// One control connection to it.
pub struct Peer {
    control: BufReader<Wire>,
    shared: Arc<Shared>,
    /// Counted from 1.
    pub number: usize,
    answers: Vec<(&'static str, &'static str)>,
    data: Option<TcpListener>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Taken,
}

impl Scripted {
    /// Runs the script for each control connection; the connection ends with it. An error of the
    /// connection is an end like others; a panic fails the test.
    pub fn start(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listening");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let (own, script) = (shared.clone(), Arc::new(script));
        let acceptor = thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                if own.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, script) = (own.clone(), script.clone());
                thread::spawn(move || shared.clone().serve(tcp, &*script));
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// All lines that came, of all connections.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().lines.clone()
    }

    /// How often a verb came.
    pub fn count(&self, verb: &str) -> usize {
        self.lines().iter().filter(|line| is_verb(line, verb)).count()
    }

    #[track_caller]
    pub fn assert_saw(&self, line: &str) {
        let lines = self.lines();
        assert!(lines.iter().any(|seen| seen == line), "no {line:?} among {lines:?}");
    }

    /// Waits for a line to come that is not answered: nothing else tells when it has.
    #[track_caller]
    pub fn await_line(&self, line: &str) {
        let came = |seen: &mut Seen| !seen.lines.iter().any(|other| other == line);
        let seen = self.shared.changed.wait_timeout_while(self.shared.lock(), TIMEOUT, came);
        let (seen, waited) = seen.expect("no holder panics");
        assert!(!waited.timed_out(), "no {line:?} among {:?}", seen.lines);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        assert!(thread::panicking() || !self.shared.lock().panicked, "the script panicked");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    fn serve(self: Arc<Self>, tcp: TcpStream, script: &dyn Fn(&mut Peer) -> io::Result<()>) {
        tcp.set_read_timeout(Some(TIMEOUT)).expect("a timeout above zero");
        tcp.set_write_timeout(Some(TIMEOUT)).expect("a timeout above zero");
        let number = {
            let mut seen = self.lock();
            seen.connections += 1;
            seen.connections
        };
        let control = BufReader::new(Wire::Plain(tcp));
        let mut peer =
            Peer { control, shared: self.clone(), number, answers: Vec::new(), data: None };
        if catch_unwind(AssertUnwindSafe(|| script(&mut peer))).is_err() {
            self.lock().panicked = true;
        }
    }
}

fn is_verb(line: &str, verb: &str) -> bool {
    line.split(' ').next() == Some(verb)
}

impl Peer {
    /// From now on this verb is answered so by [`Peer::until`]; the text may have several lines.
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
        self.shared.changed.notify_all();
        Ok(line)
    }

    /// Answers commands as servers do until this verb comes, and leaves that to the script.
    pub fn until(&mut self, verb: &str) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if is_verb(&line, verb) {
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

    /// Answers to the connection's end.
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

    /// Ends our direction, and waits for the other's end.
    pub fn hang_up(&mut self) -> io::Result<()> {
        if let Wire::Plain(tcp) = self.control.get_ref() {
            tcp.shutdown(Shutdown::Write)?;
        }
        io::copy(&mut self.control, &mut io::sink()).map(drop)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Taken => Ok(0),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Taken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Taken => Ok(()),
        }
    }
}
