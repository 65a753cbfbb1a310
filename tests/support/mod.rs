//! A kernel on fake sockets, with a frontend that speaks to it and a stand-in for Python.
#![allow(dead_code, unused_imports)] // every test file uses its own part of this

mod bare;
mod expecting;
mod kernel;
mod line;
mod python;
mod sending;
mod waiting;

use std::time::Duration;

pub use bare::{Bare, HOLD};
pub use kernel::{Act, Recorder, TestKernel, options};
pub use line::{ABORTED, FAILED, Line, RAN, Sent, read, signed};
pub use python::{Held, KEPT, Python, Started, block_on};
pub use sending::cell;
pub use waiting::{Log, awaited, end_thread, get_child, is_stopped, next_work, within_patience};

/// How long a test waits at most.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The key that both sides sign with.
pub const KEY: &[u8] = b"secret";

/// The deadline that the kernel is given for a shutdown.
pub const DEADLINE: Duration = Duration::from_secs(7);

/// The client of messages for which a test names none.
pub const ALICE: &str = "alice";
