//! A guard around the code of one call: exceptions that other threads raise in it hit that code and nothing around it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyTuple};
use pyo3::{ffi, intern};

use super::threads;

/// Runs code that other threads may interrupt with [`AsyncExcGuard::throw`].
///
/// An exception that is set for a thread hits whatever Python code that executes next. So it must be set only while
/// the thread is inside the guard, and taken back when it leaves: both happen in here, where no Python code is
/// executed in between.
#[pyclass(frozen, module = "callboard._core")]
pub struct AsyncExcGuard {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread that executes code inside.
    inside: Option<u64>,
    /// An exception has been set for it.
    thrown: bool,
    /// An exception waits for code to come.
    wanted: Option<Py<PyAny>>,
}

impl AsyncExcGuard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes `code` inside the guard; with an exception (a class) that it gets at once.
    fn run<T>(&self, py: Python<'_>, exception: Option<&Py<PyAny>>, code: impl FnOnce() -> T) -> T {
        // SAFETY: the GIL is held.
        let me = unsafe { ffi::PyThread_get_thread_ident() };
        let mut state = self.lock();
        state.inside = Some(me);
        if let Some(exception) = exception {
            state.thrown = true;
            threads::set(py, me, Some(exception.bind(py)));
        }
        drop(state);
        let result = code();
        let mut state = self.lock();
        state.inside = None;
        if std::mem::take(&mut state.thrown) {
            // It has hit the code by now, or comes too late.
            threads::set(py, me, None);
        }
        drop(state);
        result
    }

    fn wanted(&self) -> Option<Py<PyAny>> {
        self.lock().wanted.take()
    }
}

#[pymethods]
impl AsyncExcGuard {
    #[new]
    fn new() -> Self {
        Self { state: Mutex::default() }
    }

    /// Returns `func(*args, **kwargs)`.
    fn call<'py>(
        &self,
        func: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = func.py();
        if let Some(exception) = self.wanted() {
            return Err(PyErr::from_value(exception.into_bound(py)));
        }
        self.run(py, None, || func.call(args, Some(kwargs)))
    }

    /// An awaitable that runs the coroutine.
    fn wrap(slf: Py<Self>, coroutine: Py<PyAny>) -> GuardedCoroutine {
        GuardedCoroutine { guard: slf, coroutine }
    }

    /// Raises an exception (a class) in the code, unless the thread that executes it is inside of code that is in
    /// `outside` (a set of code objects). A blocking call ends first. If the code is not executed at this moment, it
    /// gets the exception when it is, unless that is taken back. Returns whether it was raised.
    fn throw(
        &self,
        py: Python<'_>,
        exception: &Bound<'_, PyAny>,
        outside: &Bound<'_, PySet>,
    ) -> PyResult<bool> {
        // Released after the lock.
        let mut before = None;
        let mut state = self.lock();
        if let Some(ident) = state.inside {
            drop(state);
            if threads::is_in(py, ident, outside)? {
                return Ok(false);
            }
            state = self.lock();
        }
        // Again: to look at the frames may have taken a collection of garbage.
        let is_inside = match state.inside {
            Some(ident) => {
                state.thrown = true;
                threads::set(py, ident, Some(exception));
                true
            }
            None => {
                before = state.wanted.replace(exception.clone().unbind());
                false
            }
        };
        drop(state);
        drop(before);
        Ok(is_inside)
    }

    /// Takes back an exception that waits for code to be executed.
    fn forget(&self) {
        drop(self.wanted());
    }

    /// Whether a thread executes the code at this moment.
    #[getter]
    fn inside(&self) -> bool {
        self.lock().inside.is_some()
    }
}

/// A coroutine, each step of which runs inside a guard.
#[pyclass(frozen, module = "callboard._core")]
pub struct GuardedCoroutine {
    guard: Py<AsyncExcGuard>,
    coroutine: Py<PyAny>,
}

#[pymethods]
impl GuardedCoroutine {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.send(py, py.None().bind(py))
    }

    fn send<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let mut result = std::ptr::null_mut();
        let step = || {
            // SAFETY: the GIL is held, both objects are alive; the result is a new reference, or null with an
            // exception set.
            unsafe { ffi::PyIter_Send(self.coroutine.as_ptr(), value.as_ptr(), &raw mut result) }
        };
        let guard = self.guard.get();
        let wanted = guard.wanted();
        let how = guard.run(py, wanted.as_ref(), step);
        // SAFETY: as above.
        let result = unsafe { Bound::from_owned_ptr_or_err(py, result) }?;
        if how == ffi::PySendResult::PYGEN_RETURN {
            return Err(PyStopIteration::new_err((result.unbind(),)));
        }
        Ok(result)
    }

    #[pyo3(signature = (*exception))]
    fn throw<'py>(&self, py: Python<'py>, exception: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let (guard, coroutine) = (self.guard.get(), self.coroutine.bind(py));
        drop(guard.wanted());
        guard.run(py, None, || coroutine.call_method1(intern!(py, "throw"), exception))
    }

    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (guard, coroutine) = (self.guard.get(), self.coroutine.bind(py));
        drop(guard.wanted());
        guard.run(py, None, || coroutine.call_method0(intern!(py, "close")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.guard)?;
        visit.call(&self.coroutine)
    }
}
