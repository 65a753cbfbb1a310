//! The kernel, as the Python package sees it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::caller::PyCallerHandle;
use super::parent::{self, Parent};
use super::pending::Pending;
use super::stream::{Stream, wait_for_room};
use super::{to_frames, wait};
use crate::actors::caller::ThreadEnded;
use crate::actors::comms::CommEvent;
use crate::actors::stdin::{Answer, Ask, Withdraw};
use crate::kernel;
use crate::os::{crash, files, process_group as group, sigint, signals};
use crate::publisher::Urgency;
use crate::publisher::capture::Capture;
use crate::startup::boot::{Booted, boot};
use crate::startup::settings::Settings;
use crate::wire::content::{InputRequest, StreamName};
use crate::wire::{self, Frame, MessageType};

/// Content longer than this is encoded and signed with the GIL released.
const LARGE: usize = 64 * 1024;

/// How long closing waits for subscribers to take what was published.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the processes that cells have left behind have to end when they are asked to.
const GROUP_GRACE: Duration = Duration::from_millis(500);

/// A running kernel. It answers what needs no Python by itself; Python drains the inboxes.
#[pyclass(frozen, module = "callboard._core")]
pub struct Kernel {
    inner: Arc<kernel::Kernel>,
    capture: Mutex<Option<Arc<Capture>>>,
    /// The connection file.
    #[pyo3(get)]
    connection_file: String,
    /// The arguments that are for IPython's configuration.
    #[pyo3(get)]
    ipython_args: Vec<String>,
    connection: Vec<u8>,
    /// Whether subshells have variables of their own.
    #[pyo3(get)]
    isolated_subshells: bool,
    captures_fds: bool,
    leftovers: Vec<PathBuf>,
}

/// Reads the command line, binds the sockets and starts to answer. Raises `SystemExit` with a message
/// that says what to do when that is not possible.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // the form that PyO3 wants
pub fn start(py: Python<'_>, args: Vec<String>, python_version: &str) -> PyResult<Kernel> {
    if let Some(booted) = super::embed::take_booted() {
        return Ok(Kernel::new(booted));
    }
    let settings = Settings::parse_args("callboard", &args).map_err(|error| exit(&error))?;
    let booted = py.detach(|| boot(settings, python_version)).map_err(|error| {
        let message = format!("callboard: {error}");
        PySystemExit::new_err(message)
    })?;
    Ok(Kernel::new(booted))
}

/// What clap has to say goes where it belongs (help to stdout, errors to stderr), then the process ends.
fn exit(error: &clap::Error) -> PyErr {
    match error.print() {
        Ok(()) => PySystemExit::new_err(error.exit_code()),
        Err(problem) => problem.into(),
    }
}

/// Room for the trace of a crash; to be called on the main thread, after faulthandler has been switched on.
#[pyfunction]
pub fn prepare_for_crash() -> PyResult<()> {
    Ok(crash::give_stack()?)
}

/// Keeps SIGINT away from the calling thread: it is for Python's main thread alone.
#[pyfunction]
pub fn block_sigint() -> PyResult<()> {
    Ok(signals::block_sigint()?)
}

/// Makes sure that SIGINT is noticed, from now on: see [`sigint`].
#[pyfunction]
pub fn watch_sigint() -> PyResult<()> {
    Ok(sigint::watch()?)
}

/// Python has noticed SIGINT.
#[pyfunction]
pub fn sigint_noticed() {
    sigint::noticed();
}

/// Ends the processes that cells have left in the kernel's process group. To be called at the very end.
#[pyfunction]
pub fn end_group(py: Python<'_>) {
    py.detach(|| group::end(GROUP_GRACE));
}

/// Sends SIGINT to the calling thread, a moment later: what it does now would swallow it.
#[pyfunction]
pub fn interrupt_again() -> PyResult<()> {
    Ok(signals::interrupt_later(Duration::from_millis(5))?)
}

impl Kernel {
    pub(super) fn new(booted: Booted) -> Self {
        let Booted { kernel, settings, connection, connection_file, leftovers } = booted;
        Self {
            inner: Arc::new(kernel),
            capture: Mutex::new(None),
            connection_file: connection_file.to_string_lossy().into_owned(),
            ipython_args: settings.ipython,
            connection: serde_json::to_vec(&connection).unwrap_or_default(),
            isolated_subshells: settings.subshells.isolated_subshells,
            captures_fds: !settings.no_fd_capture,
            leftovers,
        }
    }

    fn capture(&self) -> Option<Arc<Capture>> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[pymethods]
impl Kernel {
    /// The id of the kernel's session.
    #[getter]
    fn session(&self) -> &str {
        self.inner.publisher.session().id()
    }

    /// The content of the connection file, JSON.
    #[getter]
    fn connection(&self) -> &[u8] {
        &self.connection
    }

    /// From now on what is written to file descriptors 1 and 2 is output of cells, unless the command
    /// line says otherwise. To be called before the streams and inboxes are asked for.
    fn capture_fds(&self) -> PyResult<bool> {
        if !self.captures_fds {
            return Ok(false);
        }
        let capture = Capture::start(self.inner.publisher.clone())?;
        *self.capture.lock().unwrap_or_else(PoisonError::into_inner) = Some(capture);
        Ok(true)
    }

    /// The Caller of the main thread.
    fn shell_caller(&self) -> PyCallerHandle {
        PyCallerHandle::new(self.inner.shell_caller.clone(), self.capture())
    }

    /// Its child, which answers what editors ask.
    fn control_caller(&self) -> PyCallerHandle {
        PyCallerHandle::new(self.inner.control_caller.clone(), self.capture())
    }

    /// Makes a subshell and returns its id.
    fn create_subshell(&self, py: Python<'_>) -> PyResult<String> {
        let made = py.detach(|| self.inner.create_subshell());
        made.map_err(|problem| PyRuntimeError::new_err(problem.to_string()))
    }

    /// Deletes a subshell. The pending is completed when its thread has ended; it fails if there is none with this
    /// id.
    fn delete_subshell(&self, id: String, pending: &Bound<'_, Pending>) -> PyResult<()> {
        self.inner.delete_subshell(id, Pending::promise(pending)?);
        Ok(())
    }

    /// The ids of the subshells, oldest first.
    fn subshells(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.inner.subshells()).unwrap_or_default()
    }

    /// The standard output of cells.
    fn stdout(&self) -> Stream {
        Stream::new(self.inner.clone(), self.capture(), StreamName::Stdout)
    }

    /// The standard error of cells.
    fn stderr(&self) -> Stream {
        Stream::new(self.inner.clone(), self.capture(), StreamName::Stderr)
    }

    /// Publishes a message on iopub. Content and metadata are JSON. Without `parent` it belongs to the
    /// request that the calling code runs for. Waits, with the GIL released, while clients are far behind.
    #[pyo3(signature = (msg_type, content, metadata=None, buffers=None, parent=None))]
    fn publish(
        &self,
        py: Python<'_>,
        msg_type: &str,
        content: Vec<u8>,
        metadata: Option<Vec<u8>>,
        buffers: Option<Vec<pyo3::buffer::PyBuffer<u8>>>,
        parent: Option<&Parent>,
    ) -> PyResult<()> {
        let publisher = &self.inner.publisher;
        let kind = MessageType::parse(msg_type);
        let parent = self.parent_or_current(py, parent);
        let buffers = to_frames(buffers, py)?;
        if let Some(event) = CommEvent::of_published(&kind, &content) {
            self.inner.comm(event);
        }
        if let Some(capture) = self.capture() {
            capture.drain();
        }
        let metadata = metadata.map_or(Frame::EMPTY_OBJECT, Frame::from);
        if content.len() > LARGE {
            py.detach(|| publisher.raw(&parent, &kind, metadata, content, buffers));
        } else {
            publisher.raw(&parent, &kind, metadata, content, buffers);
        }
        wait_for_room(py, publisher, Urgency::of(&kind))
    }

    /// Asks the client for a line and waits for it, with the GIL released. `KeyboardInterrupt` ends the
    /// wait.
    #[pyo3(signature = (prompt, password=false, parent=None))]
    fn input(
        &self,
        py: Python<'_>,
        prompt: String,
        password: bool,
        parent: Option<&Parent>,
    ) -> PyResult<String> {
        let answer = Arc::new(Answer::new()?);
        let parent = self.parent_or_current(py, parent);
        self.inner.publisher.flush();
        self.inner.ask(Ask { parent, content: InputRequest { prompt, password }, answer: answer.clone() });
        let answered = wait(py, answer.wake_fd(), || answer.take());
        if answered.is_err() {
            self.inner.withdraw(Withdraw(answer));
        }
        answered
    }

    /// Gives the file descriptors back, lets what was published go out, stops the actors and closes the
    /// sockets.
    fn close(&self, py: Python<'_>) {
        let capture = self.capture.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| {
            self.inner.shell_caller.addr.do_send(ThreadEnded);
            if let Some(capture) = capture {
                capture.stop();
            }
            self.inner.close(PATIENCE);
            for path in &self.leftovers {
                files::remove(path);
            }
        });
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }
}

impl Kernel {
    fn parent_or_current(&self, py: Python<'_>, parent: Option<&Parent>) -> Arc<wire::Parent> {
        match parent {
            Some(parent) => parent.inner.clone(),
            None => parent::current(py).unwrap_or_else(|| self.inner.publisher.foreground()),
        }
    }
}
