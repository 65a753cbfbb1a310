//! The handle of a Caller, the state of its actor, and the tasks of its thread: types that name each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use actix::prelude::*;
use tracing::debug;

use super::pool::{Kept, Pool, Worker};
use super::spec::{Role, Spec};
use crate::delivery::debug_work::DebugWork;
use crate::delivery::inbox::Inbox;
use crate::delivery::pending::{Promise, TokenSink};
use crate::delivery::request::{Assignment, Request};
use crate::wire::run_mode::Backend;

/// A Caller as actors and Python hold it.
#[derive(Clone)]
pub struct CallerHandle {
    /// What it is.
    pub spec: Arc<Spec>,
    /// Where its thread takes its work from.
    pub inbox: Arc<Inbox<Task>>,
    /// Its actor.
    pub addr: Addr<Caller>,
    /// Its workers that have nothing to do.
    pub pool: Arc<Pool<CallerHandle>>,
    /// Its thread has ended or is about to: do not use it any more.
    pub ended: Arc<AtomicBool>,
}

/// A task for a Python thread.
pub enum Task {
    /// Work on a request.
    Request(Assignment),
    /// Start the thread of a new Caller.
    Start(CallerHandle),
    /// Cancel the cells that run on the thread of the Caller with this id, even if that thread is busy.
    Cancel(u64),
    /// Do something for the debugger.
    Debug(DebugWork),
    /// Call what was registered under this token.
    Wake(u64),
    /// Finish what runs, then end the event loop.
    Stop,
}

/// Owns the inbox of a Python thread, and the Callers that stop with it. Puts tasks into the inbox and wakes the thread;
/// never runs Python itself.
pub struct Caller {
    pub(super) spec: Arc<Spec>,
    pub(super) inbox: Arc<Inbox<Task>>,
    /// The inbox of the thread that starts threads for requests.
    pub(super) starter: Option<Arc<Inbox<Task>>>,
    pub(super) parent: Option<Addr<Self>>,
    pub(super) children: Vec<CallerHandle>,
    /// The children that are workers with nothing to do.
    pub(super) pool: Arc<Pool<CallerHandle>>,
    /// The timer that sweeps the pool.
    pub(super) sweep: Option<SpawnHandle>,
    pub(super) stopping: bool,
    /// As in [`CallerHandle::ended`].
    pub(super) ended: Arc<AtomicBool>,
    /// To be kept when its thread has ended.
    pub(super) promises: Vec<Promise>,
}

/// Stop the workers that have had nothing to do for too long.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Sweep;

impl CallerHandle {
    /// Keeps an idle worker of this Caller for `linger` (None: without end), if fewer than `keep` are kept. False if it
    /// is not kept: then stop it. Does nothing for one that has ended or has another parent.
    pub fn keep(&self, worker: Self, keep: usize, linger: Option<Duration>) -> bool {
        if worker.spec.parent != Some(self.spec.id) || worker.ended.load(Ordering::SeqCst) {
            return true;
        }
        match self.pool.put(worker, keep, linger) {
            Kept::No => return false,
            Kept::Yes => {}
            Kept::First => self.addr.do_send(Sweep),
        }
        true
    }

    /// Whether this name finds it.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.spec.name == name && !matches!(self.spec.role, Role::Worker | Role::Unnamed)
    }

    /// Puts a request into the inbox. Answers it if the thread has ended.
    pub(super) fn assign(&self, request: Arc<Request>) {
        assign(&self.spec, &self.inbox, request);
    }
}

/// As [`CallerHandle::assign`].
pub(super) fn assign(spec: &Spec, inbox: &Inbox<Task>, request: Arc<Request>) {
    if let Err(Task::Request(request)) = inbox.push(Task::Request(Assignment::new(request))) {
        debug!(caller = spec.name, kind = %request.job.kind, "the thread has ended: a request is refused");
        request.refuse("CallerStopped", &format!("the Caller {:?} has stopped", spec.name));
    }
}

impl Worker for CallerHandle {
    fn id(&self) -> u64 {
        self.spec.id
    }

    fn backend(&self) -> Backend {
        self.spec.backend
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Task {
    /// A waker for what the reader of `inbox` has registered under `token`. It holds no Python object, so any thread may
    /// wake or drop it.
    pub fn waker(inbox: Arc<Inbox<Task>>, token: u64) -> Waker {
        Waker::from(Arc::new(TokenWaker { inbox, token }))
    }
}

impl TokenSink for Inbox<Task> {
    fn wake(&self, token: u64) -> bool {
        self.push(Task::Wake(token)).is_ok()
    }
}

struct TokenWaker {
    inbox: Arc<Inbox<Task>>,
    token: u64,
}

impl Wake for TokenWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.inbox.push(Task::Wake(self.token)).is_err() {
            debug!(token = self.token, "the thread to be woken has ended");
        }
    }
}
