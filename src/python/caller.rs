//! The actor of a Caller and its inbox, for the Python thread that runs the Caller.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::request::Request;
use super::shared_capture::SharedCapture;
use crate::actors::caller::{self, Caller, Forget, GetChild, Role, Spec, Stop, Task, ThreadEnded};
use crate::delivery;
use crate::wire::run_mode::{Backend, CallerOptions};

/// A handle to the actor of a Caller.
#[pyclass(frozen, name = "CallerHandle", module = "callboard._core")]
pub struct PyCallerHandle {
    inner: caller::CallerHandle,
    capture: SharedCapture,
}

/// A request to cancel the call that the Caller with this id runs.
#[pyclass(frozen, get_all, module = "callboard._core")]
pub struct Cancel {
    pub(super) id: u64,
}

impl PyCallerHandle {
    pub(super) fn new(inner: caller::CallerHandle, capture: SharedCapture) -> Self {
        Self { inner, capture }
    }
}

#[pymethods]
impl PyCallerHandle {
    /// Starts the actor of a Caller without a parent, for a thread of Python's.
    #[staticmethod]
    #[pyo3(signature = (name, backend, use_uvloop=None))]
    fn free(py: Python<'_>, name: &str, backend: &str, use_uvloop: Option<bool>) -> PyResult<Self> {
        let spec = Spec { backend: parse(backend)?, use_uvloop, ..Spec::new(name, Role::Unnamed) };
        let launched = py.detach(|| Caller::launch_free(spec));
        let inner = launched.map_err(|problem| PyRuntimeError::new_err(problem.to_string()))?;
        Ok(Self::new(inner, SharedCapture::default()))
    }

    /// Gets the child with this name, made if there is none; without a name a new child, or, with `worker`, an idle one.
    /// Returns it, and whether it was made: then the calling code starts its thread. Raises `RuntimeError` if it runs on
    /// another backend, or if this Caller is stopping.
    #[pyo3(signature = (name=None, backend=None, use_uvloop=None, worker=false))]
    fn child(
        &self,
        py: Python<'_>,
        name: Option<String>,
        backend: Option<&str>,
        use_uvloop: Option<bool>,
        worker: bool,
    ) -> PyResult<(Self, bool)> {
        let backend = backend.map(parse).transpose()?;
        let (answer, answered) = mpsc::channel();
        self.inner.addr.do_send(GetChild {
            options: CallerOptions { name, backend, use_uvloop },
            worker,
            answer,
        });
        // The actor's thread never takes the GIL, so this is short.
        let found = py.detach(move || answered.recv());
        let found =
            found.map_err(|_| PyRuntimeError::new_err("the kernel has ended: there are no Callers"))?;
        let (child, made) = found.map_err(|problem| PyRuntimeError::new_err(problem.to_string()))?;
        Ok((Self::new(child, self.capture.clone()), made))
    }

    /// Takes an idle worker with this event loop (None: that of this Caller), if there is one.
    #[pyo3(signature = (backend=None))]
    fn take_worker(&self, backend: Option<&str>) -> PyResult<Option<Self>> {
        let backend = backend.map_or(Ok(self.inner.spec.backend), parse)?;
        Ok(self.inner.pool.take(backend).map(|worker| Self::new(worker, self.capture.clone())))
    }

    /// Puts back a worker that is idle. Up to `keep` idle workers are kept, each for `linger` seconds (None: no limit).
    /// False if it is not kept: then stop it.
    #[pyo3(signature = (worker, keep, linger=None))]
    fn keep_worker(&self, worker: &Self, keep: usize, linger: Option<f64>) -> PyResult<bool> {
        let linger = linger.map(Duration::try_from_secs_f64).transpose();
        let linger = linger.map_err(|problem| PyValueError::new_err(problem.to_string()))?;
        Ok(self.inner.keep(worker.inner.clone(), keep, linger))
    }

    /// Removes the child with this id from those that can be found.
    fn forget(&self, id: u64) {
        self.inner.pool.remove(id);
        self.inner.addr.do_send(Forget(id));
    }

    /// Asks the thread and those of its children to stop.
    fn stop(&self) {
        self.inner.addr.do_send(Stop);
    }

    /// Records that the thread has ended. Work that it has not taken is answered with an error.
    fn end(&self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        self.inner.addr.do_send(ThreadEnded);
    }

    /// Whether the thread has ended.
    #[getter]
    fn ended(&self) -> bool {
        self.inner.ended.load(Ordering::SeqCst)
    }

    /// The inbox that the thread takes its work from.
    fn inbox(&self) -> Inbox {
        Inbox::new(self.inner.inbox.clone(), self.capture.clone())
    }

    /// Unique in this process.
    #[getter]
    fn id(&self) -> u64 {
        self.inner.spec.id
    }

    /// The id of the parent.
    #[getter]
    fn parent(&self) -> Option<u64> {
        self.inner.spec.parent
    }

    /// The name, also of the thread.
    #[getter]
    fn name(&self) -> &str {
        &self.inner.spec.name
    }

    /// `asyncio` or `trio`.
    #[getter]
    fn backend(&self) -> &'static str {
        self.inner.spec.backend.as_str()
    }

    /// Whether its asyncio loop is uvloop's. None: where uvloop is installed.
    #[getter]
    fn use_uvloop(&self) -> Option<bool> {
        self.inner.spec.use_uvloop
    }

    /// Whether it is a worker: runs calls and cells of its parent, one after the other.
    #[getter]
    fn is_worker(&self) -> bool {
        self.inner.spec.role == Role::Worker
    }

    /// Whether it serves the kernel itself, and runs no cells of clients' choice.
    #[getter]
    fn is_kernels(&self) -> bool {
        self.inner.spec.role == Role::Kernel
    }

    /// The id of the subshell whose cells it runs.
    #[getter]
    fn subshell_id(&self) -> Option<&str> {
        match &self.inner.spec.role {
            Role::Subshell(id) => Some(id),
            _ => None,
        }
    }

    fn __repr__(&self) -> String {
        format!("<CallerHandle {} {:?}>", self.inner.spec.id, self.inner.spec.name)
    }
}

/// The inbox of a Caller, for the event loop of its thread: watch [`Inbox::fileno`] for reading, then call
/// [`Inbox::drain`].
#[pyclass(frozen, module = "callboard._core")]
pub struct Inbox {
    inner: Arc<delivery::inbox::Inbox<Task>>,
    capture: SharedCapture,
}

impl Inbox {
    pub(super) fn new(inner: Arc<delivery::inbox::Inbox<Task>>, capture: SharedCapture) -> Self {
        Self { inner, capture }
    }

    /// A waker that puts `token` into this inbox.
    pub(super) fn waker(&self, token: u64) -> Waker {
        Task::waker(self.inner.clone(), token)
    }

    pub(super) fn inner(&self) -> &Arc<delivery::inbox::Inbox<Task>> {
        &self.inner
    }
}

#[pymethods]
impl Inbox {
    /// Opens an inbox for an event loop that belongs to no Caller.
    #[new]
    fn py_new() -> PyResult<Self> {
        Ok(Self::new(Arc::new(delivery::inbox::Inbox::new()?), SharedCapture::default()))
    }

    /// Puts a token into it, and wakes the thread that drains it.
    fn wake(&self, token: u64) {
        // A closed inbox has no reader.
        drop(self.inner.push(Task::Wake(token)));
    }

    /// The descriptor that is readable while there is something to drain.
    fn fileno(&self) -> RawFd {
        self.inner.fd()
    }

    /// Takes everything that has come in, oldest first: a `Request`; a `CallerHandle`, whose thread is to be started; a
    /// `Cancel`; a `DebugWork`; an integer, a token to be fired; None, which ends the loop.
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
                Task::Debug(work) => list.append(Py::new(py, DebugWork { work })?)?,
                Task::Wake(token) => list.append(token)?,
                Task::Stop => list.append(py.None())?,
            }
        }
        Ok(list)
    }

    /// Makes the inbox readable, for work that is in a queue of Python's.
    fn notify(&self) {
        self.inner.notify();
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }
}

/// Reads the options of `%%thread`, which are those of the run mode: see [`crate::wire::run_mode`].
#[pyfunction]
pub fn thread_options<'py>(py: Python<'py>, line: &str) -> PyResult<Bound<'py, PyDict>> {
    let read = CallerOptions::parse(line).map_err(|problem| PyValueError::new_err(problem.to_string()))?;
    let options = PyDict::new(py);
    if let Some(name) = read.name {
        options.set_item("name", name)?;
    }
    if let Some(backend) = read.backend {
        options.set_item("backend", backend.as_str())?;
    }
    if let Some(use_uvloop) = read.use_uvloop {
        let backend_options = PyDict::new(py);
        backend_options.set_item("use_uvloop", use_uvloop)?;
        options.set_item("backend_options", backend_options)?;
    }
    Ok(options)
}

fn parse(backend: &str) -> PyResult<Backend> {
    Backend::parse(backend).ok_or_else(|| {
        PyValueError::new_err(format!("{backend:?} is not a backend: the backends are asyncio and trio"))
    })
}

/// Something that the debugger wants done in Python.
#[pyclass(frozen, module = "callboard._core")]
pub struct DebugWork {
    work: delivery::debug_work::DebugWork,
}

#[pymethods]
impl DebugWork {
    /// What to do, and with what; JSON.
    #[getter]
    fn what(&self) -> &[u8] {
        &self.work.what
    }

    /// Says what came of it; JSON.
    fn done(&self, result: Vec<u8>) {
        self.work.finish(Ok(result));
    }

    /// Says why it cannot be done.
    fn failed(&self, why: String) {
        self.work.finish(Err(why));
    }
}
