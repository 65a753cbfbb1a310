//! From the command line to a kernel that answers.

pub mod boot;
pub mod connection;
pub mod registration;
pub mod settings;
