//! stdout and stderr of the code that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::parent;
use super::shared_capture::SharedCapture;
use super::wait::wait;
use crate::kernel;
use crate::os::wake_fd::WakeFd;
use crate::publisher::{Publisher, Urgency};
use crate::wire::content::StreamName;

/// Nanoseconds: texts that follow each other within this time are a flood. A system call alone takes longer.
const FLOOD: u64 = 2_000;

/// Text longer than this, in bytes, is copied with the GIL released.
const LARGE: usize = 64 * 1024;

/// Whether this process is a child that Python code has forked. It has none of the kernel's threads: its output goes to
/// its file descriptor, and from there into the cell.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Sends output to the file descriptors from now on. Call it in a forked child.
#[pyfunction]
pub fn after_fork_in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// One of the two streams. Text goes to the cell that the calling code runs for.
#[pyclass(frozen, module = "callboard._core")]
pub struct Stream {
    kernel: Arc<kernel::Kernel>,
    capture: SharedCapture,
    /// When text was last written by any thread, nanoseconds since `epoch`.
    last: AtomicU64,
    epoch: Instant,
    name: StreamName,
}

impl Stream {
    pub(super) fn new(kernel: Arc<kernel::Kernel>, capture: SharedCapture, name: StreamName) -> Self {
        Self { kernel, capture, last: AtomicU64::new(0), epoch: Instant::now(), name }
    }

    /// Publishes what C code and child processes have written since the last text. Skipped in a flood of text, which leaves
    /// them no time to write.
    fn drain(&self) {
        if !self.capture.is_started() {
            return;
        }
        let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if now.saturating_sub(self.last.swap(now, Ordering::Relaxed)) > FLOOD {
            self.capture.drain();
        }
    }
}

#[pymethods]
impl Stream {
    /// Writes text. Returns the number of characters. Waits, with the GIL released, while clients are far behind.
    fn write(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let publisher = &self.kernel.publisher;
        // Borrowed where the text is valid Unicode; lone surrogates become visible escapes.
        let escaped;
        let chars = if let Ok(chars) = text.to_str() {
            chars
        } else {
            let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
            escaped = String::from_utf8_lossy(bytes.extract::<&[u8]>()?).into_owned();
            &escaped
        };
        if FORKED.load(Ordering::Relaxed) {
            write_all(self.name, chars.as_bytes());
        } else {
            self.drain();
            let parent = parent::current(py).unwrap_or_else(|| publisher.foreground());
            if chars.len() > LARGE {
                py.detach(|| publisher.text(&parent, self.name, chars));
            } else {
                publisher.text(&parent, self.name, chars);
            }
            wait_for_room(py, publisher, Urgency::Output)?;
        }
        text.len()
    }

    /// Publishes text that is being held to be joined with more.
    fn flush(&self) {
        if !FORKED.load(Ordering::Relaxed) {
            self.drain();
            self.kernel.publisher.flush();
        }
    }
}

/// Waits while clients are far behind. An interrupt ends the wait.
pub(super) fn wait_for_room(py: Python<'_>, publisher: &Publisher, urgency: Urgency) -> PyResult<()> {
    if !publisher.is_congested(urgency) {
        return Ok(());
    }
    let wake_fd = Arc::new(WakeFd::new()?);
    wait(py, &wake_fd, || {
        if publisher.is_congested(urgency) {
            publisher.when_room(urgency, wake_fd.clone());
            return None;
        }
        Some(())
    })
}

/// Writes to file descriptor 1 or 2. Gives up on an error: the descriptor may be closed.
fn write_all(name: StreamName, mut bytes: &[u8]) {
    let fd = match name {
        StreamName::Stdout => rustix::stdio::stdout(),
        StreamName::Stderr => rustix::stdio::stderr(),
    };
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return,
        }
    }
}
