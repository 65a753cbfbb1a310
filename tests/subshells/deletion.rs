//! The end of a subshell whose cells run or wait.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::{GOES_ON, ended, queued, stubborn, used_subshell};
use crate::support::{ABORTED, ALICE, FAILED, RAN, Sent, TestKernel, cell};
use callboard::delivery::job::Channel;
use callboard::wire::MessageType;
use callboard::wire::content::{DeleteSubshellReply, ExecuteRequest, ListSubshellReply, ListSubshellRequest};

/// How long a cell may go on when its subshell was deleted.
const GRACE: Duration = Duration::from_secs(1);

/// The outcome of a cell that ran when its subshell was deleted and did not end in time.
const GIVEN_UP: &str = "error:SubshellDeleted idle; error:SubshellDeleted";

#[test]
fn deleting_a_busy_subshell_answers_all_its_cells() {
    let mut kernel = TestKernel::start();
    for stop_on_error in [true, false] {
        let (id, caller) = used_subshell(&mut kernel);
        let (running, gate) = stubborn(&mut kernel, &id, stop_on_error, "ok");
        let mut cells = queued(&mut kernel, Some(&id), &["print never", "fail", "print never"]);
        let deleted = kernel.ask_to_delete(&id);
        kernel.control.reply::<DeleteSubshellReply>(&deleted);
        assert_eq!(kernel.next_cancelled(), caller.spec.id);
        let listed = kernel.send(Channel::Control, ALICE, &ListSubshellRequest {});
        assert_eq!(kernel.control.reply::<ListSubshellReply>(&listed), ListSubshellReply::default());
        cells.push(kernel.execute_in(&id, "print never"));
        // Its thread is in C code and goes on, but is waited for no longer than the grace.
        cells.push(running);
        let mut cells: Vec<&Sent> = cells.iter().collect();
        assert_eq!(
            kernel.shell.replies(&cells),
            ["aborted", "aborted", "aborted", "error:UnknownSubshellError", "error:SubshellDeleted"]
        );
        cells.extend([&deleted, &listed]);
        let published = kernel.iopub.stories(&cells, |last| last == "idle");
        assert_eq!(published[..3], ["busy idle"; 3]);
        assert_eq!(published[3..5], ["busy error:UnknownSubshellError idle", "error:SubshellDeleted idle"]);
        assert_eq!(published[5..], ["busy idle"; 2]);
        // Its end publishes nothing: a further message fails the test.
        drop(gate);
        assert_eq!(kernel.next_ended(), caller.spec.name);
        kernel.answers();
    }
}

#[test]
fn a_deleted_subshell_does_not_hold_up_the_others() {
    let mut kernel = TestKernel::start();
    let (id, _) = used_subshell(&mut kernel);
    let other = kernel.create_subshell();
    let (running, gate) = stubborn(&mut kernel, &id, true, "ok");
    kernel.delete_subshell(&id);
    let (main, in_other) = (kernel.execute("ok"), kernel.execute_in(&other, "fail"));
    assert_eq!(kernel.outcomes(&[&main, &in_other, &running]), [RAN, FAILED, GIVEN_UP]);
    let again = kernel.execute_in(&other, "ok");
    assert_eq!(kernel.outcome(&again), RAN);
    // Here its thread is still held.
    drop(gate);
}

#[test]
fn a_cell_that_is_cancelled_when_its_subshell_is_deleted_ends_in_its_own_way() {
    let mut kernel = TestKernel::start();
    for stop_on_error in [true, false] {
        let (id, caller) = used_subshell(&mut kernel);
        let header = kernel.header_in(Some(&id), &MessageType::ExecuteRequest);
        let content = ExecuteRequest { stop_on_error, ..cell("await gate") };
        let running = kernel.send_as(Channel::Shell, ALICE, &header, &content);
        let gate = kernel.held("gate");
        kernel.iopub.busy(&running);
        kernel.iopub.input(&running, "await gate");
        let behind = queued(&mut kernel, Some(&id), &["print never"]).remove(0);
        let since = Instant::now();
        kernel.delete_subshell(&id);
        let outcomes = kernel.outcomes(&[&behind, &running]);
        assert_eq!(outcomes[0], ABORTED);
        // On a very slow machine the grace may be over first.
        if outcomes[1] != "error:Failure idle; error:Failure" {
            assert!(since.elapsed() >= GRACE, "{}", outcomes[1]);
        }
        assert_eq!(kernel.next_cancelled(), caller.spec.id);
        assert_eq!(kernel.next_ended(), caller.spec.name);
        drop(gate);
    }
}

#[test]
fn a_task_of_a_deleted_subshell_is_cancelled_and_those_that_wait_are_answered() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    let (running, gate) = kernel.hold(Some(&id), "# task\nawait gate");
    let delete = kernel.ask_to_delete(&id);
    kernel.control.reply::<DeleteSubshellReply>(&delete);
    let stories = kernel.iopub.stories(&[&delete, &running], |last| last == "idle");
    assert_eq!(stories, ["busy idle", "error:Failure idle"]);
    assert_eq!(kernel.shell.replies(&[&running]), ["error:Failure"]);
    assert_eq!(kernel.next_cancelled(), caller.spec.id);
    assert_eq!(kernel.next_ended(), caller.spec.name);
    drop(gate);
}

#[test]
fn tasks_behind_the_end_of_a_deleted_subshell_are_answered() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    let (running, gate) = kernel.hold(Some(&id), "# task\nhold gate");
    let tasks = queued(&mut kernel, Some(&id), &["# task\nok", "# task\nok"]);
    kernel.delete_subshell(&id);
    // Work that it got before the stop is done.
    kernel.release(&running, gate);
    ended(&mut kernel, &tasks, &[RAN, RAN]);
    assert_eq!(kernel.next_ended(), caller.spec.name);
}

#[test]
fn deleting_a_subshell_whose_cells_fail_or_end_at_that_moment_answers_each_cell_once() {
    let mut kernel = TestKernel::start_unsigned();
    let mut seen = HashSet::new();
    for round in 0..300 {
        let (id, _) = used_subshell(&mut kernel);
        let code = if round % 2 == 0 { "fail" } else { "ok" };
        let cells: Vec<Sent> = (0..5).map(|_| kernel.execute_in(&id, code)).collect();
        let delete = kernel.ask_to_delete(&id);
        let all: Vec<&Sent> = cells.iter().chain([&delete]).collect();
        let stories = kernel.iopub.stories(&all, |last| last == "idle");
        kernel.control.reply::<DeleteSubshellReply>(&delete);
        let replies = kernel.shell.replies(&all[..5]);
        for (story, reply) in stories.iter().zip(replies) {
            let outcome = format!("{story}; {reply}");
            let refused = "busy error:UnknownSubshellError idle; error:UnknownSubshellError";
            assert!([RAN, FAILED, ABORTED, refused].contains(&&*outcome), "{outcome}");
            seen.insert(outcome);
        }
        kernel.next_ended();
    }
    assert!(seen.len() > 1, "the moment was never hit: {seen:?}");
}

#[test]
fn a_subshell_that_was_deleted_when_it_was_busy_leaves_nothing() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    let (running, gate) = stubborn(&mut kernel, &id, true, "ok");
    kernel.delete_subshell(&id);
    assert_eq!(kernel.outcome(&running), GIVEN_UP);
    drop(gate);
    kernel.next_ended();
    let gone = (0..100).any(|_| {
        assert_eq!(kernel.kernel.subshells(), Some(Vec::new()));
        caller.inbox.strong_count() == 0
    });
    assert!(gone, "its inbox is still there");
}

#[test]
fn a_subshell_whose_thread_has_ended_answers_and_can_be_deleted() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    let (first, gate) = kernel.hold(Some(&id), "hold gate");
    let cells = queued(&mut kernel, Some(&id), &["vanish", "print never", "print never"]);
    drop(gate);
    let lost = "error:CallerStopped idle; error:CallerStopped";
    assert_eq!(kernel.outcome(&first), GOES_ON);
    assert_eq!(kernel.outcome(&cells[0]), format!("busy input {lost}"));
    for sent in &cells[1..] {
        let outcome = kernel.outcome(sent);
        assert!(outcome == ABORTED || outcome == format!("busy {lost}"), "{outcome}");
    }
    assert_eq!(kernel.next_ended(), caller.spec.name);
    for code in ["print never", "# task\nprint never", "print never"] {
        let sent = kernel.execute_in(&id, code);
        assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "CallerStopped");
    }
    assert_eq!(kernel.subshells(), [&*id]);
    kernel.delete_subshell(&id);
    assert_eq!(kernel.subshells(), Vec::<String>::new());
}
