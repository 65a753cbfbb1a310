//! The requests whose code runs. They keep the kernel busy.
//!
//! Some clients match the idle of a request by its parent. Others (`jupyter_server`, which culls idle kernels; frontends)
//! take the last status, whatever its parent, for the state of the kernel. For both to be right, busy is published once
//! more behind the idle of a request while the code of another one runs.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::entry::Message;
use crate::wire::Parent;
use crate::wire::content::ExecutionState;

/// The busy of a request.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// When the request began.
    pub since: DateTime<Utc>,
    /// User code runs until the idle of the request: the kernel is busy until then, whatever else it answers.
    pub runs_code: bool,
    /// Another message of the request follows at once, and wakes the thread that sends.
    pub has_more: bool,
}

/// The requests whose code runs, oldest first, each with the date of its busy.
#[derive(Default)]
pub(super) struct Running {
    requests: VecDeque<(Arc<Parent>, DateTime<Utc>)>,
    /// A thread stands in the debugger.
    pub standing: bool,
}

impl Running {
    /// The code of a request begins; its busy has this date.
    pub fn begin(&mut self, parent: &Arc<Parent>, date: DateTime<Utc>) {
        self.requests.push_back((parent.clone(), date));
    }

    /// A request ends. Nothing happens if it runs no code.
    pub fn end(&mut self, parent: &Arc<Parent>) {
        if let Some(at) = self.requests.iter().position(|(running, _)| Arc::ptr_eq(running, parent)) {
            self.requests.remove(at);
        }
    }

    /// The busy of the oldest, to be published once more. Its date stays: clients take it for the start of the cell.
    pub fn busy_again(&self) -> Option<Message> {
        self.requests.front().map(|(parent, date)| Message::status(parent, ExecutionState::Busy, *date))
    }
}
