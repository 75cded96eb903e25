//! The doors: what clients speak.

pub mod ftp;
pub mod sftp;
