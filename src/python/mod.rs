//! The only place that knows `pyo3`: what the Python package `callboard` sees of the kernel, as the
//! extension module `callboard._core`.
//!
//! Python threads call in; nothing here is ever called by a thread that serves a socket, a queue or a
//! timer. Small things are done with the GIL held, because taking it back can cost a switch interval (5 ms)
//! while another thread computes; whatever is large or may wait is done with the GIL released.

mod async_exc_guard;
mod buffer;
mod caller;
pub mod embed;
mod inbox;
mod kernel;
mod parent;
pub mod pending;
mod request;
mod stream;
mod threads;

use std::io;
use std::time::Instant;

use pyo3::prelude::*;

use crate::os::signals;
use crate::os::wake_fd::WakeFd;
use crate::wire::Frame;

/// The extension module.
#[pymodule]
pub mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::async_exc_guard::{AsyncExcGuard, GuardedCoroutine};
    #[pymodule_export]
    use super::buffer::Buffer;
    #[pymodule_export]
    use super::caller::{Cancel, PyCallerHandle, thread_options};
    #[pymodule_export]
    use super::inbox::Inbox;
    #[pymodule_export]
    use super::kernel::{
        Kernel, block_sigint, end_group, interrupt_again, prepare_for_crash, sigint_noticed, start,
        watch_sigint,
    };
    #[pymodule_export]
    use super::parent::Parent;
    #[pymodule_export]
    use super::pending::{Pending, PendingCancelled, PendingNotDone};
    #[pymodule_export]
    use super::request::Request;
    #[pymodule_export]
    use super::stream::{Stream, after_fork_in_child};
    #[pymodule_export]
    use super::threads::{raise_in_thread, start_thread};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("has_curve", crate::transport::curve::available())?;
        module.add("current_parent", super::parent::variable(module.py())?)
    }
}

/// Waits, with the GIL released, until `wake_fd` rings and `ready` has something. An exception that a signal
/// handler raises (`KeyboardInterrupt`) ends the wait.
fn wait<T>(py: Python<'_>, wake_fd: &WakeFd, mut ready: impl FnMut() -> Option<T>) -> PyResult<T> {
    loop {
        // Without a deadline it ends only with a value.
        if let Some(value) = wait_until(py, wake_fd, None, &mut ready)? {
            return Ok(value);
        }
    }
}

/// As [`wait`], but only until `deadline`; None if that has passed.
fn wait_until<T>(
    py: Python<'_>,
    wake_fd: &WakeFd,
    deadline: Option<Instant>,
    mut ready: impl FnMut() -> Option<T>,
) -> PyResult<Option<T>> {
    // SIGINT is held back except inside the wait: one that came between the check for signals and the wait
    // would be noticed only after the wake fd.
    let mask = signals::hold_sigint()?;
    let result = loop {
        if let Err(interrupted) = py.check_signals() {
            break Err(interrupted);
        }
        if let Some(value) = ready() {
            break Ok(Some(value));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break Ok(None);
        }
        match py.detach(|| wake_fd.wait_for(Some(&mask), left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break Err(error.into()),
            Ok(_) => wake_fd.clear(),
            Err(_) => {}
        }
    };
    signals::restore(&mask);
    result
}

/// Turns Python buffers into frames. Copies each once: libzmq frees them on a thread that may not take the GIL, so
/// Python's own memory cannot be lent to it.
fn to_frames(buffers: Option<Vec<pyo3::buffer::PyBuffer<u8>>>, py: Python<'_>) -> PyResult<Vec<Frame>> {
    buffers.unwrap_or_default().iter().map(|buffer| Ok(Frame::from(buffer.to_vec(py)?))).collect()
}
