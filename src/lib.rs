#![forbid(unsafe_code)]
pub mod auth;
pub mod backend;
pub mod config;
pub mod data;
pub mod front;
pub mod net;
pub mod op;
pub mod policy;
pub mod route;
pub mod session;
pub mod wire;
