//! The gate between the queue of a subshell and the thread that runs its cells.

use std::sync::atomic::{AtomicBool, Ordering};

use actix::WeakRecipient;
use actix::prelude::Message;
use tracing::debug;

/// Keeps queued cells from beginning after one has failed. Shared by the queue of a subshell and the thread that runs its
/// cells.
pub struct QueueGate {
    /// A cell has failed: no cell that was queued behind it may begin.
    aborting: AtomicBool,
    /// Whether this is the main shell.
    main: bool,
    /// Weak, because the subshell owns its gate and would never end.
    done: WeakRecipient<Done>,
}

/// A cell has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Done {
    /// The id of its request.
    pub msg_id: String,
    /// Whether it has failed and the cells queued behind it are not to run.
    pub abort: bool,
}

impl QueueGate {
    /// An open gate that reports the ends of cells to `done`.
    pub fn new(main: bool, done: WeakRecipient<Done>) -> Self {
        Self { aborting: AtomicBool::new(false), main, done }
    }

    /// Lets cells begin again.
    pub fn resume(&self) {
        self.aborting.store(false, Ordering::Release);
    }

    /// Lets no queued cell begin until [`QueueGate::resume`].
    pub(super) fn close(&self) {
        self.aborting.store(true, Ordering::Release);
    }

    /// Whether no queued cell may begin.
    pub(super) fn is_closed(&self) -> bool {
        self.aborting.load(Ordering::Acquire)
    }

    /// Whether its cells run on the main shell.
    pub(super) fn is_main(&self) -> bool {
        self.main
    }

    /// Reports the end of a cell to the subshell.
    pub(super) fn report(&self, msg_id: &str, abort: bool) {
        let msg_id = msg_id.to_owned();
        if let Some(subshell) = self.done.upgrade() {
            subshell.do_send(Done { msg_id, abort });
        } else {
            debug!(msg_id, "a cell is done whose subshell was deleted");
        }
    }
}
