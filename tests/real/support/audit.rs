//! Audit records: reads, awaits and validates them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use super::process::{POLL, run};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The JSON Schema of docs/.
pub struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    pub fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.schema.json");
        let text = std::fs::read_to_string(path).expect("the schema");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let schema = serde_json::from_str(&text).expect("a schema of JSON");
        compiler.add_resource("audit.json", schema).expect("adding the schema");
        let index = compiler.compile("audit.json", &mut schemas).expect("a valid schema");
        Self { schemas, index }
    }

    #[track_caller]
    pub fn validate(&self, record: &Value) {
        if let Err(error) = self.schemas.validate(record, self.index) {
            panic!("{record:#}\n{error:#}");
        }
    }
}

/// The records in a file. Its last line must be complete.
pub fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", file.display()))
    };
    // A line that is being written.
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    text[..end].lines().map(parse).collect()
}

/// The first record in the file that matches, once it is there.
#[track_caller]
pub fn await_record(file: &Path, predicate: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + TIMEOUT;
    loop {
        let all = records(file);
        if let Some(found) = all.iter().find(|record| predicate(record)) {
            return found.clone();
        }
        if Instant::now() >= end {
            let all: Vec<_> = all.iter().map(Value::to_string).collect();
            panic!("no such record in {}:\n{}", file.display(), all.join("\n"));
        }
        std::thread::sleep(POLL);
    }
}

/// What sha256sum prints for a file.
pub fn sha256sum(file: &PathBuf) -> String {
    let output = run(Command::new("sha256sum").arg(file), b"", TIMEOUT).expect_ok("sha256sum");
    let output = String::from_utf8(output.stdout).expect("text");
    // It escapes unusual names, and says so before the digits.
    output.trim_start_matches('\\').split(' ').next().expect("the digits").to_owned()
}
