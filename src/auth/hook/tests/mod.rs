//! Login hooks against scripted servers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::scripted::{LIMIT, Scripted, hook, ok, read};
use super::*;

mod answers;
mod caching;
mod protocol;
mod tls;

fn question<'a>(user: &'a str, password: &'a str) -> Question<'a> {
    Question {
        user: user.as_bytes(),
        shown: Shown::Password(password.as_bytes()),
        certificate: None,
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        listener: "public",
        protocol: "ftps",
        encrypted: true,
        backend: "files",
    }
}

/// The answer, `None` for a refusal, or the fault.
async fn ask(hook: &LoginHook, question: &Question<'_>) -> Result<Option<Answer>, HookError> {
    match hook.ask(question, |answer| Ok(answer.clone())).await {
        Ok(Verdict::Allowed(answer)) => Ok(Some(answer)),
        Ok(Verdict::Refused(_)) => Ok(None),
        Err(NoVerdict::Hook(error)) => Err(error),
        Err(NoVerdict::Question(bad)) => panic!("{bad}"),
    }
}

fn key() -> russh::keys::PublicKey {
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a comment";
    russh::keys::PublicKey::from_openssh(line).unwrap()
}
