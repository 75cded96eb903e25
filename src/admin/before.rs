//! The processes before this one, and what they answer to requests of operators.

use serde_json::{Value, json};

use super::text::{list, number, text_of};

/// A process whose sessions go on while this one accepts new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessBefore {
    /// Its id.
    pub process: u32,
    /// Its open sessions, as it has last said.
    pub sessions: usize,
    /// Why it is not known what it does, in words.
    pub error: Option<String>,
}

/// What one of them answers.
#[derive(Debug)]
pub struct FromBefore {
    /// The process.
    pub process: ProcessBefore,
    /// Sessions, transfers, or the numbers of sessions that it has ended; none after an error.
    pub rows: Vec<Value>,
    /// How many there are in all; rows may be left out.
    pub count: usize,
}

impl ProcessBefore {
    pub(super) fn json(&self) -> Value {
        json!({ "process": self.process, "sessions": self.sessions, "error": self.error })
    }
}

/// What all of them answer.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) rows: Vec<Value>,
    pub(super) count: usize,
    pub(super) processes: Vec<ProcessBefore>,
}

impl Merged {
    pub(super) fn of(answers: Vec<FromBefore>) -> Self {
        let mut merged = Self::default();
        for FromBefore { process, rows, count } in answers {
            merged.rows.extend(rows);
            merged.count += count;
            merged.processes.push(process);
        }
        merged
    }

    /// With how many sessions they have.
    pub(super) fn of_sessions(mut answers: Vec<FromBefore>) -> Self {
        for FromBefore { process, count, .. } in &mut answers {
            match process.error {
                None => process.sessions = *count,
                Some(_) => *count = process.sessions,
            }
        }
        Self::of(answers)
    }

    pub(super) fn processes_json(&self) -> Vec<Value> {
        self.processes.iter().map(ProcessBefore::json).collect()
    }
}

/// Lines for people about processes that have not answered, without their ends. `response` is the admin socket's.
pub(super) fn unanswered(response: &Value) -> Vec<String> {
    let processes = list(response, "processes_before").iter();
    processes.filter(|it| !it["error"].is_null()).map(line).collect()
}

fn line(process: &Value) -> String {
    let (id, sessions) = (number(process, "process"), number(process, "sessions"));
    let error = text_of(process, "error");
    format!("process {id} before this one (sessions: {sessions}) does not answer: {error}")
}
