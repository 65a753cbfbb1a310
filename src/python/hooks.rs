//! Python functions that Rust calls. `callboard.aio.wakeups` registers them when it is imported.

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::caller::Inbox;
use crate::actors::caller::Task;
use crate::delivery::pending::Waiters;

struct Hooks {
    adopt: Py<PyAny>,
    of_current_task: Py<PyAny>,
    callback_failed: Py<PyAny>,
}

static HOOKS: PyOnceLock<Hooks> = PyOnceLock::new();

/// Registers the functions that a `Pending` needs of its event loop. Those of the first call count.
///
/// `adopt(pending)` finds a thread for the callbacks of a pending that an actor completes; `of_current_task()` returns the
/// `Wakeups` of the event loop whose task runs the calling code, or None; `callback_failed(callback, pending, error)` logs
/// the exception of a callback.
#[pyfunction]
pub fn set_wakeup_hooks(
    py: Python<'_>,
    adopt: Py<PyAny>,
    of_current_task: Py<PyAny>,
    callback_failed: Py<PyAny>,
) {
    HOOKS.get_or_init(py, || Hooks { adopt, of_current_task, callback_failed });
}

/// Finds a Python thread for the callbacks and the canceller of a pending that an actor is going to complete.
pub(super) fn adopt(pending: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = pending.py();
    let hooks = HOOKS.get(py).ok_or_else(|| {
        PyRuntimeError::new_err(
            "no thread is known that can run the callbacks: import callboard.aio.wakeups first",
        )
    })?;
    hooks.adopt.call1(py, (pending,)).map(drop)
}

/// Wakes the waiters of a pending. Tasks of the event loop that the calling task belongs to are scheduled at
/// once: to notify the loop's wake fd costs several times as much.
pub(super) fn wake(py: Python<'_>, mut waiters: Waiters) -> PyResult<()> {
    let Some(hooks) = HOOKS.get(py).filter(|_| waiters.have_tokens()) else {
        return Ok(());
    };
    let wakeups = hooks.of_current_task.bind(py).call0()?;
    if wakeups.is_none() {
        return Ok(());
    }
    let inbox = wakeups.getattr(intern!(py, "inbox"))?;
    let inbox = inbox.cast::<Inbox>()?.get().inner();
    let tokens = waiters.take_tokens(inbox);
    drop(waiters);
    let mut result = Ok(());
    for token in tokens {
        if let Err(error) = wakeups.call_method1(intern!(py, "fire"), (token,)) {
            // It may have been interrupted before it began.
            drop(inbox.push(Task::Wake(token)));
            result = Err(error);
        }
    }
    result
}

/// Calls the callbacks of a pending, all of them even if one raises. An `Exception` is logged; the last of other
/// exceptions, such as `KeyboardInterrupt`, is raised at the end.
pub(super) fn call_all(pending: &Bound<'_, PyAny>, callbacks: Vec<Py<PyAny>>) -> PyResult<()> {
    let py = pending.py();
    let mut result = Ok(());
    for callback in callbacks {
        let Err(error) = callback.call1(py, (pending,)) else {
            continue;
        };
        if !error.is_instance_of::<PyException>(py) {
            result = Err(error);
            continue;
        }
        let logged = HOOKS.get(py).map_or(Ok(()), |hooks| {
            hooks.callback_failed.call1(py, (&callback, pending, error.value(py))).map(drop)
        });
        if let Err(error) = logged {
            error.write_unraisable(py, Some(callback.bind(py)));
        }
    }
    result
}
