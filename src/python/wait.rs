//! Blocks a Python thread until a wake fd is notified, with the GIL released. A signal ends the wait on the main thread, an
//! exception that another thread raises there (`threads::set`) on the others.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::os::signals;
use crate::os::wake_fd::WakeFd;

/// The threads that wait, with what ends their waits.
static WAITING: Mutex<Vec<(u64, Arc<WakeFd>)>> = Mutex::new(Vec::new());

fn waiting() -> MutexGuard<'static, Vec<(u64, Arc<WakeFd>)>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the calling thread, that of `threading.get_ident()`.
pub(super) fn ident(_py: Python<'_>) -> u64 {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// Has a thread that waits look for an exception that was raised there.
pub(super) fn wake(ident: u64) {
    for (_, wake_fd) in waiting().iter().filter(|(waits, _)| *waits == ident) {
        wake_fd.notify();
    }
}

/// Waits until `wake_fd` is notified and `ready` returns a value. An exception that a signal handler raises
/// (`KeyboardInterrupt`) ends the wait.
pub(super) fn wait<T>(
    py: Python<'_>,
    wake_fd: &Arc<WakeFd>,
    mut ready: impl FnMut() -> Option<T>,
) -> PyResult<T> {
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
    wake_fd: &Arc<WakeFd>,
    deadline: Option<Instant>,
    mut ready: impl FnMut() -> Option<T>,
) -> PyResult<Option<T>> {
    // SIGINT is blocked except inside the wait: one that came between the check for signals and the wait would be noticed
    // only after the wake fd.
    let mask = signals::hold_sigint()?;
    let me = ident(py);
    waiting().push((me, wake_fd.clone()));
    let mut is_woken = false;
    let result = loop {
        if let Err(interrupted) = py.check_signals() {
            break Err(interrupted);
        }
        if let Some(value) = ready() {
            break Ok(Some(value));
        }
        // Exceptions of other threads are raised where Python code is executed.
        if is_woken && let Err(raised) = py.eval(c"None", None, None) {
            break Err(raised);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break Ok(None);
        }
        match py.detach(|| wake_fd.wait_for(Some(&mask), left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break Err(error.into()),
            Ok(_) => {
                wake_fd.clear();
                is_woken = true;
            }
            Err(_) => {}
        }
    };
    let mut others = waiting();
    if let Some(at) = others.iter().rposition(|(waits, _)| *waits == me) {
        others.remove(at);
    }
    drop(others);
    signals::restore(&mask);
    result
}
