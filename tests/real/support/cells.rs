//! A table of cells that run in parallel; all failing cells are reported at the end.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

const WORKERS: usize = 4;

pub struct Cell<'a> {
    pub name: String,
    pub run: Box<dyn Fn() -> Vec<Failure> + Send + Sync + 'a>,
}

#[derive(Debug, Clone)]
pub struct Failure {
    pub step: String,
    pub detail: String,
}

impl Failure {
    pub fn new(step: &str, detail: impl Into<String>) -> Self {
        Self { step: step.to_owned(), detail: detail.into() }
    }
}

/// Runs the cells whose name contains `LOCKGATE_CELLS` (default: all) and panics with the table of
/// failures, if there are any.
pub fn run_all(table: &str, cells: Vec<Cell>) {
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| is_chosen(&cell.name)).collect();
    let total = cells.len();
    if total == 0 {
        println!("{table}: no cell of this table has {:?} in its name", filter());
    }
    let queue = Mutex::new(VecDeque::from(cells));
    let failures = Mutex::new(Vec::new());
    let worker = || {
        while let Some(cell) = { queue.lock().expect("no holder panics").pop_front() } {
            let start = Instant::now();
            let failed = caught(|| (cell.run)());
            let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
            println!("{table} {}: {verdict} in {:.1?}", cell.name, start.elapsed());
            let mut failures = failures.lock().expect("no holder panics");
            failures.extend(failed.into_iter().map(|failure| (cell.name.clone(), failure)));
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(worker);
        }
    });
    let failures = failures.into_inner().expect("no holder panics");
    if failures.is_empty() {
        return;
    }
    let cell_width = failures.iter().map(|(cell, _)| cell.len()).max().unwrap_or(0);
    let step_width = failures.iter().map(|(_, failure)| failure.step.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut failed: Vec<&str> = failures.iter().map(|(cell, _)| cell.as_str()).collect();
    failed.sort_unstable();
    failed.dedup();
    for (cell, Failure { step, detail }) in &failures {
        text.push_str(&format!("{cell:cell_width$}  {step:step_width$}  {detail}\n"));
    }
    panic!("{table}: {} of {total} cells failed\n{text}", failed.len());
}

/// Whether `LOCKGATE_CELLS` chooses the cell of this name.
pub fn is_chosen(name: &str) -> bool {
    name.contains(&filter())
}

fn filter() -> String {
    std::env::var("LOCKGATE_CELLS").unwrap_or_default()
}

/// Turns a panic into a failure.
pub fn caught(run: impl FnOnce() -> Vec<Failure>) -> Vec<Failure> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| vec![Failure::new("panic", panic_text(&*panic))])
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
}
