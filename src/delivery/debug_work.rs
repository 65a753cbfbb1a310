//! Work for the Python side of the debugger, and its result.

use std::sync::Mutex;

use actix::prelude::{Message, Recipient};

/// Something that the Python side of the debugger is to do. Dropping it unfinished says that it failed: no client waits
/// without end because a thread has ended.
pub struct DebugWork {
    /// What to do, and with what; a JSON object.
    pub what: Vec<u8>,
    id: u64,
    done: Mutex<Option<Recipient<WorkDone>>>,
}

/// The result of work.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkDone {
    /// Which work.
    pub id: u64,
    /// What came of it, JSON; or why it failed.
    pub outcome: Result<Vec<u8>, String>,
}

impl DebugWork {
    /// Work whose result goes to `done`.
    pub fn new(id: u64, what: Vec<u8>, done: Recipient<WorkDone>) -> Self {
        Self { what, id, done: Mutex::new(Some(done)) }
    }

    /// Sends the result, unless there has been one.
    pub fn finish(&self, outcome: Result<Vec<u8>, String>) {
        let done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(done) = done {
            done.do_send(WorkDone { id: self.id, outcome });
        }
    }
}

impl Drop for DebugWork {
    fn drop(&mut self) {
        self.finish(Err("the thread of the debugger has ended".to_owned()));
    }
}
