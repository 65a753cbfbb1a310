//! A result that is not there yet, and everything that may happen to it from any thread: it is completed,
//! cancelled and waited for, by Python threads and by actors. No step needs the GIL.
//!
//! What Python calls a `Pending` is one of these and the Python objects that belong to it (the value, the
//! callbacks). An actor only ever sees this side, so it can hold and drop one on any thread.

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
    /// With a value. Which one, Python knows; it is None if an actor completed it.
    Value,
    /// With an exception that Python knows.
    Error,
    /// Nobody is going to complete it with a value any more; set by an actor.
    Lost {
        /// The name of the exception, such as `CallerStopped`.
        ename: String,
        /// What happened and what to do next.
        evalue: String,
    },
    /// It was cancelled. So is one that ends in another way after its cancellation was asked for: a
    /// cancellation cannot be undone.
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
    /// Why it is to be cancelled. Set as soon as that is asked for, which may be long before it ends.
    message: Option<String>,
    /// Who carries out a cancellation.
    canceller: Option<Waker>,
    /// Who waits for the end, first come first.
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
    /// One that is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends it and wakes all who wait. False if it had ended already.
    pub fn complete(&self, outcome: Outcome) -> bool {
        self.settle(outcome).is_some()
    }

    /// Ends it, and leaves it to the caller when those who wait are woken: when he drops them. None if it had
    /// ended already.
    pub fn settle(&self, outcome: Outcome) -> Option<Waiters> {
        // Nothing is woken or dropped with the lock held: that may run anybody's code.
        let settled = self.lock().settle(outcome);
        settled.map(|(_canceller, waiters)| waiters)
    }

    /// Asks for its cancellation: ends it at once, or wakes who is to carry that out. Asking again adds to the
    /// message. True if it is cancelled or going to be, false if it ended before anybody asked.
    pub fn cancel(&self, message: Option<&str>) -> bool {
        match self.ask(message) {
            Asked::Ended => return self.cancelled(),
            Asked::Canceller(canceller) => canceller.wake(),
            Asked::Nobody => {
                self.complete(Outcome::Cancelled);
            }
        }
        true
    }

    /// The first half of [`cancel`](Self::cancel): takes note that its cancellation is asked for, and leaves the
    /// rest to the caller.
    pub fn ask(&self, message: Option<&str>) -> Asked {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return Asked::Ended;
        }
        state.note(message);
        state.canceller.clone().map_or(Asked::Nobody, Asked::Canceller)
    }

    /// From now on, who asks for a cancellation wakes `canceller`, and it is his to complete it. If somebody has
    /// asked already, he is woken at once. False if it has ended already.
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

    /// Has `waker` woken when it ends. Returns an id to [forget](Self::forget) it by; None if it has ended
    /// already, and then nobody is woken.
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

    /// Does not wake this one any more. Does nothing if he has been woken.
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

    /// Whether its cancellation was asked for. It may still be open.
    pub fn cancelled(&self) -> bool {
        self.lock().message.is_some()
    }

    /// Why its cancellation was asked for, one reason a line; empty if nobody gave one. None if nobody asked.
    pub fn message(&self) -> Option<String> {
        self.lock().message.clone()
    }

    /// Waits for its end. For actors: Python threads use [`on_done`](Self::on_done) with a waker of their own.
    pub fn wait(self: &Arc<Self>) -> Wait {
        Wait { pending: self.clone(), id: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, even one that panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is to carry out a cancellation that was [asked for](Pending::ask).
#[must_use]
pub enum Asked {
    /// It has ended: there is nothing to be done.
    Ended,
    /// This one is to be woken, and completes it.
    Canceller(Waker),
    /// It is to be completed at once.
    Nobody,
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

/// Those who have waited for something that has ended. Dropping it wakes them, first come first.
#[must_use = "who waits is woken when this is dropped"]
pub struct Waiters(Vec<(u64, Waiter)>);

impl Waiters {
    /// Whether some of them wait behind an inbox.
    pub fn have_tokens(&self) -> bool {
        self.0.iter().any(|(_, waiter)| matches!(waiter, Waiter::Token(..)))
    }

    /// Takes out those who wait behind one inbox. It is up to the caller, who must be the thread that drains it, to
    /// wake them.
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

/// The duty to complete a [`Pending`], as an actor has it. If it is dropped, because the actor has ended or its
/// mailbox is gone, the pending is [lost](Outcome::Lost), so that nobody waits for ever.
pub struct Promise(Arc<Pending>);

impl Promise {
    /// Who holds this has to complete `pending`.
    pub fn new(pending: Arc<Pending>) -> Self {
        Self(pending)
    }

    /// Completes it and wakes all who wait. False if it had ended already.
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
