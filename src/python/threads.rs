//! Raises exceptions in other threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrame, PyFrameMethods, PySet};
use pyo3::{ffi, intern};

use super::wait::{ident, wake};

/// The threads that are starting another one, each with the exception that is raised in it when that is done.
///
/// Until CPython 3.12, a thread that is being started has the number of the thread that starts it, and is found first. It
/// would get the exception and end before it has begun, and `Thread.start` would never return.
static STARTING: Mutex<Option<HashMap<u64, Option<Py<PyAny>>>>> = Mutex::new(None);

fn starting() -> MutexGuard<'static, Option<HashMap<u64, Option<Py<PyAny>>>>> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `start(thread)`, which starts a thread. An exception that is raised meanwhile in the calling thread
/// (`raise_in_thread`, `AsyncExcGuard.throw`) is raised here afterwards.
#[pyfunction]
pub fn start_thread<'py>(
    start: &Bound<'py, PyAny>,
    thread: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let me = ident(start.py());
    let around = starting().get_or_insert_default().insert(me, None);
    let result = start.call1((thread,));
    let mut starting = starting();
    let threads = starting.get_or_insert_default();
    let exception = threads.remove(&me).flatten();
    if let Some(around) = around {
        threads.insert(me, around);
    }
    drop(starting);
    match exception {
        Some(exception) => Err(PyErr::from_value(exception.into_bound(start.py()))),
        None => result,
    }
}

/// Sets an exception (a class; None takes back one that has not been raised yet) for a thread. It is raised as soon as the
/// thread executes Python code again: a blocking call ends first, unless it is one of the kernel's own waits.
pub(super) fn set(_py: Python<'_>, ident: u64, exception: Option<&Bound<'_, PyAny>>) {
    let mut starting = starting();
    if let Some(postponed) = starting.as_mut().and_then(|threads| threads.get_mut(&ident)) {
        let before = std::mem::replace(postponed, exception.map(|exception| exception.clone().unbind()));
        drop(starting);
        drop(before);
        return;
    }
    drop(starting);
    let raised = exception.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the GIL is held; the function takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident.cast_signed(), raised) };
    if exception.is_some() {
        wake(ident);
    }
}

/// Raises an exception (a class) in another thread, if code in `inside` and no code in `outside` (sets of code objects) is
/// on its stack. Returns whether it was raised.
///
/// The thread cannot run between the look at its stack and the setting of the exception. The exception is raised as soon
/// as the thread executes Python code again: a blocking call ends first.
#[pyfunction]
pub fn raise_in_thread(
    py: Python<'_>,
    ident: u64,
    exception: &Bound<'_, PyAny>,
    inside: &Bound<'_, PySet>,
    outside: &Bound<'_, PySet>,
) -> PyResult<bool> {
    let (is_inside, is_outside) = look(py, ident, inside, outside)?;
    if is_outside || !is_inside {
        return Ok(false);
    }
    set(py, ident, Some(exception));
    Ok(true)
}

/// Whether code in `codes` is on the stack of a thread.
pub(super) fn is_in(py: Python<'_>, ident: u64, codes: &Bound<'_, PySet>) -> PyResult<bool> {
    look(py, ident, codes, codes).map(|(is_in, _)| is_in)
}

/// Whether code in the one set, and in the other, is on the stack of a thread. Holds the GIL all the time.
fn look(
    py: Python<'_>,
    ident: u64,
    one: &Bound<'_, PySet>,
    other: &Bound<'_, PySet>,
) -> PyResult<(bool, bool)> {
    let frames = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?;
    let (mut in_one, mut in_other) = (false, false);
    let mut next = frames.cast::<PyDict>()?.get_item(ident)?.map(Bound::cast_into::<PyFrame>).transpose()?;
    while let Some(frame) = next {
        let code = frame.code();
        in_one |= one.contains(&code)?;
        in_other |= other.contains(&code)?;
        next = frame.outer();
    }
    Ok((in_one, in_other))
}
