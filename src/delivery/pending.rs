//! A result that is not there yet, and everything that may happen to it from any thread: it is completed,
//! cancelled and waited for, by Python threads and by actors. No step needs the GIL.
//!
//! What Python calls a `Pending` is one of these and the Python objects that belong to it (the value, the
//! callbacks). An actor only ever sees this side, so it can hold and drop one on any thread.

use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::actors::caller::Task;
use crate::delivery::inbox::Inbox;

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

    /// As [`on_done`](Self::on_done), for what a thread with an inbox has registered there. Does the same as
    /// [`Task::waker`], but that thread can [take it out](Waiters::take_tokens) again.
    pub fn on_done_at(&self, inbox: Arc<Inbox<Task>>, token: u64) -> Option<u64> {
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

enum Waiter {
    Waker(Waker),
    Token(Arc<Inbox<Task>>, u64),
}

impl Waiter {
    fn wake(self) {
        match self {
            Self::Waker(waker) => waker.wake(),
            // Nobody waits behind an inbox that is closed.
            Self::Token(inbox, token) => drop(inbox.push(Task::Wake(token))),
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
    pub fn take_tokens(&mut self, of: &Arc<Inbox<Task>>) -> Vec<u64> {
        let theirs = |waiter: &mut (u64, Waiter)| match &waiter.1 {
            Waiter::Token(inbox, token) if Arc::ptr_eq(inbox, of) => Some(*token),
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant};

    use super::*;

    /// How long a thread may wait for what must come, before the test fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn count() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn lost() -> Outcome {
        Outcome::Lost { ename: "CallerStopped".into(), evalue: "it has stopped".into() }
    }

    #[test]
    fn is_completed_once() {
        let pending = Pending::new();
        assert!(!pending.done());
        assert!(pending.complete(lost()));
        assert!(!pending.complete(Outcome::Value));
        assert!(!pending.cancel(Some("too late")));
        assert_eq!(pending.outcome(), Some(lost()));
        assert!(!pending.cancelled());
        assert_eq!(pending.message(), None);
    }

    #[test]
    fn wakes_in_order_and_only_who_still_waits() {
        struct Note(usize, Mutex<Arc<Mutex<Vec<usize>>>>);
        impl Wake for Note {
            fn wake(self: Arc<Self>) {
                self.1.lock().unwrap().lock().unwrap().push(self.0);
            }
        }
        let woken = Arc::new(Mutex::new(Vec::new()));
        let pending = Pending::new();
        let ids: Vec<_> = (0..5)
            .map(|n| pending.on_done(Arc::new(Note(n, Mutex::new(woken.clone()))).into()).unwrap())
            .collect();
        pending.forget(ids[3]);
        pending.forget(ids[3]);
        pending.complete(Outcome::Value);
        pending.forget(ids[0]);
        assert_eq!(*woken.lock().unwrap(), [0, 1, 2, 4]);
        assert_eq!(pending.on_done(Waker::noop().clone()), None);
    }

    #[test]
    fn who_settles_decides_when_to_wake() {
        let (count, waker) = count();
        let pending = Pending::new();
        pending.on_done(waker).unwrap();
        let waiters = pending.settle(Outcome::Value).unwrap();
        assert!(pending.done());
        assert_eq!(count.get(), 0);
        drop(waiters);
        assert_eq!(count.get(), 1);
        assert!(pending.settle(Outcome::Value).is_none());
    }

    #[test]
    fn tokens_go_to_their_inbox_or_to_who_takes_them() {
        let tokens = |inbox: &Inbox<Task>| -> Vec<u64> {
            let token =
                |work| if let Task::Wake(token) = work { token } else { panic!("a token was to come") };
            inbox.drain().into_iter().map(token).collect()
        };
        let [mine, other] = [0, 1].map(|_| Arc::new(Inbox::new().unwrap()));
        let (count, waker) = count();
        let pending = Pending::new();
        pending.on_done_at(mine.clone(), 1).unwrap();
        pending.on_done(waker).unwrap();
        pending.on_done_at(other.clone(), 2).unwrap();
        pending.on_done_at(mine.clone(), 3).unwrap();
        let mut waiters = pending.settle(Outcome::Value).unwrap();
        assert!(waiters.have_tokens());
        assert_eq!(waiters.take_tokens(&mine), [1, 3]);
        assert!(waiters.have_tokens());
        drop(waiters);
        assert_eq!((tokens(&mine), tokens(&other), count.get()), (vec![], vec![2], 1));
    }

    #[test]
    fn cancel_without_a_canceller_ends_it() {
        let (count, waker) = count();
        let pending = Pending::new();
        pending.on_done(waker).unwrap();
        assert!(pending.cancel(None));
        assert_eq!(pending.outcome(), Some(Outcome::Cancelled));
        assert_eq!(pending.message().as_deref(), Some(""));
        assert_eq!(count.get(), 1);
        assert!(pending.cancel(Some("again")), "still cancelled");
        assert_eq!(pending.message().as_deref(), Some(""), "and why is settled");
    }

    #[test]
    fn cancel_with_a_canceller_asks_it() {
        let (asked, canceller) = count();
        let pending = Pending::new();
        assert!(pending.set_canceller(canceller));
        assert!(pending.cancel(Some("one")));
        assert!(pending.cancel(None));
        assert!(pending.cancel(Some("two")));
        assert!(!pending.done());
        assert!(pending.cancelled());
        assert_eq!(asked.get(), 3);
        assert_eq!(pending.message().as_deref(), Some("one\ntwo"));
        assert!(pending.complete(Outcome::Value), "that was the canceller, or somebody who came before him");
        assert_eq!(pending.outcome(), Some(Outcome::Cancelled), "a cancellation cannot be undone");
        assert!(!pending.set_canceller(Waker::noop().clone()));
    }

    #[test]
    fn a_new_canceller_learns_of_an_old_cancellation() {
        let pending = Pending::new();
        pending.set_canceller(Waker::noop().clone());
        pending.cancel(None);
        let (asked, canceller) = count();
        pending.set_canceller(canceller);
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn what_was_asked_for_happens_whoever_carries_it_out() {
        let (asked, canceller) = count();
        let pending = Pending::new();
        assert!(matches!(pending.ask(None), Asked::Nobody));
        pending.set_canceller(canceller);
        assert!(matches!(pending.ask(Some("why")), Asked::Canceller(_)));
        assert_eq!(asked.get(), 1, "by set_canceller(), not by ask()");
        assert!(pending.cancelled() && !pending.done());
        pending.complete(Outcome::Error);
        assert_eq!(pending.outcome(), Some(Outcome::Cancelled));
        assert!(matches!(pending.ask(Some("more")), Asked::Ended));
        assert_eq!(pending.message().as_deref(), Some("why"));
    }

    #[test]
    fn a_promise_that_is_dropped_is_lost_and_says_so() {
        let pending = Arc::new(Pending::new());
        let promise = Promise::new(pending.clone());
        assert!(!promise.cancelled());
        drop(promise);
        assert!(matches!(pending.outcome(), Some(Outcome::Lost { ename, .. }) if ename == "PendingLost"));

        let pending = Arc::new(Pending::new());
        assert!(Promise::new(pending.clone()).complete(Outcome::Value));
        assert_eq!(pending.outcome(), Some(Outcome::Value));
    }

    #[test]
    fn an_actor_can_wait() {
        let pending = Arc::new(Pending::new());
        let mut dropped = pending.wait();
        assert!(Pin::new(&mut dropped).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(pending.lock().waiters.len(), 1);
        drop(dropped);
        assert_eq!(pending.lock().waiters.len(), 0);

        let completer = pending.clone();
        let outcome = actix::System::new().block_on(async move {
            let wait = pending.wait();
            let thread = thread::spawn(move || completer.complete(lost()));
            let outcome = tokio::time::timeout(PATIENCE, wait).await.unwrap();
            thread.join().unwrap();
            assert_eq!(pending.wait().await, outcome, "waiting for what has ended does not wait");
            outcome
        });
        assert_eq!(outcome, lost());
    }

    /// Wakes a thread that is parked.
    struct Unpark(Thread, AtomicUsize);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(1, Ordering::SeqCst);
            self.0.unpark();
        }
    }

    fn wait_for_it(pending: &Pending) -> Outcome {
        let woken = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
        let start = Instant::now();
        if pending.on_done(woken.clone().into()).is_some() {
            while woken.1.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(PATIENCE);
                assert!(start.elapsed() < PATIENCE, "a wake-up was lost");
            }
        }
        pending.outcome().unwrap()
    }

    #[test]
    fn eight_threads_and_20_000_rounds() {
        // In each round some complete, some cancel, some carry out a cancellation, some wait and some give up
        // waiting, all at once. Exactly one ends it, and all who wait see the same end.
        const ROUNDS: usize = 20_000;
        const THREADS: usize = 8;
        const SHARED: usize = 32;

        let rounds: Arc<Vec<_>> = Arc::new((0..ROUNDS).map(|_| Pending::new()).collect());
        let ended: Arc<Vec<_>> = Arc::new((0..ROUNDS).map(|_| AtomicUsize::new(0)).collect());
        let barrier = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (rounds, ended, barrier) = (rounds.clone(), ended.clone(), barrier.clone());
                thread::spawn(move || {
                    let mut seen = Vec::with_capacity(ROUNDS);
                    for (round, pending) in rounds.iter().enumerate() {
                        if round % SHARED == 0 {
                            barrier.wait();
                        }
                        let settle = |outcome| {
                            if pending.complete(outcome) {
                                ended[round].fetch_add(1, Ordering::SeqCst);
                            }
                        };
                        match (round + me) % THREADS {
                            0 => settle(Outcome::Value),
                            1 => settle(lost()),
                            2 => {
                                // Carries out a cancellation, if one comes before the end.
                                let asked = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
                                pending.set_canceller(asked.clone().into());
                                pending.cancel(Some("me"));
                                if asked.1.load(Ordering::SeqCst) == 1 {
                                    settle(Outcome::Cancelled);
                                }
                            }
                            3 => {
                                pending.cancel(Some("other"));
                            }
                            4 => {
                                if let Some(id) = pending.on_done(Waker::noop().clone()) {
                                    pending.forget(id);
                                }
                            }
                            _ => {}
                        }
                        seen.push(wait_for_it(pending));
                    }
                    seen
                })
            })
            .collect();
        let mut seen: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let first = seen.pop().unwrap();
        for other in seen {
            assert!(other == first, "all see the same end");
        }
        for (ended, outcome) in ended.iter().zip(first) {
            let ended = ended.load(Ordering::SeqCst);
            assert!(
                ended == 1 || (ended == 0 && outcome == Outcome::Cancelled),
                "ended {ended} times: {outcome:?}"
            );
        }
    }
}
