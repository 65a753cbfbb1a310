//! The kernel, as the Python package sees it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::buffer::to_frames;
use super::caller::PyCallerHandle;
use super::parent::{self, Parent};
use super::pending::Pending;
use super::request::Request;
use super::shared_capture::SharedCapture;
use super::stream::{Stream, wait_for_room};
use super::text::Text;
use super::wait::wait;
use crate::actors::caller::ThreadEnded;
use crate::actors::comms::CommEvent;
use crate::actors::stdin::{Answer, Ask, Withdraw};
use crate::delivery::job::Channel;
use crate::kernel;
use crate::os::{crash, files, process_group as group, sigint, signals};
use crate::publisher::Urgency;
use crate::startup::boot::{Booted, boot};
use crate::startup::settings::Settings;
use crate::wire::content::{InputRequest, StreamName};
use crate::wire::{self, Frame, MessageType, Outgoing};

/// Content longer than this, in bytes, is encoded and signed with the GIL released.
const LARGE: usize = 64 * 1024;

/// How long closing waits for subscribers to read what was published.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the processes that cells have left behind may take to end after SIGTERM.
const GROUP_GRACE: Duration = Duration::from_millis(500);

/// A running kernel. It answers requests that need no Python by itself; Python drains the inboxes.
#[pyclass(frozen, module = "callboard._core")]
pub struct Kernel {
    inner: Arc<kernel::Kernel>,
    capture: SharedCapture,
    /// The path of the connection file.
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

/// A kernel that the `kernel` binary has started before Python.
static BOOTED: Mutex<Option<Booted>> = Mutex::new(None);

/// Hands over a running kernel: the next call of [`start`] returns it.
pub(super) fn hand_over(booted: Booted) {
    *BOOTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(booted);
}

/// Reads the command line, binds the sockets and starts to answer. Raises `SystemExit`, with a message that says what to
/// do, if that is not possible.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // the signature that PyO3 requires
pub fn start(py: Python<'_>, args: Vec<String>, python_version: &str) -> PyResult<Kernel> {
    let booted = BOOTED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(booted) = booted {
        return Ok(Kernel::new(booted));
    }
    let settings = Settings::parse_args("callboard", &args).map_err(|error| exit(&error))?;
    let booted = py.detach(|| boot(settings, python_version)).map_err(|error| {
        let message = format!("callboard: {error}");
        PySystemExit::new_err(message)
    })?;
    Ok(Kernel::new(booted))
}

/// Checks options of the kernel that a kernelspec is to give it. Returns the event loop that they choose. Raises `ValueError`
/// that says what is wrong.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // the signature that PyO3 requires
pub fn check_kernelspec_options(args: Vec<String>) -> PyResult<&'static str> {
    let settings = Settings::for_kernelspec(&args).map_err(PyValueError::new_err)?;
    Ok(settings.backend.as_str())
}

/// Prints what clap returned (help to stdout, errors to stderr), and makes the exception that ends the process.
fn exit(error: &clap::Error) -> PyErr {
    match error.print() {
        Ok(()) => PySystemExit::new_err(error.exit_code()),
        Err(problem) => problem.into(),
    }
}

/// Allocates memory for the trace of a crash. Call it on the main thread, after faulthandler has been switched on.
#[pyfunction]
pub fn prepare_for_crash() -> PyResult<()> {
    Ok(crash::give_stack()?)
}

/// Blocks SIGINT for the calling thread: it is for Python's main thread alone.
#[pyfunction]
pub fn block_sigint() -> PyResult<()> {
    Ok(signals::block_sigint()?)
}

/// Makes sure that Python notices SIGINT, from now on: see [`sigint`].
#[pyfunction]
pub fn watch_sigint() -> PyResult<()> {
    Ok(sigint::watch()?)
}

/// Records that Python has noticed SIGINT.
#[pyfunction]
pub fn sigint_noticed() {
    sigint::noticed();
}

/// Ends the processes that cells have left in the kernel's process group. Call it when the kernel ends.
#[pyfunction]
pub fn end_group(py: Python<'_>) {
    py.detach(|| group::end(GROUP_GRACE));
}

/// Sends SIGINT to the calling thread after 5 ms: the code that it runs now would swallow it.
#[pyfunction]
pub fn interrupt_again() -> PyResult<()> {
    Ok(signals::interrupt_later(Duration::from_millis(5))?)
}

impl Kernel {
    pub(super) fn new(booted: Booted) -> Self {
        let Booted { kernel, settings, connection, connection_file, leftovers } = booted;
        Self {
            inner: Arc::new(kernel),
            capture: SharedCapture::default(),
            // Cells change the current directory.
            connection_file: std::path::absolute(&connection_file)
                .unwrap_or(connection_file)
                .to_string_lossy()
                .into_owned(),
            ipython_args: settings.ipython,
            connection: serde_json::to_vec(&connection).unwrap_or_default(),
            isolated_subshells: settings.subshells.isolated_subshells,
            captures_fds: !settings.no_fd_capture,
            leftovers,
        }
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

    /// Makes what is written to file descriptors 1 and 2 output of cells, from now on, unless the command line forbids it.
    /// Returns whether it does.
    fn capture_fds(&self) -> PyResult<bool> {
        if !self.captures_fds {
            return Ok(false);
        }
        self.capture.start(&self.inner.publisher)?;
        Ok(true)
    }

    /// Whether comm messages that name a subshell are handled in its thread, and not in the main thread.
    #[getter]
    fn comms_in_subshells(&self) -> bool {
        self.inner.comms_in_subshells.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_comms_in_subshells(&self, wanted: bool) {
        self.inner.comms_in_subshells.store(wanted, Ordering::Relaxed);
    }

    /// The Caller of the main thread.
    fn shell_caller(&self) -> PyCallerHandle {
        PyCallerHandle::new(self.inner.shell_caller.clone(), self.capture.clone())
    }

    /// The Caller that answers requests of editors, a child of [`Self::shell_caller`].
    fn control_caller(&self) -> PyCallerHandle {
        PyCallerHandle::new(self.inner.control_caller.clone(), self.capture.clone())
    }

    /// Makes a subshell and returns its id.
    fn create_subshell(&self, py: Python<'_>) -> PyResult<String> {
        let made = py.detach(|| self.inner.create_subshell());
        made.map_err(|problem| PyRuntimeError::new_err(problem.to_string()))
    }

    /// Deletes a subshell. The pending is completed when the thread of the subshell has ended, with an error if there is no
    /// subshell with this id.
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
        Stream::new(self.inner.clone(), self.capture.clone(), StreamName::Stdout)
    }

    /// The standard error of cells.
    fn stderr(&self) -> Stream {
        Stream::new(self.inner.clone(), self.capture.clone(), StreamName::Stderr)
    }

    /// Publishes a message on iopub. Content and metadata are JSON. Without `parent` it belongs to the request that the
    /// calling code runs for. Waits, with the GIL released, while clients are far behind.
    #[pyo3(signature = (msg_type, content, metadata=None, buffers=None, parent=None))]
    #[allow(clippy::needless_pass_by_value)] // the signature that PyO3 requires
    fn publish(
        &self,
        py: Python<'_>,
        msg_type: Text<'_>,
        content: Vec<u8>,
        metadata: Option<Vec<u8>>,
        buffers: Option<Vec<pyo3::buffer::PyBuffer<u8>>>,
        parent: Option<&Parent>,
    ) -> PyResult<()> {
        let publisher = &self.inner.publisher;
        let kind = MessageType::parse(&msg_type.0);
        let parent = self.parent_or_current(py, parent);
        let buffers = to_frames(buffers, py)?;
        if let Some(event) = CommEvent::of_published(&kind, &content) {
            self.inner.comm(event);
        }
        self.capture.drain();
        let metadata = metadata.map_or(Frame::EMPTY_OBJECT, Frame::from);
        if content.len() > LARGE {
            py.detach(|| publisher.raw(&parent, &kind, metadata, content, buffers));
        } else {
            publisher.raw(&parent, &kind, metadata, content, buffers);
        }
        wait_for_room(py, publisher, Urgency::of(&kind))
    }

    /// The content of the answer to a `kernel_info_request`, JSON.
    #[getter]
    fn kernel_info(&self) -> Vec<u8> {
        wire::to_json(&self.inner.facts().kernel_info)
    }

    /// Sends a message whose header (JSON) the caller has made: on iopub, or to a client on `shell` or `control`, whose
    /// identities are `idents`; on iopub these are the topic. Waits, with the GIL released, while clients are far behind.
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // the parts of a message, as PyO3 extracts them
    #[pyo3(signature = (channel, msg_type, header, parent_header, content, metadata=None, buffers=None, idents=Vec::new()))]
    fn send(
        &self,
        py: Python<'_>,
        channel: &str,
        msg_type: Text<'_>,
        header: Vec<u8>,
        parent_header: Vec<u8>,
        content: Vec<u8>,
        metadata: Option<Vec<u8>>,
        buffers: Option<Vec<pyo3::buffer::PyBuffer<u8>>>,
        idents: Vec<Vec<u8>>,
    ) -> PyResult<()> {
        let publisher = &self.inner.publisher;
        let kind = MessageType::parse(&msg_type.0);
        let event = CommEvent::of_published(&kind, &content);
        let message = Outgoing {
            idents: &idents,
            kind: &kind,
            parent: &parent_header,
            metadata: metadata.map_or(Frame::EMPTY_OBJECT, Frame::from),
            content,
            buffers: to_frames(buffers, py)?,
        };
        let frames = publisher.session().encode_with_raw_header(header, message);
        match channel {
            "shell" => self.inner.send(Channel::Shell, frames),
            "control" => self.inner.send(Channel::Control, frames),
            _ => {
                if let Some(event) = event {
                    self.inner.comm(event);
                }
                self.capture.drain();
                publisher.encoded(&parent::of_header(parent_header), &kind, frames);
                wait_for_room(py, publisher, Urgency::of(&kind))?;
            }
        }
        Ok(())
    }

    /// Sets which types of requests on a channel go to Python instead of the actors that answer them.
    fn claim(&self, channel: &str, msg_types: Vec<String>) {
        let channel = if channel == "control" { Channel::Control } else { Channel::Shell };
        self.inner.claim(channel, msg_types);
    }

    /// Has a request that was claimed answered by the actor that does so otherwise.
    fn answer(&self, request: &Request) {
        self.inner.answer(request.job());
    }

    /// Asks the client for a line and waits for it, with the GIL released. `KeyboardInterrupt` ends the wait.
    #[pyo3(signature = (prompt, password=false, parent=None))]
    fn input(
        &self,
        py: Python<'_>,
        prompt: Text<'_>,
        password: bool,
        parent: Option<&Parent>,
    ) -> PyResult<String> {
        let answer = Arc::new(Answer::new()?);
        let parent = self.parent_or_current(py, parent);
        self.inner.publisher.flush();
        self.inner.ask(Ask {
            parent,
            content: InputRequest { prompt: prompt.into(), password },
            answer: answer.clone(),
        });
        let answered = wait(py, answer.wake_fd(), || answer.take());
        if answered.is_err() {
            self.inner.withdraw(Withdraw(answer));
        }
        answered
    }

    /// Restores the file descriptors, sends what was published, stops the actors and closes the sockets.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.inner.shell_caller.addr.do_send(ThreadEnded);
            self.capture.stop();
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
