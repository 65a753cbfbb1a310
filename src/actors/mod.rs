//! The actors. `actors.md` at the top of the repository is their reference.

pub mod caller;
pub mod claims;
pub mod comms;
pub mod debugger;
mod drop_log;
pub mod heartbeat;
pub mod iopub;
pub mod lifecycle;
mod pump;
pub mod router;
pub mod signal;
pub mod socket;
pub mod stdin;
pub mod subshell;
pub mod subshells;
