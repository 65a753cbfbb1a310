//! From the command line to a kernel that answers.

pub mod boot;
pub mod connection;
pub mod handshake;
pub mod settings;
