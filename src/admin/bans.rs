//! The bans of the login guard, as JSON and as a table.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{NO_GATEWAY, fetch};
use super::error::{Answer, ApiError};
use crate::auth::{Ban, LoginGuard};
use crate::op::escape::printable;

pub(super) fn json(bans: &[Ban]) -> Value {
    let now = SystemTime::now();
    let ban = |ban: &Ban| {
        let until = humantime::format_rfc3339_seconds(now + ban.remaining).to_string();
        json!({
            "source": ban.source.to_string(),
            "failures": ban.failures,
            "until": until,
            "remaining_seconds": ban.remaining.as_secs(),
        })
    };
    json!({ "bans": bans.iter().map(ban).collect::<Vec<_>>() })
}

/// The answer to a request to lift a ban; `query`: `address=`.
pub(super) fn lift(guard: &LoginGuard, query: &str) -> Answer {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let address = pairs.find(|(key, _)| key == "address").map(|(_, value)| value.into_owned());
    match address.as_deref().map(str::parse::<IpAddr>) {
        Some(Ok(address)) => Ok(json!({ "lifted": guard.lift(address) })),
        _ => Err(ApiError::bad_request("`address` is not an IP address")),
    }
}

/// A table for people. `response` is the admin socket's.
pub fn bans_table(response: &Value) -> String {
    let bans = response["bans"].as_array().map_or(&[][..], Vec::as_slice);
    if bans.is_empty() {
        return "no address is banned\n".to_owned();
    }
    let mut text = format!("{:<43}  {:>8}  {:<20}  ENDS IN\n", "ADDRESS", "FAILURES", "UNTIL");
    for ban in bans {
        let shown = |key: &str| printable(ban[key].as_str().unwrap_or("?").as_bytes()).to_string();
        let remaining = Duration::from_secs(ban["remaining_seconds"].as_u64().unwrap_or(0));
        let _ = writeln!(
            text,
            "{:<43}  {:>8}  {:<20}  {}",
            shown("source"),
            ban["failures"].as_u64().unwrap_or(0),
            shown("until"),
            humantime::format_duration(remaining),
        );
    }
    text
}

/// Requests the bans from a running gateway, for the command line.
pub async fn fetch_bans(socket: &Path) -> anyhow::Result<Value> {
    let fetch = async {
        let bans = fetch(socket, Method::GET, "/bans").await?;
        anyhow::ensure!(bans["bans"].is_array(), NO_GATEWAY);
        Ok(bans)
    };
    fetch.await.with_context(|| format!("fetching the bans from {}", socket.display()))
}

/// Lifts the ban of an address at a running gateway; returns whether it was banned.
pub async fn lift_ban(socket: &Path, address: IpAddr) -> anyhow::Result<bool> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("address", &address.to_string())
        .finish();
    let lift = async {
        let answer = fetch(socket, Method::POST, &format!("/bans/lift?{query}")).await?;
        answer["lifted"].as_bool().context(NO_GATEWAY)
    };
    lift.await.with_context(|| format!("asking the gateway at {}", socket.display()))
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::auth::GuardSettings;

    #[tokio::test(start_paused = true)]
    async fn bans_are_listed_and_lifted() {
        let guard = LoginGuard::new(GuardSettings::default(), &Registry::new()).unwrap();
        assert_eq!(bans_table(&json(&guard.bans())), "no address is banned\n");
        for address in ["192.0.2.1", "2001:db8::1"] {
            (0..10).for_each(|_| guard.login_refused(address.parse().unwrap(), None));
        }
        let listed = json(&guard.bans());
        let text = bans_table(&listed);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("192.0.2.1   ") && lines[1].ends_with("Z  15m"), "{text}");
        assert!(lines[2].starts_with("2001:db8::/64   "), "{text}");
        assert_eq!(lift(&guard, "address=2001%3Adb8%3A%3A9"), Ok(json!({ "lifted": true })));
        assert_eq!(lift(&guard, "address=192.0.2.7"), Ok(json!({ "lifted": false })));
        for wrong in ["address=x", "", "a=192.0.2.1"] {
            assert!(lift(&guard, wrong).is_err(), "{wrong}");
        }
        assert_eq!(guard.bans().len(), 1);
    }

    #[test]
    fn a_table_has_printable_characters_only() {
        let ban = json!({ "source": "\u{1b}[2J", "until": "\n" });
        let text = bans_table(&json!({ "bans": [ban] }));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("\\u{1b}[2J"), "{text}");
    }
}
