//! The steps of a case over FTP, as an operator would type them.

use std::io::{self, Read, Write};

use super::gateway::listener;
use super::step::{NEW, Outcome, expand};
use super::{Front, Round};
use crate::support::PASSWORD;
use crate::support::raw::{Raw, Reply};

pub fn perform(round: &Round<'_>) -> Vec<Outcome> {
    let mut client = connect(round);
    let base = round.base();
    let steps = round.steps().iter();
    let outcomes =
        steps.map(|step| act(&mut client, &step.action.replace(" /", &format!(" {base}/"))));
    let outcomes = outcomes.collect();
    client.command("QUIT");
    outcomes
}

fn connect(round: &Round<'_>) -> Raw {
    let address = round.gateways.of(round.case).address(&listener(Front::Ftp, round.back));
    let (mut client, _) = Raw::connect_from(round.case.source, address).expect("a connection");
    match round.case.tls.as_str() {
        "none" => {}
        "all" => client.auth_tls(),
        "control" => {
            client.expect("AUTH TLS", 234);
            client.start_tls();
        }
        other => panic!("tls: {other}"),
    }
    client.login(&round.case.name, PASSWORD);
    client.expect("TYPE I", 200);
    client
}

/// `REST N COMMAND` and `RNFR A RNTO B` are two commands; the first must succeed, or is the outcome.
pub fn act(client: &mut Raw, action: &str) -> Outcome {
    let (verb, rest) = action.split_once(' ').unwrap_or((action, ""));
    match verb {
        "REST" => {
            let (offset, next) = rest.split_once(' ').expect("REST and a command");
            let reply = client.command(&format!("REST {offset}"));
            if reply.code == 350 { act(client, next) } else { outcome(&reply) }
        }
        "RNFR" => {
            let (from, to) = rest.split_once(" RNTO ").expect("RNFR and RNTO");
            let reply = client.command(&format!("RNFR {from}"));
            if reply.code != 350 {
                return outcome(&reply);
            }
            outcome(&client.command(&format!("RNTO {to}")))
        }
        "STOR" | "APPE" | "STOU" => {
            let (line, data) = action.split_once(" = ").unwrap_or((action, NEW));
            outcome(&transfer(client, line, Some(expand(data).as_bytes())).1)
        }
        "RETR" => {
            let (bytes, reply) = transfer(client, action, None);
            Outcome { data: Some(text(&bytes)), ..outcome(&reply) }
        }
        "LIST" | "NLST" | "MLSD" => {
            let (bytes, reply) = transfer(client, action, None);
            let mut names: Vec<_> = text(&bytes).lines().filter_map(|it| name(verb, it)).collect();
            names.sort();
            Outcome { names: Some(names), ..outcome(&reply) }
        }
        "STAT" => {
            let reply = client.command(action);
            let lines = reply.text.lines().filter(|line| line.starts_with(['-', 'd', ' ']));
            let mut names: Vec<_> = lines.filter_map(|line| name("LIST", line)).collect();
            names.sort();
            Outcome { names: Some(names), ..outcome(&reply) }
        }
        _ => outcome(&client.command(action)),
    }
}

/// Sends or receives a file or a listing; the last reply.
fn transfer(client: &mut Raw, line: &str, data: Option<&[u8]>) -> (Vec<u8>, Reply) {
    let tcp = client.passive();
    let reply = client.command(line);
    let mut received = Vec::new();
    if !matches!(reply.code, 125 | 150) {
        return (received, reply);
    }
    let mut wire = client.data(tcp);
    match data {
        Some(bytes) => {
            // The gateway may end it before all is sent.
            let _ = wire.write_all(bytes).and_then(|()| wire.finish());
            let _ = io::copy(&mut wire, &mut io::sink());
        }
        None => drop(wire.read_to_end(&mut received).expect("reading a data connection")),
    }
    (received, client.read())
}

/// The name in a line of a listing; `None` for those of the folder itself and its parent.
fn name(verb: &str, line: &str) -> Option<String> {
    let name = match verb {
        "MLSD" => {
            let (facts, name) = line.split_once(' ')?;
            let facts = facts.to_lowercase();
            if facts.contains("type=cdir") || facts.contains("type=pdir") {
                return None;
            }
            name
        }
        "LIST" => line.rsplit(' ').next()?,
        _ => line.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

fn outcome(reply: &Reply) -> Outcome {
    Outcome { result: reply.code.to_string(), text: reply.text.clone(), ..Outcome::default() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
