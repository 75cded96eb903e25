#![forbid(unsafe_code)]
pub mod op;
pub mod wire;
pub mod net;
pub mod data;
pub mod auth;
pub mod policy;
pub mod route;
pub mod backend;
pub mod session;
pub mod front;
