//! The idle workers of a Caller.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::run_mode::Backend;

/// The idle workers. The actor of a Caller and its Python side share it, so that `to_thread` finds a worker without a
/// round trip.
pub struct Pool<W> {
    state: Mutex<State<W>>,
}

struct State<W> {
    /// The one that became idle last is last, and is taken first: the others time out.
    idle: Vec<Idle<W>>,
    /// The actor has a timer for those whose time will be up.
    is_swept: bool,
    closed: bool,
}

struct Idle<W> {
    worker: W,
    /// When its time is up.
    until: Option<Instant>,
}

/// A worker, as the pool sees it.
pub trait Worker {
    /// Unique in this process.
    fn id(&self) -> u64;

    /// Whose event loop it runs.
    fn backend(&self) -> Backend;

    /// Whether its thread has ended.
    fn has_ended(&self) -> bool;
}

/// What became of a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// No: there are enough of them, or their Caller stops.
    No,
    /// It is in the pool.
    Yes,
    /// It is in the pool, and the first one there whose time will be up: the actor needs a timer.
    First,
}

impl<W: Worker> Pool<W> {
    /// An empty one.
    pub fn new() -> Self {
        Self { state: Mutex::new(State { idle: Vec::new(), is_swept: false, closed: false }) }
    }

    /// Takes out a worker with this event loop.
    pub fn take(&self, backend: Backend) -> Option<W> {
        let fits = |idle: &Idle<W>| idle.worker.backend() == backend && !idle.worker.has_ended();
        let mut state = self.lock();
        let at = state.idle.iter().rposition(fits)?;
        Some(state.idle.remove(at).worker)
    }

    /// Puts in a worker if there are fewer than `keep`, for `linger` or, without it, without end.
    pub fn put(&self, worker: W, keep: usize, linger: Option<Duration>) -> Kept {
        let until = linger.and_then(|linger| Instant::now().checked_add(linger));
        let mut state = self.lock();
        let known = state.idle.iter().any(|idle| idle.worker.id() == worker.id());
        if known || state.closed || state.idle.len() >= keep {
            return if known { Kept::Yes } else { Kept::No };
        }
        state.idle.push(Idle { worker, until });
        if until.is_some() && !state.is_swept {
            state.is_swept = true;
            return Kept::First;
        }
        Kept::Yes
    }

    /// Takes out the worker with this id.
    pub fn remove(&self, id: u64) {
        // Dropped after unlocking: an address may be the last one of its actor.
        let mut state = self.lock();
        let at = state.idle.iter().position(|idle| idle.worker.id() == id);
        let worker = at.map(|at| state.idle.remove(at));
        drop(state);
        drop(worker);
    }

    /// Takes out those whose time is up. Returns them, and when to call this again; if None, after the next
    /// [`Kept::First`].
    pub fn expired(&self, now: Instant) -> (Vec<W>, Option<Duration>) {
        let mut state = self.lock();
        let is_over = |idle: &mut Idle<W>| idle.until.is_some_and(|until| until <= now);
        let expired = state.idle.extract_if(.., is_over).map(|idle| idle.worker).collect();
        let next = state.idle.iter().filter_map(|idle| idle.until).min();
        state.is_swept = next.is_some();
        (expired, next.map(|next| next.saturating_duration_since(now)))
    }

    /// Empties the pool and closes it.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // Every critical section leaves the pool whole, even one that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
