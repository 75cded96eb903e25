//! The steps of all cases over SFTP, by paramiko (`clients/sftp_policy.py`), in one process.

use std::collections::HashMap;

use serde_json::json;

use super::gateway::listener;
use super::step::{NEW, Outcome};
use super::{Front, Round};
use crate::support::PASSWORD;
use crate::support::clients::paramiko::script;

/// The outcomes of each round's steps; none of a round over FTP.
pub fn perform(rounds: &[Round<'_>]) -> Vec<Vec<Outcome>> {
    let jobs: Vec<_> = rounds
        .iter()
        .enumerate()
        .filter(|(_, round)| round.front == Front::Sftp)
        .map(|(id, round)| {
            let gateway = round.gateways.of(round.case);
            let steps: Vec<_> = round.steps().iter().map(|step| &step.action).collect();
            json!({
                "id": id,
                "port": gateway.address(&listener(Front::Sftp, round.back)).port(),
                "from": round.case.source,
                "user": round.case.name,
                "base": round.base(),
                "steps": steps,
            })
        })
        .collect();
    let job = json!({ "password": PASSWORD, "data": NEW, "timeout": 20, "rounds": jobs });
    let output = script("sftp_policy.py", &job).expect_ok("the steps over SFTP");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let mut done: HashMap<usize, Vec<Outcome>> = lines
        .lines()
        .map(|line| serde_json::from_str::<(usize, Vec<Outcome>)>(line).expect("outcomes"))
        .collect();
    (0..rounds.len()).map(|id| done.remove(&id).unwrap_or_default()).collect()
}
