//! Callers and their children, in a program that runs no kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use callboard::actors::caller::{
    Adopt, Caller, CallerError, CallerHandle, Forget, GetChild, Role, Spec, Stop, Task, WORKER,
};
use callboard::wire::run_mode::{Backend, CallerOptions};
use support::{block_on, end_thread, get_child, is_stopped, next_work};

fn free(name: &str) -> CallerHandle {
    Caller::launch_free(Spec::new(name, Role::Named)).unwrap()
}

fn named(name: &str) -> CallerOptions {
    CallerOptions { name: Some(name.to_owned()), ..CallerOptions::default() }
}

fn on(backend: Backend) -> CallerOptions {
    CallerOptions { backend: Some(backend), ..CallerOptions::default() }
}

/// A new child.
#[track_caller]
fn new_child(of: &CallerHandle, options: CallerOptions, worker: bool) -> CallerHandle {
    let (child, made) = get_child(of, options, worker).unwrap();
    assert!(made, "{:?} was there before", child.spec.name);
    child
}

#[track_caller]
fn new_worker(of: &CallerHandle) -> CallerHandle {
    new_child(of, CallerOptions::default(), true)
}

/// The idle worker that is used next.
#[track_caller]
fn idle_worker(of: &CallerHandle) -> u64 {
    let (worker, made) = get_child(of, CallerOptions::default(), true).unwrap();
    assert!(!made, "there was no idle worker");
    worker.spec.id
}

fn idle(parent: &CallerHandle, worker: &CallerHandle, keep: usize, linger: Option<Duration>) {
    if !parent.keep(worker.clone(), keep, linger) {
        parent.addr.do_send(Forget(worker.spec.id));
        worker.addr.do_send(Stop);
    }
}

/// Waits until a Caller has handled earlier messages. It has no child with this id.
#[track_caller]
fn handled(caller: &CallerHandle) {
    block_on(caller.addr.send(Forget(0))).unwrap();
}

#[test]
fn children_are_found_by_name_or_made() {
    let root = free("root");
    assert_eq!((&*root.spec.name, root.spec.parent), ("root", None));
    let child = new_child(&root, named("a"), false);
    assert_eq!((&*child.spec.name, child.spec.parent), ("a", Some(root.spec.id)));
    assert_eq!((child.spec.backend, &child.spec.role), (Backend::Asyncio, &Role::Named));
    for worker in [false, true] {
        let (found, made) = get_child(&root, named("a"), worker).unwrap();
        assert!(!made && Arc::ptr_eq(&found.inbox, &child.inbox));
    }
    let other = new_child(&root, named("b"), true);
    assert_eq!(other.spec.role, Role::Named, "a named child is no worker");
    // A child of a child is another one.
    let grandchild = new_child(&child, named("b"), false);
    assert_eq!(grandchild.spec.parent, Some(child.spec.id));
    let ids: HashSet<u64> = [&root, &child, &other, &grandchild].map(|handle| handle.spec.id).into();
    assert_eq!(ids.len(), 4);
}

#[test]
fn without_a_name_each_is_new_unless_a_worker_will_do() {
    let root = free("root");
    let one = new_child(&root, CallerOptions::default(), false);
    let two = new_child(&root, CallerOptions::default(), false);
    assert_eq!((&one.spec.role, &two.spec.role), (&Role::Unnamed, &Role::Unnamed));
    assert_eq!(new_worker(&root).spec.role, Role::Worker);
    // The first one has not become idle.
    new_worker(&root);
}

#[test]
fn children_have_the_backend_of_their_parent_unless_told_otherwise() {
    let spec = Spec { backend: Backend::Trio, use_uvloop: Some(false), ..Spec::new("root", Role::Named) };
    let root = Caller::launch_free(spec).unwrap();
    let child = new_child(&root, named("a"), false);
    assert_eq!((child.spec.backend, child.spec.use_uvloop), (Backend::Trio, Some(false)));
    let options = CallerOptions { use_uvloop: Some(true), ..on(Backend::Asyncio) };
    let child = new_child(&root, CallerOptions { name: Some("b".into()), ..options }, false);
    assert_eq!((child.spec.backend, child.spec.use_uvloop), (Backend::Asyncio, Some(true)));
    // Without a backend it is found, too.
    assert!(!get_child(&root, named("b"), false).unwrap().1);
    let wrong = CallerOptions { name: Some("b".into()), ..on(Backend::Trio) };
    let problem = get_child(&root, wrong, false).err().unwrap();
    let expected = CallerError::Backend { name: "b".into(), has: Backend::Asyncio, wanted: Backend::Trio };
    assert_eq!(problem, expected);
    assert_eq!(
        problem.to_string(),
        "the Caller \"b\" runs on asyncio, not on trio: use another name, or leave the backend out"
    );
}

#[test]
fn the_worker_that_was_idle_last_is_used_first_and_a_busy_one_never() {
    let root = free("root");
    let workers = [new_worker(&root), new_worker(&root), new_worker(&root)];
    for worker in &workers {
        idle(&root, worker, 3, None);
    }
    for worker in workers.iter().rev() {
        assert_eq!(idle_worker(&root), worker.spec.id);
    }
    let fourth = new_worker(&root);
    // One that comes back is used again.
    idle(&root, &fourth, 3, None);
    idle(&root, &workers[1], 3, None);
    assert_eq!(idle_worker(&root), workers[1].spec.id);
    assert_eq!(idle_worker(&root), fourth.spec.id);
}

#[test]
fn a_worker_is_used_for_its_own_backend_only() {
    let root = free("root");
    let asyncio = new_worker(&root);
    idle(&root, &asyncio, 9, None);
    let trio = new_child(&root, on(Backend::Trio), true);
    idle(&root, &trio, 9, None);
    let found = |backend| get_child(&root, on(backend), true).unwrap().0.spec.id;
    assert_eq!(found(Backend::Asyncio), asyncio.spec.id);
    assert_eq!(found(Backend::Trio), trio.spec.id);
}

#[test]
fn a_worker_is_not_found_by_its_name() {
    let root = free("root");
    let worker = new_worker(&root);
    let child = new_child(&root, named(WORKER), false);
    assert_eq!((&child.spec.role, &*child.spec.name), (&Role::Named, &*worker.spec.name));
}

#[test]
fn no_more_idle_workers_are_kept_than_asked_for() {
    let root = free("root");
    let workers: Vec<CallerHandle> = (0..4).map(|_| new_worker(&root)).collect();
    for worker in &workers {
        idle(&root, worker, 2, None);
    }
    is_stopped(&workers[2]);
    is_stopped(&workers[3]);
    assert_eq!(idle_worker(&root), workers[1].spec.id);
    assert_eq!(idle_worker(&root), workers[0].spec.id);
    idle(&root, &workers[0], 0, None);
    is_stopped(&workers[0]);
    // It is not handed out again, whether its thread has ended or not.
    new_worker(&root);
}

#[test]
fn an_idle_worker_ends_when_its_time_is_up() {
    let root = free("root");
    for linger in [Duration::ZERO, Duration::from_millis(3)] {
        let worker = new_worker(&root);
        idle(&root, &worker, 1, Some(linger));
        is_stopped(&worker);
        let next = new_worker(&root);
        // The end of its thread changes nothing.
        end_thread(&worker);
        idle(&root, &next, 0, None);
        is_stopped(&next);
    }
}

/// Waits for longer than `time`, by the clock of the Caller.
#[track_caller]
fn let_pass(root: &CallerHandle, time: Duration) {
    let clock = new_child(root, on(Backend::Trio), true);
    idle(root, &clock, usize::MAX, Some(time + Duration::from_millis(1)));
    is_stopped(&clock);
}

/// A worker that was idle and has been used again before `linger` was over, however slow this machine is.
#[track_caller]
fn used_in_time(root: &CallerHandle, linger: Duration) -> CallerHandle {
    loop {
        let worker = get_child(root, CallerOptions::default(), true).unwrap().0;
        let since = Instant::now();
        idle(root, &worker, 1, Some(linger));
        let (used, made) = get_child(root, CallerOptions::default(), true).unwrap();
        if !made {
            assert_eq!(used.spec.id, worker.spec.id);
            return used;
        }
        assert!(since.elapsed() >= linger, "it ended too early");
        end_thread(&used);
    }
}

#[test]
fn a_worker_that_is_used_in_time_does_not_end() {
    const LINGER: Duration = Duration::from_millis(20);
    let root = free("root");
    let worker = used_in_time(&root, LINGER);
    let_pass(&root, LINGER);
    idle(&root, &worker, 1, None);
    assert_eq!(idle_worker(&root), worker.spec.id);
    assert!(worker.inbox.is_empty());
}

#[test]
fn the_time_of_a_worker_starts_anew_when_its_work_is_done() {
    const LINGER: Duration = Duration::from_millis(20);
    for linger in [None, Some(Duration::from_secs(3600))] {
        let root = free("root");
        let worker = used_in_time(&root, LINGER);
        idle(&root, &worker, 1, linger);
        let_pass(&root, LINGER);
        assert_eq!(idle_worker(&root), worker.spec.id);
        assert!(worker.inbox.is_empty());
    }
}

#[test]
fn a_caller_keeps_only_workers_of_its_own() {
    let (root, other) = (free("root"), free("other"));
    let worker = new_worker(&root);
    // A worker of another Caller.
    idle(&other, &worker, 0, Some(Duration::ZERO));
    handled(&other);
    // One that has ended.
    end_thread(&worker);
    idle(&root, &worker, 1, None);
    new_worker(&root);
    assert!(worker.inbox.is_empty());
}

#[test]
fn stop_reaches_children_and_theirs_and_those_that_were_adopted() {
    let root = free("root");
    let children = [new_child(&root, named("a"), false), new_worker(&root), new_worker(&root)];
    idle(&root, &children[2], 9, None);
    let adopted = free("adopted");
    root.addr.do_send(Adopt(adopted.clone()));
    let grandchild = new_child(&children[0], named("b"), false);
    root.addr.do_send(Stop);
    for caller in children.iter().chain([&root, &adopted, &grandchild]) {
        is_stopped(caller);
    }
}

#[test]
fn a_child_that_stops_does_not_stop_its_parent_or_the_others() {
    let root = free("root");
    let (one, two) = (new_child(&root, named("a"), false), new_child(&root, named("b"), false));
    one.addr.do_send(Stop);
    is_stopped(&one);
    end_thread(&one);
    handled(&root);
    assert!(root.inbox.is_empty() && two.inbox.is_empty());
}

#[test]
fn a_thread_is_told_to_stop_after_what_it_has_to_do() {
    let root = free("root");
    for id in 0..3 {
        assert!(root.inbox.push(Task::Cancel(id)).is_ok());
    }
    root.addr.do_send(Stop);
    handled(&root);
    let work = next_work(&root.inbox);
    assert!(matches!(work[..], [Task::Cancel(0), Task::Cancel(1), Task::Cancel(2), Task::Stop]));
}

#[test]
fn a_caller_that_stops_takes_no_more_children() {
    for ended in [false, true] {
        let root = free("root");
        let child = new_child(&root, named("a"), false);
        if ended {
            end_thread(&root);
        } else {
            root.addr.do_send(Stop);
        }
        is_stopped(&child);
        for (options, worker) in [(named("a"), false), (named("b"), true), (CallerOptions::default(), true)] {
            let problem = get_child(&root, options, worker).err().unwrap();
            assert_eq!(problem, CallerError::Stopping("root".to_owned()));
        }
        let adopted = free("adopted");
        root.addr.do_send(Adopt(adopted.clone()));
        is_stopped(&adopted);
    }
}

#[test]
fn when_a_thread_has_ended_its_inbox_is_closed_and_its_name_is_free() {
    let root = free("root");
    for _ in 0..3 {
        let child = new_child(&root, named("a"), false);
        let grandchild = new_child(&child, named("b"), false);
        end_thread(&child);
        assert!(child.inbox.push(Task::Stop).is_err());
        is_stopped(&grandchild);
        // A second time changes nothing.
        end_thread(&child);
    }
}

/// Asks for a child and drops the receiver of the answer.
#[track_caller]
fn ask_and_go(root: &CallerHandle, options: CallerOptions, worker: bool) {
    let (answer, answered) = mpsc::channel();
    drop(answered);
    block_on(root.addr.send(GetChild { options, worker, answer })).unwrap();
}

#[test]
fn a_new_child_whose_asker_has_gone_is_removed() {
    let root = free("root");
    ask_and_go(&root, named("a"), false);
    // The first one has no thread.
    new_child(&root, named("a"), false);
    ask_and_go(&root, CallerOptions::default(), true);
    new_worker(&root);
}

#[test]
fn a_known_child_whose_asker_has_gone_stays() {
    let root = free("root");
    let child = new_child(&root, named("a"), false);
    ask_and_go(&root, named("a"), false);
    let (found, made) = get_child(&root, named("a"), false).unwrap();
    assert!(!made && found.spec.id == child.spec.id && child.inbox.is_empty());
    // A worker that was taken would never be idle again.
    let worker = new_worker(&root);
    idle(&root, &worker, 1, None);
    ask_and_go(&root, CallerOptions::default(), true);
    is_stopped(&worker);
    new_worker(&root);
}

#[test]
fn a_caller_without_handles_is_dropped() {
    let root = free("root");
    let child = new_child(&root, named("a"), false);
    let (inbox, of_grandchild) = (Arc::downgrade(&child.inbox), {
        let grandchild = new_worker(&child);
        end_thread(&grandchild);
        Arc::downgrade(&grandchild.inbox)
    });
    end_thread(&child);
    drop(child);
    // Actors end some turns of their thread after their last address is dropped.
    let gone = (0..1000).any(|_| {
        handled(&root);
        inbox.strong_count() + of_grandchild.strong_count() == 0
    });
    assert!(gone, "the inboxes are still there");
}
