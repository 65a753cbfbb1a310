//! The Python objects that belong to a `Pending`, and its exceptions.

use std::task::Waker;

use pyo3::create_exception;
use pyo3::exceptions::{PyBaseException, PyException, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTraceback;

create_exception!(
    callboard,
    PendingCancelled,
    PyException,
    "The pending was cancelled. The text says why, one reason a line, if reasons were given."
);
create_exception!(
    callboard,
    PendingNotDone,
    PyRuntimeError,
    "The pending is not done, so it has no result yet: wait for it first."
);

#[derive(Default)]
pub(super) struct PyState {
    /// The value or exception, once it is done and was not cancelled.
    pub end: Option<End>,
    /// The callbacks to call once it is done, in the order of registration.
    pub callbacks: Vec<Py<PyAny>>,
    /// The callable that carries out a cancellation.
    pub canceller: Option<Py<PyAny>>,
    /// Wakes the Python thread that calls these when an actor completes or cancels it.
    pub home: Option<Waker>,
}

impl PyState {
    /// Visits the Python objects, for the garbage collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.end {
            Some(End::Value(value)) => visit.call(value)?,
            Some(End::Error { exception, traceback }) => {
                visit.call(exception)?;
                visit.call(traceback)?;
            }
            None => {}
        }
        for callback in &self.callbacks {
            visit.call(callback)?;
        }
        visit.call(&self.canceller)
    }
}

/// How a pending ended, in Python's objects.
pub(super) enum End {
    /// With this value.
    Value(Py<PyAny>),
    /// With an exception.
    Error {
        /// The exception.
        exception: Py<PyBaseException>,
        /// Its traceback when it was set: each `raise` adds to that of the exception, and there may be many.
        traceback: Option<Py<PyTraceback>>,
    },
}

impl End {
    pub fn error(py: Python<'_>, error: &PyErr) -> Self {
        Self::Error {
            exception: error.value(py).clone().unbind(),
            traceback: error.traceback(py).map(Bound::unbind),
        }
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone_ref(py)),
            Self::Error { exception, traceback } => Self::Error {
                exception: exception.clone_ref(py),
                traceback: traceback.as_ref().map(|traceback| traceback.clone_ref(py)),
            },
        }
    }
}
