//! Login hooks (`authenticate: http`) with real clients: the documented example, the sample, and hooks that do
//! not decide.

mod broken;
mod example;
mod server;

use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
