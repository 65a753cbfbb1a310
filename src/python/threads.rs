//! Exceptions for other threads.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet};
use pyo3::{ffi, intern};

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
    // SAFETY: the GIL is held; the exception is a class, of which the function takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident.cast_signed(), exception.as_ptr()) };
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
