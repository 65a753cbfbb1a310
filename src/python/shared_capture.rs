//! The capture of file descriptors 1 and 2, as streams, inboxes and requests share it.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::publisher::Publisher;
use crate::publisher::capture::Capture;

/// Empty until the capture starts, which may be after it was shared.
#[derive(Clone, Default)]
pub(super) struct SharedCapture(Arc<OnceLock<Arc<Capture>>>);

impl SharedCapture {
    /// Starts the capture, if it is not running.
    pub fn start(&self, publisher: &Publisher) -> io::Result<()> {
        if self.0.get().is_none() {
            let capture = Capture::start(publisher.clone())?;
            self.0.get_or_init(|| capture);
        }
        Ok(())
    }

    /// Whether the capture has been started.
    pub fn is_started(&self) -> bool {
        self.0.get().is_some()
    }

    /// Publishes what has been written so far.
    pub fn drain(&self) {
        if let Some(capture) = self.0.get() {
            capture.drain();
        }
    }

    /// Gives the descriptors back.
    pub fn stop(&self) {
        if let Some(capture) = self.0.get() {
            capture.stop();
        }
    }
}
