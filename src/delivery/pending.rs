//! A result that is not there yet. Python threads and actors complete it, cancel it and wait for it, on any thread and
//! without the GIL.
//!
//! Python's `Pending` is one of these with the Python objects that belong to it (the value, the callbacks). Actors see
//! this side only, so they can hold and drop it on any thread.

use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tracing::debug;

/// How a [`Pending`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a value, which Python holds. It is None if an actor has completed it.
    Value,
    /// With an exception, which Python holds.
    Error,
    /// It will never have a value. Set by an actor.
    Lost {
        /// The name of the exception, such as `CallerStopped`.
        ename: String,
        /// What happened and what to do next.
        evalue: String,
    },
    /// It was cancelled. So is one that ends in another way after its cancellation was requested: that cannot be undone.
    Cancelled,
}

/// A result that is not there yet.
#[derive(Default)]
pub struct Pending {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How it ended, once it has.
    outcome: Option<Outcome>,
    /// Why it is to be cancelled. Set when that is requested, which may be long before the end.
    message: Option<String>,
    /// Carries out a cancellation.
    canceller: Option<Waker>,
    /// Those that wait for the end, in order.
    waiters: Vec<(u64, Waiter)>,
    next_id: u64,
}

impl State {
    fn settle(&mut self, outcome: Outcome) -> Option<(Option<Waker>, Waiters)> {
        if self.outcome.is_some() {
            return None;
        }
        self.outcome = Some(if self.message.is_some() { Outcome::Cancelled } else { outcome });
        Some((self.canceller.take(), Waiters(mem::take(&mut self.waiters))))
    }

    fn note(&mut self, message: Option<&str>) {
        let known = self.message.get_or_insert_default();
        let Some(more) = message else {
            return;
        };
        if !known.is_empty() && !more.is_empty() {
            known.push('\n');
        }
        known.push_str(more);
    }
}

impl Pending {
    /// An open one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends it and wakes all waiters. False if it had ended already.
    pub fn complete(&self, outcome: Outcome) -> bool {
        self.settle(outcome).is_some()
    }

    /// Ends it and returns the waiters, which are woken when they are dropped. None if it had ended already.
    pub fn settle(&self, outcome: Outcome) -> Option<Waiters> {
        // Wakes and drops nothing with the lock held: that may run foreign code.
        let settled = self.lock().settle(outcome);
        settled.map(|(_canceller, waiters)| waiters)
    }

    /// Requests its cancellation: wakes the canceller or, without one, ends it at once. Further requests add to the
    /// message. True if it is cancelled or going to be, false if it ended before the first request.
    pub fn cancel(&self, message: Option<&str>) -> bool {
        match self.ask(message) {
            Asked::Ended => return self.cancelled(),
            Asked::Canceller(canceller) => canceller.wake(),
            Asked::AtOnce => {
                self.complete(Outcome::Cancelled);
            }
        }
        true
    }

    /// The first half of [`cancel`](Self::cancel): notes the request and leaves the rest to the calling code.
    pub fn ask(&self, message: Option<&str>) -> Asked {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return Asked::Ended;
        }
        state.note(message);
        state.canceller.clone().map_or(Asked::AtOnce, Asked::Canceller)
    }

    /// From now on a request for its cancellation wakes `canceller`, which must complete it; one that has come already
    /// wakes it at once. False if it has ended already.
    pub fn set_canceller(&self, canceller: Waker) -> bool {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return false;
        }
        let asked = state.message.is_some().then(|| canceller.clone());
        let before = state.canceller.replace(canceller);
        drop(state);
        drop(before);
        if let Some(asked) = asked {
            asked.wake();
        }
        true
    }

    /// Wakes `waker` when it ends. Returns an id to [forget](Self::forget) it by; None, and nothing is woken, if it has
    /// ended already.
    pub fn on_done(&self, waker: Waker) -> Option<u64> {
        self.add(Waiter::Waker(waker))
    }

    /// As [`on_done`](Self::on_done), for what the reader of an inbox has registered under `token`. That thread can
    /// [take the token out](Waiters::take_tokens) again, which it cannot do with a waker.
    pub fn on_done_at(&self, inbox: Arc<dyn TokenSink>, token: u64) -> Option<u64> {
        self.add(Waiter::Token(inbox, token))
    }

    fn add(&self, waiter: Waiter) -> Option<u64> {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiters.push((id, waiter));
        Some(id)
    }

    /// Takes this waiter out. Does nothing if it has been woken.
    pub fn forget(&self, id: u64) {
        let mut state = self.lock();
        // The ids are in order.
        if let Ok(at) = state.waiters.binary_search_by_key(&id, |(id, _)| *id) {
            let waiter = state.waiters.remove(at);
            drop(state);
            drop(waiter);
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.lock().outcome.clone()
    }

    /// Whether it has ended.
    pub fn done(&self) -> bool {
        self.lock().outcome.is_some()
    }

    /// Whether its cancellation was requested. It may still be open.
    pub fn cancelled(&self) -> bool {
        self.lock().message.is_some()
    }

    /// Why its cancellation was requested, one reason a line; empty without reasons. None if it was not requested.
    pub fn message(&self) -> Option<String> {
        self.lock().message.clone()
    }

    /// Waits for its end. For actors; Python threads use [`on_done`](Self::on_done) with a waker of their own.
    pub fn wait(self: &Arc<Self>) -> Wait {
        Wait { pending: self.clone(), id: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, even one that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What carries out a cancellation that was [requested](Pending::ask).
#[must_use]
pub enum Asked {
    /// It has ended: do nothing.
    Ended,
    /// Wake this canceller, which completes it.
    Canceller(Waker),
    /// Complete it at once.
    AtOnce,
}

/// An inbox that takes tokens. Its reader calls what it has registered under each.
pub trait TokenSink: Send + Sync {
    /// Puts a token in and wakes the reader. False if the reader has ended.
    fn wake(&self, token: u64) -> bool;
}

enum Waiter {
    Waker(Waker),
    Token(Arc<dyn TokenSink>, u64),
}

impl Waiter {
    fn wake(self) {
        match self {
            Self::Waker(waker) => waker.wake(),
            Self::Token(inbox, token) => {
                if !inbox.wake(token) {
                    debug!(token, "the thread that waited has ended");
                }
            }
        }
    }
}

/// The waiters of a pending that has ended. Dropping this wakes them, in order.
#[must_use = "waiters are woken when this is dropped"]
pub struct Waiters(Vec<(u64, Waiter)>);

impl Waiters {
    /// Whether an inbox is among them.
    pub fn have_tokens(&self) -> bool {
        self.0.iter().any(|(_, waiter)| matches!(waiter, Waiter::Token(..)))
    }

    /// Takes out the tokens of one inbox. The calling thread must be the one that drains it, and calls what they stand
    /// for itself.
    pub fn take_tokens<S: TokenSink>(&mut self, of: &Arc<S>) -> Vec<u64> {
        let theirs = |waiter: &mut (u64, Waiter)| match &waiter.1 {
            Waiter::Token(inbox, token) if ptr::addr_eq(Arc::as_ptr(inbox), Arc::as_ptr(of)) => Some(*token),
            _ => None,
        };
        let tokens = self.0.iter_mut().filter_map(theirs).collect();
        self.0.retain_mut(|waiter| theirs(waiter).is_none());
        tokens
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        for (_, waiter) in self.0.drain(..) {
            waiter.wake();
        }
    }
}

/// A future that is ready when a [`Pending`] has ended. Dropping it ends the wait and nothing else.
pub struct Wait {
    pending: Arc<Pending>,
    id: Option<u64>,
}

impl Wait {
    fn forget(&mut self) {
        if let Some(id) = self.id.take() {
            self.pending.forget(id);
        }
    }
}

impl Future for Wait {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        self.forget();
        self.id = self.pending.on_done(context.waker().clone());
        match self.pending.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The duty of an actor to complete a [`Pending`]. If it is dropped, because the actor or its mailbox has ended, the
/// pending is [lost](Outcome::Lost): no thread waits without end.
pub struct Promise(Arc<Pending>);

impl Promise {
    /// The duty to complete `pending`.
    pub fn new(pending: Arc<Pending>) -> Self {
        Self(pending)
    }

    /// Completes it and wakes all waiters. False if it had ended already.
    #[allow(clippy::must_use_candidate)]
    pub fn complete(self, outcome: Outcome) -> bool {
        self.0.complete(outcome)
    }
}

impl Deref for Promise {
    type Target = Arc<Pending>;

    fn deref(&self) -> &Arc<Pending> {
        &self.0
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.complete(Outcome::Lost {
            ename: "PendingLost".into(),
            evalue: "the part of the kernel that was to complete this has ended: ask for it again".into(),
        });
    }
}

#[cfg(test)]
mod tests;
