//! Exceptions for other threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet};
use pyo3::{ffi, intern};

/// The threads that start another one at this moment, each with the exception that it gets when it has done so.
///
/// Until CPython 3.12, a thread that is being started has the number of the one that starts it, and is found first. It
/// would get the exception, end before it has begun, and `Thread.start` would wait for it for ever.
static STARTING: Mutex<Option<HashMap<u64, Option<Py<PyAny>>>>> = Mutex::new(None);

fn starting() -> MutexGuard<'static, Option<HashMap<u64, Option<Py<PyAny>>>>> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `start(thread)`, which starts a thread. An exception that is raised meanwhile in the calling thread
/// (`raise_in_thread`, `AsyncExcGuard.throw`) is raised here when that is done.
#[pyfunction]
pub fn start_thread<'py>(
    start: &Bound<'py, PyAny>,
    thread: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the GIL is held.
    let me = unsafe { ffi::PyThread_get_thread_ident() };
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

/// Sets an exception (a class; None takes back one that has not been raised yet) for a thread. It gets it as soon as it
/// executes Python code again: a blocking call ends first.
pub(super) fn set(_py: Python<'_>, ident: u64, exception: Option<&Bound<'_, PyAny>>) {
    let mut starting = starting();
    if let Some(postponed) = starting.as_mut().and_then(|threads| threads.get_mut(&ident)) {
        let before = std::mem::replace(postponed, exception.map(|exception| exception.clone().unbind()));
        drop(starting);
        drop(before);
        return;
    }
    drop(starting);
    let exception = exception.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the GIL is held; the function takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident.cast_signed(), exception) };
}

/// Raises an exception (a class) in the Python code that another thread executes, if that thread is inside code that is in
/// `inside` and not inside code that is in `outside` (sets of code objects). Returns whether it was.
///
/// What it is in is looked at, and the exception set, without a moment in between in which the thread could go on. It
/// gets the exception as soon as it executes Python code again: a blocking call ends first.
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

/// Whether a thread is inside of code that is in `codes`.
pub(super) fn is_in(py: Python<'_>, ident: u64, codes: &Bound<'_, PySet>) -> PyResult<bool> {
    look(py, ident, codes, codes).map(|(is_in, _)| is_in)
}

/// Whether a thread is inside of code that is in the one set, and in the other. The GIL is held all the time.
fn look(
    py: Python<'_>,
    ident: u64,
    one: &Bound<'_, PySet>,
    other: &Bound<'_, PySet>,
) -> PyResult<(bool, bool)> {
    let frames = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?;
    let (mut in_one, mut in_other) = (false, false);
    let mut next = frames.cast::<PyDict>()?.get_item(ident)?;
    while let Some(frame) = next {
        let at: *mut ffi::PyFrameObject = frame.as_ptr().cast();
        // SAFETY: `at` is a frame object, kept alive by `frame`; both functions return new references, the second one
        // or null.
        let (code, back) = unsafe {
            let code = Bound::from_owned_ptr_or_err(py, ffi::PyFrame_GetCode(at).cast())?;
            (code, Bound::from_owned_ptr_or_opt(py, ffi::PyFrame_GetBack(at).cast()))
        };
        in_one |= one.contains(&code)?;
        in_other |= other.contains(&code)?;
        next = back;
    }
    Ok((in_one, in_other))
}
