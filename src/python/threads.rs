//! Raises exceptions in other threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFrame, PyFrameMethods, PySet};

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
/// The thread cannot run between the look at its stack and the setting of the exception. Without the GIL it can: an
/// exception that comes too late is taken back. The exception is raised as soon as the thread executes Python code again:
/// a blocking call ends first.
#[pyfunction]
pub fn raise_in_thread(
    py: Python<'_>,
    ident: u64,
    exception: &Bound<'_, PyAny>,
    inside: &Bound<'_, PySet>,
    outside: &Bound<'_, PySet>,
) -> PyResult<bool> {
    let may_raise =
        || look(py, ident, inside, outside).map(|(is_inside, is_outside)| is_inside && !is_outside);
    if !may_raise()? {
        return Ok(false);
    }
    set(py, ident, Some(exception));
    if cfg!(Py_GIL_DISABLED) && !may_raise()? {
        set(py, ident, None);
        return Ok(false);
    }
    Ok(true)
}

/// Says that a Caller runs in the calling thread, whose calls can be interrupted. Returns the number of the thread.
#[pyfunction]
pub fn enter_thread(py: Python<'_>) -> u64 {
    let me = ident(py);
    #[cfg(Py_GIL_DISABLED)]
    free_threaded::remember_state(py, me);
    me
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
    let (mut in_one, mut in_other) = (false, false);
    for frame in stack(py, ident)? {
        let code = frame.code();
        in_one |= one.contains(&code)?;
        in_other |= other.contains(&code)?;
    }
    Ok((in_one, in_other))
}

/// The frames of a thread, the innermost first.
fn frames_from(innermost: Option<Bound<'_, PyFrame>>) -> Vec<Bound<'_, PyFrame>> {
    std::iter::successors(innermost, PyFrameMethods::outer).collect()
}

/// The stack of a thread, which cannot run meanwhile.
#[cfg(not(Py_GIL_DISABLED))]
fn stack(py: Python<'_>, ident: u64) -> PyResult<Vec<Bound<'_, PyFrame>>> {
    use pyo3::intern;
    use pyo3::types::PyDict;

    let innermost = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?;
    let innermost = innermost.cast::<PyDict>()?.get_item(ident)?;
    Ok(frames_from(innermost.map(Bound::cast_into).transpose()?))
}

#[cfg(Py_GIL_DISABLED)]
use free_threaded::stack;

/// Without the GIL, the frames of a thread may be read only while it is stopped.
#[cfg(Py_GIL_DISABLED)]
mod free_threaded {
    use std::collections::HashMap;
    use std::ffi::{c_int, c_void};
    use std::sync::{Mutex, PoisonError};

    use pyo3::ffi;
    use pyo3::prelude::*;
    use pyo3::types::PyFrame;

    use super::frames_from;

    unsafe extern "C" {
        /// Calls `callback` for objects until it returns 0. All other threads are stopped meanwhile.
        fn PyUnstable_GC_VisitObjects(
            callback: unsafe extern "C" fn(*mut ffi::PyObject, *mut c_void) -> c_int,
            arg: *mut c_void,
        );
    }

    /// The thread states of the threads that have a Caller, by the numbers of the threads.
    static STATES: Mutex<Option<HashMap<u64, i64>>> = Mutex::new(None);

    pub(super) fn remember_state(_py: Python<'_>, ident: u64) {
        // SAFETY: this thread is attached.
        let state = unsafe { ffi::PyThreadState_GetID(ffi::PyThreadState_Get()) };
        STATES.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(ident, state);
    }

    struct Reading<'py> {
        py: Python<'py>,
        state: i64,
        frames: Vec<Bound<'py, PyFrame>>,
    }

    /// The stack of a thread that has a Caller, as it is at one moment. It may have changed when this returns.
    #[expect(clippy::unnecessary_wraps, reason = "with the GIL it may fail")]
    pub(super) fn stack(py: Python<'_>, ident: u64) -> PyResult<Vec<Bound<'_, PyFrame>>> {
        let states = STATES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = states.as_ref().and_then(|states| states.get(&ident)).copied() else {
            return Ok(Vec::new());
        };
        drop(states);
        let mut reading = Reading { py, state, frames: Vec::new() };
        // SAFETY: this thread is attached, and nothing else refers to `reading` until the function returns.
        unsafe { PyUnstable_GC_VisitObjects(read, (&raw mut reading).cast()) };
        Ok(reading.frames)
    }

    unsafe extern "C" fn read(_object: *mut ffi::PyObject, reading: *mut c_void) -> c_int {
        // SAFETY: as `stack` says. Thread states come and go while their threads are attached, and those stand still.
        unsafe {
            let reading = &mut *reading.cast::<Reading<'_>>();
            let mut state = ffi::PyInterpreterState_ThreadHead(ffi::PyThreadState_GetInterpreter(
                ffi::PyThreadState_Get(),
            ));
            while !state.is_null() && ffi::PyThreadState_GetID(state) != reading.state {
                state = ffi::PyThreadState_Next(state);
            }
            if !state.is_null() {
                let innermost = ffi::PyThreadState_GetFrame(state).cast();
                let innermost = Bound::from_owned_ptr_or_opt(reading.py, innermost);
                reading.frames = frames_from(innermost.map(|frame| frame.cast_into_unchecked()));
            }
        }
        // The objects themselves are not needed.
        0
    }
}
