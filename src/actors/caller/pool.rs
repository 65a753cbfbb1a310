//! The workers of a Caller that have nothing to do.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::CallerHandle;
use crate::wire::run_mode::Backend;

/// Shared by the actor of a Caller and its Python side, so that `to_thread` finds a worker without a round trip.
pub struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who has waited for the shortest time is last, and first to be taken: the others are on their way out.
    idle: Vec<Worker>,
    /// The actor looks for those whose time is up, or is going to.
    is_swept: bool,
    closed: bool,
}

struct Worker {
    handle: CallerHandle,
    /// When its time is up.
    until: Option<Instant>,
}

/// What became of a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// There are enough of them, or their Caller stops.
    No,
    /// It is in the pool.
    Yes,
    /// It is in the pool, and the first one there whose time is going to be up: somebody has to look after that.
    First,
}

impl Pool {
    /// An empty one.
    pub fn new() -> Self {
        Self { state: Mutex::default() }
    }

    /// Takes out a worker with this event loop.
    pub fn take(&self, backend: Backend) -> Option<CallerHandle> {
        let fits = |worker: &Worker| {
            worker.handle.spec.backend == backend && !worker.handle.ended.load(Ordering::SeqCst)
        };
        let mut state = self.lock();
        let at = state.idle.iter().rposition(fits)?;
        Some(state.idle.remove(at).handle)
    }

    /// Puts in a worker, if there are fewer than `keep`; for `linger` or, without it, for ever.
    pub fn put(&self, handle: CallerHandle, keep: usize, linger: Option<Duration>) -> Kept {
        let until = linger.and_then(|linger| Instant::now().checked_add(linger));
        let mut state = self.lock();
        let known = state.idle.iter().any(|worker| worker.handle.spec.id == handle.spec.id);
        if known || state.closed || state.idle.len() >= keep {
            return if known { Kept::Yes } else { Kept::No };
        }
        state.idle.push(Worker { handle, until });
        if until.is_some() && !state.is_swept {
            state.is_swept = true;
            return Kept::First;
        }
        Kept::Yes
    }

    /// Takes out the worker with this id.
    pub fn remove(&self, id: u64) {
        // What is taken out is dropped with the lock open: an address may be the last one of its actor.
        let mut state = self.lock();
        let at = state.idle.iter().position(|worker| worker.handle.spec.id == id);
        let worker = at.map(|at| state.idle.remove(at));
        drop(state);
        drop(worker);
    }

    /// Takes out those whose time is up. Returns them, and in how long it will be up for the next one; without that
    /// nobody looks after it until [`Kept::First`].
    pub fn expired(&self, now: Instant) -> (Vec<CallerHandle>, Option<Duration>) {
        let mut state = self.lock();
        let is_over = |worker: &mut Worker| worker.until.is_some_and(|until| until <= now);
        let expired = state.idle.extract_if(.., is_over).map(|worker| worker.handle).collect();
        let next = state.idle.iter().filter_map(|worker| worker.until).min();
        state.is_swept = next.is_some();
        (expired, next.map(|next| next.saturating_duration_since(now)))
    }

    /// Keeps nobody any more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the pool whole, even one that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}
