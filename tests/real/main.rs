//! lockgate between real clients and real servers. See tests/README.md.
#![allow(unreachable_pub, reason = "a program has no users")]
#![allow(clippy::disallowed_methods, reason = "tests have no session")]
#![allow(
    clippy::unnecessary_debug_formatting,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::large_stack_arrays,
    clippy::too_many_lines,
    clippy::unnecessary_wraps,
    reason = "tests write configurations and scripts"
)]

mod admin;
mod audit;
mod backend;
mod compatibility;
mod demo;
mod doctor;
mod expected_files;
mod fail2ban;
mod firewall;
mod lifecycle;
mod limits;
mod log;
mod login_hook;
mod matrix;
mod memory;
mod metrics;
mod policy;
mod protocol;
mod reload;
mod servers_direct;
mod ssh_certificates;
mod support;
mod take_over;
mod volume;
