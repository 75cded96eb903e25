//! The table of policy cases (`cases.yaml`), each through an FTP and an SFTP front, with real servers behind
//! the gateway. What is on disk afterwards is compared, not only what the client was told.

mod decides;
mod ftp;
mod gateway;
mod samples;
mod sftp;
mod step;
mod table;
mod tree;
mod yaml;

use std::path::PathBuf;

use self::gateway::{BACKENDS, Back, Gateways};
use self::step::{Outcome, Step};
use self::table::Case;
use super::support::cells::{Cell, Failure, caught, is_chosen, run_all};
use super::support::full;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Ftp,
    Sftp,
}

impl Front {
    fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Sftp => "sftp",
        }
    }

    /// The backends behind it; more in the full tier.
    fn backends(self) -> &'static [&'static str] {
        match (self, full()) {
            (Self::Ftp, false) => &["proftpd", "local"],
            (Self::Sftp, false) => &["sshd", "local"],
            (_, true) => &BACKENDS,
        }
    }
}

#[test]
fn the_cases_of_the_table() {
    let cases = table::read();
    let fewest = 60;
    assert!(cases.len() >= fewest, "the table has {} cases", cases.len());
    let gateways = Gateways::start(&cases);
    let rounds: Vec<_> = [Front::Ftp, Front::Sftp]
        .into_iter()
        .flat_map(|front| cases.iter().map(move |case| (front, case)))
        .flat_map(|(front, case)| {
            let backends = if case.windows { &["windows"][..] } else { front.backends() };
            let chosen = backends.iter().filter(move |name| case.runs_with(front, name));
            let gateways = &gateways;
            chosen.map(move |name| Round { case, front, back: gateways.back(name), gateways })
        })
        .filter(|round| !round.steps().is_empty() && is_chosen(&round.name()))
        .collect();
    rounds.iter().for_each(|round| tree::plant(&round.folder()));
    let over_sftp = sftp::perform(&rounds);
    let cells = rounds.iter().zip(&over_sftp).map(|(round, done)| {
        let name = round.name();
        let run = move || match round.front {
            Front::Ftp => round.failures(&ftp::perform(round)),
            Front::Sftp => round.failures(done),
        };
        Cell { name, run: Box::new(run) }
    });
    run_all("policy", cells.collect());
}

/// One case through one front with one backend.
pub struct Round<'a> {
    case: &'a Case,
    front: Front,
    back: &'a Back,
    gateways: &'a Gateways,
}

impl Round<'_> {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.front.name(), self.back.name, self.case.name)
    }

    fn steps(&self) -> &[Step] {
        match self.front {
            Front::Ftp => &self.case.ftp,
            Front::Sftp => &self.case.sftp,
        }
    }

    fn failures(&self, outcomes: &[Outcome]) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (index, step) in self.steps().iter().enumerate() {
            let expected = &step.expected;
            match outcomes.get(index) {
                Some(outcome) if outcome.fits(expected) => {}
                outcome => failures.push(Failure::new(
                    &step.action,
                    format!("expected {expected}, got {outcome:?}"),
                )),
            }
        }
        let found = tree::read(&self.folder());
        let differences = tree::differences(self.case.tree_after(self.front), &found);
        failures.extend(differences.into_iter().map(|it| Failure::new("files on disk", it)));
        failures.extend(caught(|| decides::failures(self)));
        failures
    }

    /// The case's folder on disk. Each front has its own.
    fn folder(&self) -> PathBuf {
        self.back.disk(self.front).join(&self.case.name)
    }

    /// Before the paths of a session without `root`.
    fn base(&self) -> String {
        if self.case.links {
            format!("{}/{}", self.back.path(self.front), self.case.name)
        } else {
            String::new()
        }
    }
}
