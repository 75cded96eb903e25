//! lockgate between real clients and real servers. See tests/README.md.

mod lifecycle;
mod matrix;
mod protocol;
mod servers_direct;
mod support;
