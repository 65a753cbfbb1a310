#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::*;
use crate::actors::caller::Task;
use crate::delivery::inbox::Inbox;

/// How long a thread waits before the test fails.
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
fn wakes_waiters_in_order_and_no_forgotten_one() {
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
fn waiters_are_woken_when_they_are_dropped() {
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
fn tokens_go_to_their_inbox_or_are_taken_out() {
    let tokens = |inbox: &Inbox<Task>| -> Vec<u64> {
        let token = |work| if let Task::Wake(token) = work { token } else { panic!("a token was to come") };
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
fn cancel_wakes_the_canceller() {
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
    assert!(pending.complete(Outcome::Value), "the canceller completes it, or another thread before");
    assert_eq!(pending.outcome(), Some(Outcome::Cancelled), "a cancellation cannot be undone");
    assert!(!pending.set_canceller(Waker::noop().clone()));
}

#[test]
fn a_late_canceller_is_woken_at_once() {
    let pending = Pending::new();
    pending.set_canceller(Waker::noop().clone());
    pending.cancel(None);
    let (asked, canceller) = count();
    pending.set_canceller(canceller);
    assert_eq!(asked.get(), 1);
}

#[test]
fn a_requested_cancellation_is_the_outcome_of_any_end() {
    let (asked, canceller) = count();
    let pending = Pending::new();
    assert!(matches!(pending.ask(None), Asked::AtOnce));
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
fn a_dropped_promise_is_lost_and_says_so() {
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
    // waiting, all at once. Exactly one ends it, and all waiters see the same end.
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
