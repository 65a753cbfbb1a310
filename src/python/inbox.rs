//! The inbox of a Caller, as the event loop of its thread sees it.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Waker;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::caller::{Cancel, PyCallerHandle};
use super::request::Request;
use crate::actors::caller::Task;
use crate::delivery::inbox;
use crate::publisher::capture::Capture;

/// Watch [`Inbox::fileno`] for reading; then [`Inbox::drain`].
#[pyclass(frozen, module = "callboard._core")]
pub struct Inbox {
    inner: Arc<inbox::Inbox<Task>>,
    capture: Option<Arc<Capture>>,
}

impl Inbox {
    pub(super) fn new(inner: Arc<inbox::Inbox<Task>>, capture: Option<Arc<Capture>>) -> Self {
        Self { inner, capture }
    }

    /// A waker for what is registered under `token` with the thread that drains this.
    pub(super) fn waker(&self, token: u64) -> Waker {
        Task::waker(self.inner.clone(), token)
    }

    pub(super) fn inner(&self) -> &Arc<inbox::Inbox<Task>> {
        &self.inner
    }
}

#[pymethods]
impl Inbox {
    /// An inbox for the event loop of a thread that no actor knows.
    #[new]
    fn py_new() -> PyResult<Self> {
        Ok(Self::new(Arc::new(inbox::Inbox::new()?), None))
    }

    /// Puts a token into it. Wakes the thread that drains it.
    fn wake(&self, token: u64) {
        // Nobody is left to be woken once it is closed.
        drop(self.inner.push(Task::Wake(token)));
    }

    /// Readable while there is something to drain.
    fn fileno(&self) -> RawFd {
        self.inner.fd()
    }

    /// Everything that has come in, oldest first: a `Request`; a `CallerHandle`, whose thread is to be started; a
    /// `Cancel`; an integer, the token of what is to be woken; None, which means that the loop is to end.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for work in self.inner.drain() {
            match work {
                Task::Request(request) => {
                    list.append(Py::new(py, Request::new(request, self.capture.clone()))?)?;
                }
                Task::Start(handle) => {
                    list.append(Py::new(py, PyCallerHandle::new(handle, self.capture.clone()))?)?;
                }
                Task::Cancel(id) => list.append(Py::new(py, Cancel { id })?)?,
                Task::Wake(token) => list.append(token)?,
                Task::Stop => list.append(py.None())?,
            }
        }
        Ok(list)
    }

    /// Makes the inbox readable, for what Python has put into a queue of its own.
    fn notify(&self) {
        self.inner.notify();
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }
}
