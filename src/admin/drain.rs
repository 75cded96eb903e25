//! The drain of the gateway: how far it is, as JSON and in words, and how it is begun.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{NO_GATEWAY, fetch};
use crate::net::{Drain, DrainPhase};

pub(super) fn json(drain: &Drain) -> Value {
    let (phase, left) = drain.phase();
    let phase = match phase {
        DrainPhase::Serving => "serving",
        DrainPhase::Accepting => "accepting",
        DrainPhase::Draining => "draining",
        DrainPhase::Aborting => "aborting",
    };
    json!({
        "process": std::process::id(),
        "phase": phase,
        "seconds_left": left.map(|left| left.as_secs()),
        "sessions": drain.sessions(),
    })
}

/// One line for people, without its end. `response` is the admin socket's.
pub fn drain_text(response: &Value) -> String {
    let left = response["seconds_left"].as_u64();
    let left = left.map(|seconds| humantime::format_duration(Duration::from_secs(seconds)));
    let phase = match (response["phase"].as_str(), left) {
        (Some("accepting"), Some(left)) => format!("new sessions are accepted for {left} more"),
        (Some("accepting"), None) => "the drain begins".to_owned(),
        (Some("draining"), Some(left)) => {
            format!("no new sessions; running transfers are cut in {left}")
        }
        (Some("draining"), None) => "no new sessions; running transfers may finish".to_owned(),
        (Some("aborting"), _) => "running transfers are cut".to_owned(),
        _ => "the gateway does not drain".to_owned(),
    };
    format!("{phase}; sessions: {}", response["sessions"].as_u64().unwrap_or(0))
}

/// Begins the drain of a running gateway, for the command line.
pub async fn drain_gateway(socket: &Path) -> anyhow::Result<Value> {
    ask(socket, Method::POST).await
}

/// How far the drain of a running gateway is, for the command line.
pub async fn fetch_drain(socket: &Path) -> anyhow::Result<Value> {
    ask(socket, Method::GET).await
}

async fn ask(socket: &Path, method: Method) -> anyhow::Result<Value> {
    let ask = async {
        let progress = fetch(socket, method, "/drain").await?;
        anyhow::ensure!(progress["phase"].is_string(), NO_GATEWAY);
        Ok(progress)
    };
    ask.await.with_context(|| format!("asking the gateway at {}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_line() {
        let drain = Drain::new();
        assert_eq!(drain_text(&json(&drain)), "the gateway does not drain; sessions: 0");
        drain.announce();
        assert_eq!(drain_text(&json(&drain)), "the drain begins; sessions: 0");
        let response = |phase: &str| json!({ "phase": phase, "seconds_left": 65, "sessions": 2 });
        let text = drain_text(&response("draining"));
        assert_eq!(text, "no new sessions; running transfers are cut in 1m 5s; sessions: 2");
        assert!(drain_text(&response("accepting")).contains("for 1m 5s more"));
    }
}
