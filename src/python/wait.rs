//! Blocks a Python thread until a wake fd is notified, with the GIL released. A signal ends the wait.

use std::io;
use std::time::Instant;

use pyo3::prelude::*;

use crate::os::signals;
use crate::os::wake_fd::WakeFd;

/// Waits until `wake_fd` is notified and `ready` returns a value. An exception that a signal handler raises
/// (`KeyboardInterrupt`) ends the wait.
pub(super) fn wait<T>(py: Python<'_>, wake_fd: &WakeFd, mut ready: impl FnMut() -> Option<T>) -> PyResult<T> {
    loop {
        // Without a deadline it ends only with a value.
        if let Some(value) = wait_until(py, wake_fd, None, &mut ready)? {
            return Ok(value);
        }
    }
}

/// As [`wait`], until `deadline` at the latest. None if that has passed.
pub(super) fn wait_until<T>(
    py: Python<'_>,
    wake_fd: &WakeFd,
    deadline: Option<Instant>,
    mut ready: impl FnMut() -> Option<T>,
) -> PyResult<Option<T>> {
    // SIGINT is blocked except inside the wait: one that came between the check for signals and the wait would be noticed
    // only after the wake fd.
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
