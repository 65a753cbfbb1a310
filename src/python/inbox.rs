//! The inbox of a Caller, as the event loop of its thread sees it.

use std::os::fd::RawFd;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::request::Request;
use crate::actors::caller::Work;
use crate::inbox;
use crate::os::capture::Capture;

/// Watch [`Inbox::fileno`] for reading; then [`Inbox::drain`].
#[pyclass(frozen, module = "callboard._core")]
pub struct Inbox {
    inner: Arc<inbox::Inbox<Work>>,
    capture: Option<Arc<Capture>>,
}

impl Inbox {
    pub(super) fn new(inner: Arc<inbox::Inbox<Work>>, capture: Option<Arc<Capture>>) -> Self {
        Self { inner, capture }
    }
}

#[pymethods]
impl Inbox {
    /// Readable while there is something to drain.
    fn fileno(&self) -> RawFd {
        self.inner.fd()
    }

    /// Everything that has come in, oldest first: requests, and None, which means that the loop is to
    /// end.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for work in self.inner.drain() {
            match work {
                Work::Request(request) => {
                    list.append(Py::new(py, Request::new(request, self.capture.clone()))?)?;
                }
                Work::Stop => list.append(py.None())?,
            }
        }
        Ok(list)
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }
}
