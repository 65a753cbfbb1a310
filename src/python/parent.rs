//! The request that code runs for, in a `ContextVar`, so that output of tasks, callbacks and threads finds its cell.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};
use pyo3::{ffi, intern};

use crate::delivery::request;
use crate::wire::{self, EMPTY_OBJECT};

/// A request, for the code that runs for it. Small: a background task that outlives its cell keeps no buffers alive.
#[pyclass(frozen, module = "callboard._core")]
pub struct Parent {
    pub(super) inner: Arc<wire::Parent>,
    metadata: Vec<u8>,
    /// The content of an `execute_request`; `{}` for others.
    content: Vec<u8>,
    /// Whether the client answers prompts.
    #[pyo3(get)]
    allow_stdin: bool,
    /// For a thread that may serve later requests: output belongs to this one only until it ends.
    only_until_end: bool,
    /// The metadata as a dict, once it was asked for.
    read_metadata: PyOnceLock<Py<PyAny>>,
    /// The message as a dict, once it was asked for.
    message: PyOnceLock<Py<PyDict>>,
}

impl Parent {
    pub(super) fn of(request: &request::Request) -> Self {
        let execute = request.execute.as_ref();
        Self {
            inner: request.job.parent.clone(),
            metadata: request.job.metadata.to_vec(),
            content: execute.map_or_else(|| b"{}".to_vec(), |_| request.job.content.to_vec()),
            allow_stdin: execute.is_some_and(|execute| execute.allow_stdin),
            only_until_end: false,
            read_metadata: PyOnceLock::new(),
            message: PyOnceLock::new(),
        }
    }
}

#[pymethods]
impl Parent {
    /// Makes a parent of a message's header and metadata (JSON), for `set_parent`. Its prompts go to the client of `like`, if
    /// given.
    #[new]
    #[pyo3(signature = (header, metadata, like=None))]
    fn new(header: &[u8], metadata: &[u8], like: Option<&Self>) -> PyResult<Self> {
        let read: crate::wire::Header = serde_json::from_slice(header)
            .map_err(|problem| pyo3::exceptions::PyValueError::new_err(format!("not a header: {problem}")))?;
        Ok(Self {
            inner: Arc::new(wire::Parent {
                raw_header: header.to_vec(),
                msg_id: read.msg_id,
                idents: like.map(|like| like.inner.idents.clone()).unwrap_or_default(),
                ..wire::Parent::default()
            }),
            only_until_end: false,
            metadata: metadata.to_vec(),
            content: b"{}".to_vec(),
            allow_stdin: like.is_some_and(|like| like.allow_stdin),
            read_metadata: PyOnceLock::new(),
            message: PyOnceLock::new(),
        })
    }

    /// The same request for a thread that may serve later ones: what it prints belongs to this request only until that
    /// ends, and then to the cell that runs.
    fn until_end(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            metadata: self.metadata.clone(),
            content: self.content.clone(),
            allow_stdin: self.allow_stdin,
            only_until_end: true,
            read_metadata: PyOnceLock::new(),
            message: PyOnceLock::new(),
        }
    }

    /// Whether output of the code that has this parent belongs to it no longer.
    #[getter]
    fn is_over(&self) -> bool {
        self.only_until_end && self.inner.has_ended.load(Ordering::Acquire)
    }

    /// The id of the request.
    #[getter]
    fn msg_id(&self) -> &str {
        &self.inner.msg_id
    }

    /// The identities of the client that sent it.
    #[getter]
    fn idents<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.inner.idents.iter().map(|ident| PyBytes::new(py, ident)).collect()
    }

    /// The metadata of the request. The same dict every time.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let read = self.read_metadata.get_or_try_init(py, || {
            // Most clients send an empty object: no parser is needed.
            let read = if self.metadata == EMPTY_OBJECT {
                PyDict::new(py).into_any()
            } else {
                load(py, &self.metadata)?
            };
            Ok::<_, PyErr>(read.unbind())
        })?;
        Ok(read.bind(py))
    }

    /// The request as a message dict: header, metadata, content (of an `execute_request`), `msg_id` and
    /// `msg_type`. The same dict every time.
    #[getter]
    fn message<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyDict>> {
        let made = self.message.get_or_try_init(py, || -> PyResult<_> {
            let message = PyDict::new(py);
            let header = load(py, &self.inner.raw_header)?;
            for key in ["msg_id", "msg_type"] {
                message.set_item(key, header.call_method1("get", (key,))?)?;
            }
            message.set_item("header", header)?;
            message.set_item("parent_header", PyDict::new(py))?;
            message.set_item("metadata", self.metadata(py)?)?;
            message.set_item("content", load(py, &self.content)?)?;
            message.set_item("buffers", pyo3::types::PyList::empty(py))?;
            Ok(message.unbind())
        })?;
        Ok(made.bind(py))
    }

    fn __repr__(&self) -> String {
        format!("<Parent {}>", self.inner.msg_id)
    }
}

/// The request with this header (JSON), for messages that it causes.
pub(super) fn of_header(raw_header: Vec<u8>) -> Arc<wire::Parent> {
    let msg_id = serde_json::from_slice::<crate::wire::Header>(&raw_header).map(|header| header.msg_id);
    Arc::new(wire::Parent { raw_header, msg_id: msg_id.unwrap_or_default(), ..wire::Parent::default() })
}

/// Parses JSON into Python objects.
fn load<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    py.import(intern!(py, "json"))?.getattr(intern!(py, "loads"))?.call1((PyBytes::new(py, raw),))
}

static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The ContextVar that holds the current [`Parent`].
pub(super) fn variable(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let variable = VARIABLE.get_or_try_init(py, || {
        // SAFETY: a valid name, no default; returns a new reference or null with an exception set.
        unsafe {
            let variable = ffi::PyContextVar_New(c"callboard_parent".as_ptr(), ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, variable).map(Bound::unbind)
        }
    })?;
    Ok(variable.clone_ref(py))
}

/// The request that the calling code runs for, if its context knows one.
pub(super) fn current(py: Python<'_>) -> Option<Arc<wire::Parent>> {
    let variable = VARIABLE.get(py)?;
    let mut value = ptr::null_mut();
    // SAFETY: `variable` is a ContextVar; `value` is set to a new reference or null.
    let found = unsafe {
        if ffi::PyContextVar_Get(variable.as_ptr(), ptr::null_mut(), &raw mut value) < 0 {
            drop(PyErr::take(py));
            return None;
        }
        Bound::from_owned_ptr_or_opt(py, value)?
    };
    let parent = found.cast::<Parent>().ok()?.get();
    (!parent.is_over()).then(|| parent.inner.clone())
}
