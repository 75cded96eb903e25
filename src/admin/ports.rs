//! The data ports, as JSON and as a table.

use std::fmt::Write;

use serde_json::{Value, json};

use super::text::percent;
use crate::data::{BACKEND_SESSION_BASE, OwnerState, PoolView, PortView};
use crate::op::escape::printable;

/// Ports in use that a summary lists.
const BUSY_MAX: usize = 100;

pub(super) fn json(pools: &[PoolView]) -> Value {
    let pools: Vec<_> = pools.iter().map(pool).collect();
    json!({ "pools": pools })
}

fn pool(view: &PoolView) -> Value {
    let ports: Vec<_> = view.ports.iter().map(port).collect();
    json!({
        "pool": view.pool,
        "queued": view.queued,
        "fullness": view.fullness,
        "ports": ports,
    })
}

/// For the status page, which asks often: equal neighbours together, and the first of those in use with their
/// owners.
pub(super) fn summary(pools: &[PoolView]) -> Value {
    let pools = pools.iter().map(|view| {
        let runs = view.ports.chunk_by(|one, next| {
            one.port.checked_add(1) == Some(next.port) && looks(one) == looks(next)
        });
        let runs: Vec<_> = runs.filter_map(run).collect();
        let busy = view.ports.iter().filter(|port| port.reserved + port.active > 0);
        json!({
            "pool": view.pool,
            "queued": view.queued,
            "fullness": view.fullness,
            "runs": runs,
            "busy": busy.take(BUSY_MAX).map(port).collect::<Vec<_>>(),
        })
    });
    json!({ "pools": pools.collect::<Vec<_>>() })
}

fn looks(port: &PortView) -> (usize, usize, bool) {
    (port.reserved, port.active, port.quarantined)
}

/// Without what is 0 or false: most ports are free.
fn run(ports: &[PortView]) -> Option<Value> {
    let (first, last) = (ports.first()?, ports.last()?);
    let mut run = json!({ "first": first.port, "last": last.port });
    for (key, count) in [("reserved", first.reserved), ("active", first.active)] {
        if count > 0 {
            run[key] = count.into();
        }
    }
    if first.quarantined {
        run["quarantined"] = true.into();
    }
    Some(run)
}

fn port(view: &PortView) -> Value {
    let owners = view.owners.iter().map(|owner| {
        let state = match owner.state {
            OwnerState::Reserved => "reserved",
            OwnerState::Shared => "shared",
            OwnerState::Active => "active",
        };
        // A backend's session has no number in the log.
        let session = Some(owner.session).filter(|session| *session < BACKEND_SESSION_BASE);
        json!({ "session": session, "client": owner.client.to_string(), "state": state })
    });
    let stray = view.last_stray.map(|stray| {
        let at = humantime::format_rfc3339_seconds(stray.at).to_string();
        json!({ "from": stray.from.to_string(), "at": at })
    });
    json!({
        "port": view.port,
        "reserved": view.reserved,
        "active": view.active,
        "quarantined": view.quarantined,
        "owners": owners.collect::<Vec<_>>(),
        "last_stray": stray,
    })
}

/// A table of the busy ports. `response` is the admin socket's.
pub fn table(response: &Value) -> String {
    let mut text = String::new();
    for pool in list(response, "pools") {
        let ports = list(pool, "ports");
        let busy: Vec<_> = ports.iter().filter(|port| !is_idle(port)).collect();
        let sum = |key| ports.iter().map(|port| number(port, key)).sum::<u64>();
        let _ = writeln!(
            text,
            "{}: {} ports, {} reserved, {} active, {} waiting for a port, {} % full",
            text_of(pool, "pool"),
            ports.len(),
            sum("reserved"),
            sum("active"),
            number(pool, "queued"),
            percent(pool),
        );
        if !busy.is_empty() {
            let _ = writeln!(
                text,
                "  {:>5}  {:>8}  {:>6}  {:<46}  OWNERS",
                "PORT", "RESERVED", "ACTIVE", "LAST STRAY"
            );
        }
        for port in &busy {
            let _ = writeln!(
                text,
                "  {:>5}  {:>8}  {:>6}  {:<46}  {}",
                number(port, "port"),
                number(port, "reserved"),
                number(port, "active"),
                stray(port),
                owners(port),
            );
        }
    }
    text
}

fn is_idle(port: &Value) -> bool {
    number(port, "reserved") + number(port, "active") == 0 && port["last_stray"].is_null()
}

fn stray(port: &Value) -> String {
    match &port["last_stray"] {
        Value::Null => "-".to_owned(),
        stray => format!("{} {}", text_of(stray, "at"), text_of(stray, "from")),
    }
}

fn owners(port: &Value) -> String {
    let owners = list(port, "owners");
    let named = owners.iter().map(|owner| {
        let (state, client) = (text_of(owner, "state"), text_of(owner, "client"));
        match owner["session"].as_u64() {
            Some(session) => format!("{client} (session {session}, {state})"),
            None => format!("{client} (a backend server, {state})"),
        }
    });
    let all = number(port, "reserved") + number(port, "active");
    let more = all.saturating_sub(owners.len() as u64);
    let more = (more > 0).then(|| format!("and {more} more"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

/// Escaped: the socket may belong to another program.
fn text_of(value: &Value, key: &str) -> String {
    printable(value[key].as_str().unwrap_or("?").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::data::{Owner, Stray};

    #[test]
    fn a_table_has_printable_characters_only() {
        let stray = json!({ "from": "\u{1b}[2J", "at": "\u{202e}" });
        let port =
            json!({ "port": 1, "reserved": 0, "active": 0, "owners": [], "last_stray": stray });
        let text = table(&json!({ "pools": [{ "pool": "a\nb", "ports": [port] }] }));
        assert!(text.starts_with("a\\nb: 1 ports"), "{text}");
        assert!(text.contains("\\u{202e} \\u{1b}[2J"), "{text}");
    }

    #[test]
    fn a_summary_of_many_ports_is_short() {
        let mut ports: Vec<_> =
            (20_000..30_000).map(|port| PortView { port, ..PortView::default() }).collect();
        ports[9_999].quarantined = true;
        let owner =
            Owner { session: 7, client: "192.0.2.1".parse().unwrap(), state: OwnerState::Active };
        for port in &mut ports[100..400] {
            (port.active, port.owners) = (1, vec![owner]);
        }
        ports[400].reserved = 2;
        // Of another block.
        ports.push(PortView { port: 40_000, quarantined: true, ..PortView::default() });
        let view = PoolView { pool: "public".into(), queued: 2, fullness: 0.5, ports };
        let all = summary(std::slice::from_ref(&view));
        let runs = json!([
            { "first": 20_000, "last": 20_099 },
            { "first": 20_100, "last": 20_399, "active": 1 },
            { "first": 20_400, "last": 20_400, "reserved": 2 },
            { "first": 20_401, "last": 29_998 },
            { "first": 29_999, "last": 29_999, "quarantined": true },
            { "first": 40_000, "last": 40_000, "quarantined": true },
        ]);
        let pool = &all["pools"][0];
        assert_eq!((&pool["runs"], &pool["queued"]), (&runs, &json!(2)));
        let busy = pool["busy"].as_array().unwrap();
        assert_eq!((busy.len(), &busy[0]), (BUSY_MAX, &port(&view.ports[100])));
        assert!(all.to_string().len() < 20_000, "{} bytes", all.to_string().len());
    }

    #[test]
    fn a_table_names_busy_ports_and_their_owners() {
        let owner =
            Owner { session: 7, client: "192.0.2.1".parse().unwrap(), state: OwnerState::Shared };
        let from = "198.51.100.9:4711".parse().unwrap();
        let stray = Stray { from, at: SystemTime::UNIX_EPOCH };
        let server =
            Owner { session: BACKEND_SESSION_BASE + 3, state: OwnerState::Active, ..owner };
        let ports = vec![
            PortView { port: 50_000, ..PortView::default() },
            PortView {
                port: 50_001,
                reserved: 3,
                active: 1,
                quarantined: false,
                owners: vec![owner, server],
                last_stray: None,
            },
            PortView { port: 50_002, last_stray: Some(stray), ..PortView::default() },
        ];
        let view = PoolView { pool: "public".into(), queued: 2, fullness: 1.0 / 3.0, ports };
        let text = table(&json(&[view]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "public: 3 ports, 3 reserved, 1 active, 2 waiting for a port, 34 % full"
        );
        assert_eq!(lines.len(), 4, "{text}");
        let owners =
            "192.0.2.1 (session 7, shared), 192.0.2.1 (a backend server, active), and 2 more";
        assert!(lines[2].ends_with(owners), "{text}");
        assert!(lines[3].contains("1970-01-01T00:00:00Z 198.51.100.9:4711"), "{text}");
    }
}
