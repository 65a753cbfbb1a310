//! Back-pressure: threads that publish wait while clients are far behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::os::wake_fd::WakeFd;
use crate::wire::MessageType;

/// With more bytes than this in the queue, threads that publish are asked to wait.
pub(super) const CONGESTED: usize = 32 * 1024 * 1024;

/// What happens to a message when clients are far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Text, displays: the thread that publishes waits for room. When a client is stuck for long, they are dropped.
    Output,
    /// Messages of comms: the thread that publishes waits for room. They are never dropped: the two ends of a comm
    /// would disagree.
    Kept,
    /// There are few for each request or comm, and clients wait for them: they go into the queue at once.
    Essential,
}

impl Urgency {
    /// How urgent messages of this type are.
    pub fn of(kind: &MessageType) -> Self {
        match kind {
            MessageType::Stream
            | MessageType::DisplayData
            | MessageType::UpdateDisplayData
            | MessageType::ClearOutput => Self::Output,
            MessageType::CommOpen
            | MessageType::CommMsg
            | MessageType::CommClose
            | MessageType::Unknown(_) => Self::Kept,
            _ => Self::Essential,
        }
    }
}

/// Whether the queue is too full, and the threads that wait for room. Read without the lock of the queue.
#[derive(Default)]
pub(super) struct Backpressure {
    /// The queue holds more than [`CONGESTED`] bytes.
    congested: AtomicBool,
    /// A subscriber has been stuck for so long that output is dropped while the queue is congested.
    dropping: AtomicBool,
    waiting: Mutex<Vec<Arc<WakeFd>>>,
}

impl Backpressure {
    /// The queue has grown to `bytes`.
    pub fn grown_to(&self, bytes: usize) {
        if bytes > CONGESTED {
            self.congested.store(true, Ordering::Release);
        }
    }

    /// The queue has shrunk. True if there is room again: then call [`Backpressure::wake`] after unlocking the queue.
    pub fn shrunk(&self, before: usize, after: usize) -> bool {
        let room = before > CONGESTED / 2 && after <= CONGESTED / 2;
        if room {
            self.congested.store(false, Ordering::Release);
        }
        room
    }

    /// The queue is closed: no thread waits any more.
    pub fn close(&self) {
        self.congested.store(false, Ordering::Release);
    }

    /// Whether a thread that has published a message of this urgency should wait.
    pub fn is_congested(&self, published: Urgency) -> bool {
        self.congested.load(Ordering::Acquire)
            && match published {
                Urgency::Output => !self.dropping.load(Ordering::Acquire),
                Urgency::Kept => true,
                Urgency::Essential => false,
            }
    }

    /// Starts or stops dropping output while the queue is congested. True if that is a change.
    pub fn set_dropping(&self, dropping: bool) -> bool {
        self.dropping.swap(dropping, Ordering::AcqRel) != dropping
    }

    /// Whether output is dropped now.
    pub fn is_dropping(&self) -> bool {
        self.dropping.load(Ordering::Acquire) && self.congested.load(Ordering::Acquire)
    }

    /// Notifies `wake_fd` once when [`Backpressure::is_congested`] may have changed; at once if there is room.
    pub fn when_room(&self, published: Urgency, wake_fd: Arc<WakeFd>) {
        let mut waiting = self.lock();
        // Checked under the lock that `wake` takes after the flag is cleared: no notification is missed.
        if self.is_congested(published) {
            waiting.push(wake_fd);
        } else {
            wake_fd.notify();
        }
    }

    /// Wakes all that wait for room.
    pub fn wake(&self) {
        for wake_fd in self.lock().drain(..) {
            wake_fd.notify();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<WakeFd>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
