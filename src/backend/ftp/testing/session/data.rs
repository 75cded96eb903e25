//! Data connections, transfers and listings.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Outcome, Session, facts, take_header};
use crate::backend::ftp::testing::{MODIFIED, Seen};

impl Session {
    pub(super) async fn listen(&mut self) -> std::io::Result<u16> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse().unwrap())?;
        if self.oddities.reads_slowly.is_some() {
            socket.set_recv_buffer_size(64 * 1024)?;
        }
        let listener = socket.listen(if self.oddities.distant { 0 } else { 16 })?;
        let address = listener.local_addr()?;
        self.fillers.clear();
        // The kernel drops the SYN of connections beyond the backlog.
        while self.oddities.distant
            && let Ok(filler) =
                tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
        {
            self.fillers.push(filler?);
        }
        self.data = Some(listener).filter(|_| !self.oddities.dead_ports);
        Ok(address.port())
    }

    pub(super) async fn fill_in(&mut self, template: &str) -> std::io::Result<String> {
        self.data = None;
        let port = match template {
            _ if template.contains("{full}") => {
                let distant = std::mem::replace(&mut self.oddities.distant, true);
                let port = self.listen().await?;
                self.oddities.distant = distant;
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

    /// Whether the data connection was established before the command.
    async fn has_data(&mut self) -> std::io::Result<bool> {
        let Some(listener) = &self.data else { return Ok(true) };
        if self.fillers.is_empty() {
            return Ok(true);
        }
        for _ in self.fillers.drain(..) {
            listener.accept().await?;
        }
        self.seen.lock().unwrap().early_transfers += 1;
        Ok(false)
    }

    pub(super) async fn transfer(&mut self, verb: &str, argument: &str) -> Outcome {
        let offset = std::mem::take(&mut self.offset);
        let bytes = {
            let seen = self.seen.lock().unwrap();
            seen.files.get(seen.links.get(argument).map_or(argument, String::as_str)).cloned()
        };
        let has_data = self.has_data().await?;
        if verb == "LIST" && argument == "-a" && self.oddities.hides_dot_files {
            return self.reply("501 no options").await;
        }
        if let ("LIST", "-a", Some(reply)) = (verb, argument, self.oddities.refuses_list_all) {
            return self.reply(reply).await;
        }
        if let ("MLSD" | "LIST", Some(reply)) = (verb, self.oddities.replies_to_listings) {
            self.data = None;
            return self.reply(reply).await;
        }
        if verb == "RETR" && bytes.is_none() {
            return self.reply("550 no such file").await;
        }
        if self.oddities.impatient && !has_data {
            // The connection may be established now, and the next one at once.
            self.oddities.distant = false;
            return self.reply("425 no data connection yet").await;
        }
        if self.oddities.refuses_transfers > 0 {
            self.oddities.refuses_transfers -= 1;
            return self.reply("425 not from before").await;
        }
        let Some(listener) = self.data.take() else {
            if self.oddities.ignores_missing_data {
                return Ok(());
            }
            if self.oddities.announces_early {
                self.reply("150 go").await?;
            }
            return self.reply("425 no connection").await;
        };
        let (mut data, _) = listener.accept().await?;
        if self.oddities.proxied {
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
                if !self.oddities.shows_uploads_at_end {
                    self.seen.lock().unwrap().files.insert(argument.to_owned(), taken.clone());
                }
                // The data of an upload and its end are one round trip.
                self.seen.lock().unwrap().round_trips += 1;
                if let Some(at) = self.oddities.drops_upload_at {
                    data.read_exact(&mut vec![0; at]).await?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                let mut new = Vec::new();
                if let Some(at) = self.oddities.closes_upload_at {
                    new.resize(at, 0);
                    data.read_exact(&mut new).await?;
                    taken.extend(new);
                    self.seen.lock().unwrap().files.insert(argument.to_owned(), taken);
                    // Unread data turns the close into a reset.
                    let end = self.seen.lock().unwrap().replies.get("end").copied();
                    return self.reply(end.unwrap_or("226 taken")).await;
                }
                let end = match self.oddities.reads_slowly {
                    Some(piece) => dribble(&mut data, piece, &mut new).await,
                    None => data.read_to_end(&mut new).await,
                };
                if self.oddities.resets_after_upload {
                    crate::net::reset_on_drop(&data);
                }
                drop(data);
                taken.extend(new);
                let scripted = self.seen.lock().unwrap().replies.get("end").copied();
                let refusal = scripted.or(self.oddities.refuses_uploads);
                let preferred = end.is_ok() && refusal.is_none();
                if preferred || !self.oddities.shows_uploads_at_end {
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
                if let Some(at) = self.oddities.drops_download_at.filter(|at| *at < bytes.len()) {
                    data.write_all(&bytes[..at]).await?;
                    return Err(std::io::ErrorKind::ConnectionAborted.into());
                }
                let (part, last) = match self.oddities.cuts_downloads_at {
                    Some((at, refusal)) => (&bytes[..at.min(bytes.len())], refusal),
                    None => (&bytes[..], "226 that was all"),
                };
                let sent = data.write_all(part).await;
                drop(data);
                self.reply(if sent.is_ok() { last } else { "426 cut" }).await
            }
            _ => {
                let listing = match self.oddities.list_shows.filter(|_| verb == "LIST") {
                    _ if self.oddities.takes_options_as_names && argument == "-a" => Vec::new(),
                    Some(lines) => lines.as_bytes().to_vec(),
                    None => self.listing(verb, argument),
                };
                if let Some(at) = self.oddities.resets_listings {
                    data.write_all(&listing[..at]).await?;
                    crate::net::reset_on_drop(&data);
                    drop(data);
                    return self.reply("226 that was all").await;
                }
                data.write_all(&listing).await?;
                drop(data);
                self.reply(self.oddities.ends_listings.unwrap_or("226 that was all")).await
            }
        }
    }

    pub(super) fn link_facts(&self, name: &str, target: &str) -> String {
        self.facts_of_link(&self.seen.lock().unwrap(), name, target)
    }

    fn facts_of_link(&self, seen: &Seen, name: &str, target: &str) -> String {
        let as_target = self.oddities.links_as_files;
        let kind = if as_target && seen.folders.contains_key(target) {
            "dir".to_owned()
        } else if as_target && seen.files.contains_key(target) {
            "file".to_owned()
        } else {
            format!("OS.unix=slink:{target}")
        };
        format!("type={kind};size=9;modify={MODIFIED};UNIX.mode=0777; {name}")
    }

    fn listing(&self, verb: &str, folder: &str) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        let folder = match verb {
            "LIST" => self.directory.as_str(),
            _ if folder == "/" => "",
            _ => folder,
        };
        let inside = seen.files.iter().filter_map(|(path, bytes)| {
            Some((path.strip_prefix(folder)?.strip_prefix('/')?, bytes.len()))
        });
        let inside = inside
            .filter(|(name, _): &(&str, usize)| {
                !(self.oddities.hides_dot_files && name.starts_with('.'))
            })
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
        lines.replace("\r\n", self.oddities.line_end.unwrap_or("\r\n")).into_bytes()
    }
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
