//! The folder of the user and the open handles.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use russh_sftp::protocol::{File, Handle, StatusCode};

use super::refusal::Refusal;

/// The user's folder, and the open handles of one channel.
pub struct Files {
    home: PathBuf,
    pub open: HashMap<String, Open>,
    opened: u64,
}

pub enum Open {
    File(fs::File),
    /// The entries not returned yet.
    Folder(Vec<File>),
}

impl Files {
    pub fn new(home: PathBuf) -> Self {
        Self { home, open: HashMap::new(), opened: 0 }
    }

    /// The client's path on disk.
    pub fn disk_path(&self, path: &str) -> Result<PathBuf, Refusal> {
        // russh-sftp has lost bytes that are not UTF-8: refuse instead of storing under another name.
        if path.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Refusal::new(StatusCode::Failure, "the name is no UTF-8"));
        }
        Ok(self.home.join(seen(path).trim_start_matches('/')))
    }

    pub fn keep(&mut self, id: u32, open: Open) -> Handle {
        self.opened += 1;
        let handle = self.opened.to_string();
        self.open.insert(handle.clone(), open);
        Handle { id, handle }
    }

    pub fn file(&self, handle: &str) -> Result<&fs::File, Refusal> {
        match self.open.get(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(Refusal::new(StatusCode::Failure, "no open file has this handle")),
        }
    }
}

/// The path from the root; `..` stops at the root.
pub fn seen(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
