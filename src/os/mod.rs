//! What the kernel asks of the operating system. Nothing here knows Python.

pub mod crash;
pub mod fd;
pub mod files;
pub mod limits;
#[cfg(target_os = "linux")]
pub mod memory;
pub mod panic;
pub mod parent;
pub mod paths;
pub mod process;
pub mod process_group;
pub mod sigint;
pub mod signals;
pub mod terminal;
pub mod usage;
pub mod wake_fd;
