//! A Caller as others hold it, the state of its actor, and the work for its thread: types that name each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use actix::prelude::*;
use tracing::debug;

use super::pool::{Kept, Pool, Worker};
use super::spec::{Role, Spec};
use crate::delivery::inbox::Inbox;
use crate::delivery::pending::{Promise, TokenSink};
use crate::delivery::request::{Assignment, Request};
use crate::wire::run_mode::Backend;

/// A Caller as others hold it.
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
    /// Its thread has ended, or is about to: nobody is to take it for alive.
    pub ended: Arc<AtomicBool>,
}

/// What a Python thread is given to do.
pub enum Task {
    /// Work on a request.
    Request(Assignment),
    /// Start the thread of a new Caller.
    Start(CallerHandle),
    /// Cancel the cells that run on the thread of the Caller with this id, whatever that thread does.
    Cancel(u64),
    /// Call what was registered under this token.
    Wake(u64),
    /// Finish what runs, then end the event loop.
    Stop,
}

/// Owns the inbox of a Python thread, and the Callers that are to stop when it stops. Puts work into the
/// inbox and wakes the thread; never runs Python itself.
pub struct Caller {
    pub(super) spec: Arc<Spec>,
    pub(super) inbox: Arc<Inbox<Task>>,
    /// The inbox of the thread that starts threads for requests.
    pub(super) starter: Option<Arc<Inbox<Task>>>,
    pub(super) parent: Option<Addr<Self>>,
    pub(super) children: Vec<CallerHandle>,
    /// The children that are workers with nothing to do.
    pub(super) pool: Arc<Pool<CallerHandle>>,
    /// When the pool is to be looked at.
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
    /// A worker (of this Caller) has nothing to do any more: up to `keep` are kept, this one for `linger` (None:
    /// for ever). False if it is not kept: then it is to be stopped. Nothing happens to one that has ended, or that
    /// has another parent.
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

    /// Whether it is found by this name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.spec.name == name && !matches!(self.spec.role, Role::Worker | Role::Unnamed)
    }

    /// Puts a request into the inbox; if the thread has ended, answers it.
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
    /// A waker for whatever the thread that drains `inbox` has registered under `token`. It holds nothing of
    /// Python's, so any thread may wake or drop it.
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
