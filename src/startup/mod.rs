//! From the command line to a kernel that answers.

pub mod boot;
pub mod connection;
pub mod handshake;
pub mod launch_file;
pub mod registration;
pub mod settings;
