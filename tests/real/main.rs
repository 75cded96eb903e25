//! lockgate between real clients and real servers. See tests/README.md.

mod backend;
mod compatibility;
mod demo;
mod firewall;
mod lifecycle;
mod log;
mod matrix;
mod memory;
mod protocol;
mod servers_direct;
mod support;
mod volume;
