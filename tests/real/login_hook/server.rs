//! A scripted server of a login hook, on a Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// Gives each request what the test says at that time.
pub struct HookServer {
    folder: TempDir,
    answer: Arc<Mutex<String>>,
    questions: Arc<Mutex<Vec<Value>>>,
}

impl HookServer {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("hook.sock")).expect("a socket");
        let answer: Arc<Mutex<String>> = Arc::default();
        let questions: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (told, heard) = (answer.clone(), questions.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).expect("a header");
                    let line = line.trim_end().to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().expect("a length");
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).expect("a body");
                let question = serde_json::from_slice(&body).expect("JSON");
                heard.lock().expect("questions").push(question);
                let answer = told.lock().expect("an answer").clone();
                // A gateway that has seen enough closes.
                let _ = stream.get_mut().write_all(answer.as_bytes());
            }
        });
        Self { folder, answer, questions }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("hook.sock")
    }

    /// The next answers, as sent.
    pub fn set_raw(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().expect("an answer"));
    }

    /// The body of the next answers.
    pub fn set(&self, body: &str) {
        let length = body.len();
        self.set_raw(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }

    /// The questions since the last call.
    pub fn questions(&self) -> Vec<Value> {
        std::mem::take(&mut self.questions.lock().expect("questions"))
    }
}
