//! A request, for the Python thread that answers it.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::buffer::{Buffer, to_frames};
use super::parent::Parent;
use super::shared_capture::SharedCapture;
use super::text::Text;
use crate::delivery::job::Job;
use crate::delivery::request::{Assignment, ReplyStatus};

/// A request that this thread is to answer: begin it, reply, finish it. If it is dropped unfinished, it is answered with an
/// error.
#[pyclass(frozen, module = "callboard._core")]
pub struct Request {
    inner: Assignment,
    capture: SharedCapture,
}

impl Request {
    /// The message once more, for the actor that answers it.
    pub(super) fn job(&self) -> Job {
        self.inner.job.again()
    }

    pub(super) fn new(inner: Assignment, capture: SharedCapture) -> Self {
        Self { inner, capture }
    }
}

#[pymethods]
impl Request {
    /// The message type.
    #[getter]
    fn msg_type(&self) -> &str {
        self.inner.job.kind.as_str()
    }

    /// The id of the request.
    #[getter]
    fn msg_id(&self) -> &str {
        &self.inner.job.parent.msg_id
    }

    /// The channel it came in on: `shell` or `control`.
    #[getter]
    fn channel(&self) -> &'static str {
        self.inner.job.channel.as_str()
    }

    /// The parent for the code that runs for it.
    fn parent(&self) -> Parent {
        Parent::of(&self.inner)
    }

    /// The header, JSON.
    #[getter]
    fn header<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.job.parent.raw_header)
    }

    /// The parent header, JSON.
    #[getter]
    fn parent_header<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.job.parent_header)
    }

    /// The metadata, JSON.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.job.metadata)
    }

    /// The content, JSON.
    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.job.content)
    }

    /// The binary buffers, which lend their memory through the buffer protocol.
    #[getter]
    fn buffers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let buffers = (0..self.inner.job.buffers.len()).map(|index| Buffer::new(self.inner.share(), index));
        PyList::new(py, buffers.map(|buffer| Py::new(py, buffer)).collect::<PyResult<Vec<_>>>()?)
    }

    /// The code of an `execute_request`.
    #[getter]
    fn code(&self) -> Option<&str> {
        self.inner.execute.as_ref().map(|execute| execute.code.as_str())
    }

    /// Whether an `execute_request` is silent: it leaves no trace in the history and on iopub.
    #[getter]
    fn silent(&self) -> bool {
        self.inner.execute.as_ref().is_some_and(|execute| execute.silent)
    }

    /// Whether an `execute_request` goes into the history.
    #[getter]
    fn store_history(&self) -> bool {
        self.inner.execute.as_ref().is_some_and(crate::wire::content::ExecuteRequest::stores_history)
    }

    /// The expressions that an `execute_request` wants evaluated: name to code.
    #[getter]
    fn user_expressions(&self) -> std::collections::BTreeMap<String, String> {
        self.inner.execute.as_ref().map(|execute| execute.user_expressions.clone()).unwrap_or_default()
    }

    /// Whether it is a cell that runs after those before it in its shell.
    #[getter]
    fn is_queued(&self) -> bool {
        self.inner.has_gate()
    }

    /// The identities of the client that sent it.
    #[getter]
    fn idents<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.inner.job.parent.idents.iter().map(|ident| PyBytes::new(py, ident)).collect()
    }

    /// The same request once more, in no queue, for a handler that answers it when it has ended already.
    fn again(&self) -> Self {
        Self::new(Assignment::new(std::sync::Arc::new(self.inner.again())), self.capture.clone())
    }

    /// The subshell that its header names.
    #[getter]
    fn subshell_id(&self) -> Option<&str> {
        self.inner.job.subshell_id.as_deref()
    }

    /// Begins it: publishes busy. False if it was aborted meanwhile and must not run.
    fn begin(&self) -> bool {
        self.inner.begin()
    }

    /// Publishes the code that is about to run.
    fn publish_input(&self, execution_count: u64) {
        self.inner.publish_input(execution_count);
    }

    /// Sets the reply, which is sent when the request is finished. Content and metadata are JSON.
    #[pyo3(signature = (content, metadata=None, buffers=None))]
    fn reply(
        &self,
        py: Python<'_>,
        content: Vec<u8>,
        metadata: Option<Vec<u8>>,
        buffers: Option<Vec<pyo3::buffer::PyBuffer<u8>>>,
    ) -> PyResult<()> {
        let buffers = to_frames(buffers, py)?;
        self.inner.reply(content, metadata, buffers);
        Ok(())
    }

    /// Sets an error reply.
    #[pyo3(signature = (ename, evalue, traceback=None))]
    #[allow(clippy::needless_pass_by_value)] // the signature that PyO3 requires
    fn reply_error(
        &self,
        ename: Text<'_>,
        evalue: Text<'_>,
        traceback: Option<Vec<Bound<'_, PyAny>>>,
    ) -> PyResult<()> {
        let traceback = traceback.unwrap_or_default();
        let lines = traceback.iter().map(|line| line.extract::<Text<'_>>().map(String::from));
        self.inner.reply_error(&ename.0, &evalue.0, lines.collect::<PyResult<_>>()?);
        Ok(())
    }

    /// Answers it with this error, which its cell shows, begun or not. Later answers are dropped.
    #[allow(clippy::needless_pass_by_value)] // the signature that PyO3 requires
    fn give_up(&self, ename: Text<'_>, evalue: Text<'_>) {
        self.inner.give_up(&ename.0, &evalue.0);
    }

    /// Whether it has ended.
    #[getter]
    fn has_ended(&self) -> bool {
        self.inner.has_ended()
    }

    /// Ends it: sends the reply and publishes idle, after the output that C code and child processes have written. If `ok`
    /// is false, the cells queued behind it are aborted if the request asked for that; `stop_on_error` overrides it.
    #[pyo3(signature = (ok, stop_on_error=None))]
    fn finish(&self, ok: bool, stop_on_error: Option<bool>) {
        if !ok {
            self.inner.reply_if_none();
        }
        // The pipe is usually empty: not worth to release the GIL.
        if self.inner.execute.is_some() {
            self.capture.drain();
        }
        match stop_on_error {
            Some(stop) => self.inner.finish_and(!ok && stop),
            None => self.inner.finish(if ok { ReplyStatus::Ok } else { ReplyStatus::Error }),
        }
    }

    fn __repr__(&self) -> String {
        format!("<Request {} {}>", self.inner.job.kind, self.inner.job.parent.msg_id)
    }
}
