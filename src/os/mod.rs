//! The operating system: signals, processes, memory, files. Nothing here knows Python.

pub mod crash;
pub mod files;
pub mod limits;
#[cfg(target_os = "linux")]
pub mod memory;
pub mod panic;
pub mod parent;
pub mod paths;
pub mod process;
pub mod process_group;
mod procfs;
pub mod sigint;
pub mod signals;
pub mod terminal;
pub mod usage;
pub mod wake_fd;
