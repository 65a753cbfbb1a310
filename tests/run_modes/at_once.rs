//! Tasks and threads beside a queue that is held.

use std::collections::HashSet;

use super::{PLACES, ran_on, with_mode};
use crate::support::{ALICE, KEPT, RAN, Sent, TestKernel, cell};
use callboard::actors::caller::{Role, WORKER};
use callboard::delivery::job::Channel;
use callboard::wire::content::ExecuteRequest;

#[test]
fn only_cells_of_the_queue_wait_for_it() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    for subshell_id in [None, Some(&*subshell)] {
        let (first, gate) = kernel.hold(subshell_id, "await gate");
        let silent = |code: &str| ExecuteRequest { silent: true, ..cell(code) };
        let shell = Channel::Shell;
        // In turns, so that each that waits has one behind it that does not.
        let mut waiting = vec![with_mode(&mut kernel, shell, subshell_id, "no place", "", cell("ok"))];
        let mut beside = Vec::new();
        for place in PLACES {
            for (mode, content) in [("task", cell("ok")), ("thread", cell("ok")), ("task", silent("ok"))] {
                beside.push(with_mode(&mut kernel, shell, subshell_id, place, mode, content));
            }
            for content in [cell("ok"), silent("ok")] {
                waiting.push(with_mode(&mut kernel, shell, subshell_id, place, "queue", content));
            }
        }
        // Silent, and so not in the queue.
        beside.push(with_mode(&mut kernel, shell, subshell_id, "no place", "", silent("ok")));

        let outcomes = kernel.outcomes(&beside.iter().collect::<Vec<_>>());
        for (at, outcome) in outcomes.iter().enumerate() {
            let is_silent = at % 3 == 2 || at == 12;
            assert_eq!(outcome, if is_silent { "busy idle; ok" } else { RAN }, "{at}");
        }
        kernel.release(&first, gate);
        for (at, sent) in waiting.iter().enumerate() {
            let is_silent = at > 0 && at % 2 == 0;
            assert_eq!(kernel.outcome(sent), if is_silent { "busy idle; ok" } else { RAN }, "{at}");
        }
    }
}

#[test]
fn the_2000_tasks_that_come_while_the_shell_is_held_are_all_answered() {
    let mut kernel = TestKernel::start();
    // In C code: no task can run.
    let (first, gate) = kernel.hold(None, "hold gate");
    let tasks: Vec<Sent> = (0..2000).map(|_| kernel.execute("# task\nok")).collect();
    kernel.all_has_arrived();
    kernel.release(&first, gate);
    for sent in &tasks {
        assert_eq!(kernel.outcome(sent), RAN);
    }
    // While it awaits: all of them run beside it.
    let (first, gate) = kernel.hold(None, "await gate");
    let tasks: Vec<Sent> = (0..2000).map(|_| kernel.execute("# task\nok")).collect();
    for sent in &tasks {
        assert_eq!(kernel.outcome(sent), RAN);
    }
    kernel.release(&first, gate);
}

#[test]
fn tasks_run_beside_tasks() {
    const COUNT: usize = 50;
    let mut kernel = TestKernel::start();
    let tasks: Vec<Sent> = (0..COUNT).map(|n| kernel.execute(&format!("# task\nawait {n}"))).collect();
    let tasks: Vec<&Sent> = tasks.iter().collect();
    let gates: Vec<_> = (0..COUNT).map(|n| kernel.held(&n.to_string())).collect();
    for story in kernel.iopub.stories(&tasks, |last| last == "input") {
        assert_eq!(story, "busy input");
    }
    drop(gates);
    assert_eq!(kernel.outcomes(&tasks), vec!["idle; ok"; COUNT]);
}

#[test]
fn threads_start_while_the_queue_is_held_500_at_once() {
    const COUNT: usize = 500;
    let mut kernel = TestKernel::start_unsigned();
    let (first, gate) = kernel.hold(None, "hold gate");
    let behind = kernel.execute("ok");
    let cells: Vec<Sent> = (0..COUNT).map(|n| kernel.execute(&format!("# thread\nhold {n}"))).collect();
    let cells: Vec<&Sent> = cells.iter().collect();
    let held: Vec<_> = (0..COUNT).map(|_| kernel.next_held()).collect();
    let names: HashSet<&str> = held.iter().map(|held| &*held.name).collect();
    assert_eq!(names.len(), COUNT);
    let started = kernel.started();
    assert_eq!(started.len(), COUNT, "a thread for each");
    assert!(started.iter().all(|started| started.spec.role == Role::Worker));
    for story in kernel.iopub.stories(&cells, |last| last == "input") {
        assert_eq!(story, "busy input");
    }
    drop(held);
    assert_eq!(kernel.outcomes(&cells), vec!["idle; ok"; COUNT]);
    // One worker is kept for the next cell, the others end.
    for _ in 0..COUNT - KEPT {
        assert_eq!(kernel.next_ended(), WORKER);
    }
    let next = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&next), RAN);
    assert_eq!(kernel.started().len(), COUNT);
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&behind), RAN);
}

#[test]
fn control_answers_while_shell_and_threads_are_held() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "hold gate");
    let (second, other) = kernel.hold(None, "# thread\nhold other");
    kernel.answers();
    let sent = kernel.send(Channel::Control, ALICE, &cell("# task\nwhere"));
    ran_on(&mut kernel, Channel::Control, &sent, "control");
    kernel.release(&first, gate);
    kernel.release(&second, other);
}
