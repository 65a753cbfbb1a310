//! A guard around the code of one call: exceptions that other threads raise are raised in that code and nowhere else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyDict, PyIterator, PySet, PyTuple};

use super::threads;
use super::wait::ident;

/// Runs code that other threads may interrupt with [`AsyncExcGuard::throw`].
///
/// An exception that is set for a thread is raised in the Python code that it executes next, whatever that is. So it must
/// be set only while the thread is inside the guard, and taken back when the thread leaves. Both happen here, with no
/// Python code executed in between.
#[pyclass(frozen, module = "callboard._core")]
pub struct AsyncExcGuard {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread that executes the code.
    inside: Option<u64>,
    /// An exception has been set for it.
    thrown: bool,
    /// An exception to be raised when the code is executed next.
    wanted: Option<Py<PyAny>>,
}

impl AsyncExcGuard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes `code` inside the guard. `exception` (a class) is raised in it at once.
    fn run<T>(&self, py: Python<'_>, exception: Option<&Py<PyAny>>, code: impl FnOnce() -> T) -> T {
        let me = ident(py);
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
            // If it has not been raised by now, it is too late.
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

    /// Returns an awaitable that runs the coroutine inside the guard.
    fn wrap(slf: Py<Self>, coroutine: Py<PyAny>) -> GuardedCoroutine {
        GuardedCoroutine { guard: slf, coroutine }
    }

    /// Raises an exception (a class) in the code, unless code in `outside` (a set of code objects) is on the stack of the
    /// thread. A blocking call ends first. If the code is not being executed, the exception is raised when it is, unless
    /// it is taken back by `forget`. Returns whether it was raised.
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
        // Checked again: a garbage collection while the frames were read may have run other code.
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

    /// Takes back an exception that waits for the code to be executed.
    fn forget(&self) {
        drop(self.wanted());
    }

    /// Whether a thread is executing the code.
    #[getter]
    fn inside(&self) -> bool {
        self.lock().inside.is_some()
    }
}

/// A coroutine that runs each of its steps inside a guard.
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
        // SAFETY: only its `send` is used, which calls `PyIter_Send`: that takes any object.
        let coroutine = unsafe { self.coroutine.bind(py).cast_unchecked::<PyIterator>() };
        let guard = self.guard.get();
        let wanted = guard.wanted();
        match guard.run(py, wanted.as_ref(), || coroutine.send(value))? {
            PySendResult::Next(result) => Ok(result),
            PySendResult::Return(result) => Err(PyStopIteration::new_err((result.unbind(),))),
        }
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
