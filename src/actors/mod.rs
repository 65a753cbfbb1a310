//! The actors. `actors.md` at the top of the repository is their reference.

pub mod caller;
pub mod comms;
mod dropped;
pub mod heartbeat;
pub mod iopub;
pub mod lifecycle;
pub mod pool;
mod pump;
pub mod router;
pub mod socket;
pub mod stdin;
pub mod subshell;
