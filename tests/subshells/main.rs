//! Subshells (JEP 91): queues of cells beside the main shell's, each with a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use callboard::actors::caller::{Role, Task};
use callboard::delivery::job::Channel;
use callboard::delivery::request::ReplyStatus;
use callboard::wire::MessageType;
use callboard::wire::content::{
    CreateSubshellReply, CreateSubshellRequest, DeleteSubshellReply, DeleteSubshellRequest, ErrorReply,
    ExecuteRequest, KernelInfoReply, KernelInfoRequest, ListSubshellReply, ListSubshellRequest,
    ShutdownReply, ShutdownRequest,
};
use support::{
    ABORTED, ALICE, FAILED, Log, PATIENCE, RAN, Sent, Started, TestKernel, cell, next_work, within_patience,
};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

/// How long a cell may go on when its subshell was deleted.
const GRACE: Duration = Duration::from_secs(1);

/// The outcome of a cell that has begun when the test reads on.
const GOES_ON: &str = "idle; ok";

/// That of a cell that ran when its subshell was deleted, and did not end in time.
const GIVEN_UP: &str = "error:SubshellDeleted idle; error:SubshellDeleted";

/// The Caller of a subshell.
#[track_caller]
fn caller(kernel: &TestKernel, subshell_id: &str) -> Started {
    let role = Role::Subshell(subshell_id.to_owned());
    kernel.started().into_iter().find(|started| started.spec.role == role).expect("its thread has started")
}

/// A subshell whose thread has started and run a cell.
#[track_caller]
fn used_subshell(kernel: &mut TestKernel) -> (String, Started) {
    let id = kernel.create_subshell();
    let sent = kernel.execute_in(&id, "ok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let caller = caller(kernel, &id);
    (id, caller)
}

/// Sends these cells to a shell; all are queued when this returns.
#[track_caller]
fn queued(kernel: &mut TestKernel, subshell_id: Option<&str>, codes: &[&str]) -> Vec<Sent> {
    let cells = codes
        .iter()
        .map(|code| match subshell_id {
            Some(id) => kernel.execute_in(id, code),
            None => kernel.execute(code),
        })
        .collect();
    kernel.all_has_arrived();
    cells
}

/// Cells of one shell have ended one after the other, in this order.
#[track_caller]
fn ended(kernel: &mut TestKernel, cells: &[Sent], outcomes: &[&str]) {
    assert_eq!(cells.len(), outcomes.len());
    for (sent, expected) in cells.iter().zip(outcomes) {
        assert_eq!(kernel.outcome(sent), *expected);
    }
}

#[test]
fn subshells_are_made_listed_and_deleted_while_all_threads_are_held() {
    let mut kernel = TestKernel::start();
    let (main, gate) = kernel.hold(None, "hold main");
    assert_eq!(kernel.subshells(), Vec::<String>::new());
    let mut ids: Vec<String> = Vec::new();
    for channel in [Channel::Control, Channel::Shell, Channel::Control] {
        let sent = kernel.send(channel, ALICE, &CreateSubshellRequest {});
        ids.push(kernel.line(channel).reply::<CreateSubshellReply>(&sent).subshell_id);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3, "{ids:?}");
    let held: Vec<_> = ids.iter().map(|id| kernel.hold(Some(id), "hold cell")).collect();
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &ListSubshellRequest {});
        assert_eq!(kernel.line(channel).reply::<ListSubshellReply>(&sent).subshell_id, ids);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
    assert_eq!(kernel.kernel.subshells(), Some(ids.clone()), "Python is told the same");
    for (sent, gate) in held {
        kernel.release(&sent, gate);
    }
    for channel in BOTH {
        let request = DeleteSubshellRequest { subshell_id: ids.remove(1) };
        let sent = kernel.send(channel, ALICE, &request);
        kernel.line(channel).reply::<DeleteSubshellReply>(&sent);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
        kernel.next_ended();
    }
    assert_eq!(kernel.subshells(), ids);
    let last = kernel.execute_in(&ids[0], "ok");
    assert_eq!(kernel.outcome(&last), RAN);
    kernel.release(&main, gate);
}

#[test]
fn cells_of_a_subshell_run_in_order_beside_the_main_shell_and_others() {
    let mut kernel = TestKernel::start();
    let (one, two) = (kernel.create_subshell(), kernel.create_subshell());
    let (main, gate) = kernel.hold(None, "hold main");
    let (other, other_gate) = kernel.hold(Some(&two), "hold other");
    let behind = queued(&mut kernel, None, &["ok", "ok"]);
    let behind_other = queued(&mut kernel, Some(&two), &["ok", "ok"]);
    let codes: Vec<String> = (0..200).map(|n| format!("print {n}")).collect();
    let cells: Vec<Sent> = codes.iter().map(|code| kernel.execute_in(&one, code)).collect();
    for (n, sent) in cells.iter().enumerate() {
        assert_eq!(kernel.outcome(sent), format!("busy input stdout:{n} idle; ok"));
    }
    kernel.release(&other, other_gate);
    ended(&mut kernel, &behind_other, &[RAN, RAN]);
    kernel.release(&main, gate);
    ended(&mut kernel, &behind, &[RAN, RAN]);
}

#[test]
fn the_thread_of_a_subshell_is_a_child_of_the_main_one() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    assert_eq!(caller.spec.parent, Some(kernel.kernel.shell_caller.spec.id));
    let name = format!("Subshell {}", id.split('-').next().unwrap());
    assert_eq!(caller.spec.name, name);
    let sent = kernel.execute_in(&id, "where");
    assert_eq!(kernel.outcome(&sent), format!("busy input stdout:{name} idle; ok"));
}

#[test]
fn output_of_no_context_belongs_to_the_main_shell() {
    let mut kernel = TestKernel::start();
    let main = kernel.execute("ok");
    assert_eq!(kernel.outcome(&main), RAN);
    let (id, _) = used_subshell(&mut kernel);
    let task = kernel.execute("# task\nok");
    assert_eq!(kernel.outcome(&task), RAN);
    let refused = kernel.execute_in("nowhere", "ok");
    kernel.cell_refused(Channel::Shell, &refused);
    assert_eq!(kernel.kernel.publisher.foreground().msg_id, main.id);
    kernel.delete_subshell(&id);
}

#[test]
fn an_unknown_subshell_is_refused_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let (main, gate) = kernel.hold(None, "await main");
    let behind = queued(&mut kernel, None, &["ok"]);
    for id in ["", "nowhere", "null", "\u{1f980}", "0"] {
        for code in ["print never", "# task\nprint never", "# thread\nprint never", "# queue\nprint never"] {
            let sent = kernel.execute_in(id, code);
            let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
            assert_eq!(ename, "UnknownSubshell");
            assert!(evalue.contains(&format!("{id:?}")), "{evalue}");
        }
        let sent = kernel.ask_to_delete(id);
        assert_eq!(kernel.refused(Channel::Control, &sent), "UnknownSubshell");
    }
    assert_eq!(kernel.started().len(), 0);
    kernel.release(&main, gate);
    ended(&mut kernel, &behind, &[RAN]);
}

#[test]
fn a_subshell_is_deleted_once() {
    let mut kernel = TestKernel::start();
    let (id, caller) = used_subshell(&mut kernel);
    kernel.delete_subshell(&id);
    assert_eq!(kernel.next_ended(), caller.spec.name);
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &DeleteSubshellRequest { subshell_id: id.clone() });
        assert_eq!(kernel.refused(channel, &sent), "UnknownSubshell");
    }
    for code in ["print never", "# task\nprint never", "# thread\nprint never"] {
        let sent = kernel.execute_in(&id, code);
        assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshell");
    }
    assert_eq!(kernel.subshells(), Vec::<String>::new());
}

#[test]
fn a_failing_cell_aborts_its_own_queue_only() {
    let mut kernel = TestKernel::start();
    let shells = [None, Some(kernel.create_subshell()), Some(kernel.create_subshell())];
    for failing in 0..shells.len() {
        let mut held = Vec::new();
        for shell in &shells {
            let (first, gate) = kernel.hold(shell.as_deref(), "hold gate");
            let code = if held.len() == failing { "fail" } else { "ok" };
            let cells = queued(&mut kernel, shell.as_deref(), &[code, "ok", "ok"]);
            held.push((first, gate, cells));
        }
        for (at, (first, gate, cells)) in held.into_iter().enumerate() {
            kernel.release(&first, gate);
            let outcomes = if at == failing { [FAILED, ABORTED, ABORTED] } else { [RAN; 3] };
            ended(&mut kernel, &cells, &outcomes);
        }
    }
}

#[test]
fn cells_that_fail_at_once_in_several_shells_abort_what_is_behind_them() {
    const SHELLS: usize = 20;
    let mut kernel = TestKernel::start();
    let ids: Vec<String> = (0..SHELLS).map(|_| kernel.create_subshell()).collect();
    for _ in 0..10 {
        kernel.shell.peer.delay();
        let mut cells = Vec::new();
        for code in ["fail", "print never", "print never"] {
            cells.push(kernel.execute(code));
            cells.extend(ids.iter().map(|id| kernel.execute_in(id, code)).collect::<Vec<_>>());
        }
        kernel.shell.peer.resume();
        let outcomes = kernel.outcomes(&cells.iter().collect::<Vec<_>>());
        assert_eq!(outcomes[..=SHELLS], vec![FAILED; SHELLS + 1]);
        assert_eq!(outcomes[SHELLS + 1..], vec![ABORTED; 2 * (SHELLS + 1)]);
        // All have seen the failure.
        let cells: Vec<Sent> = ids.iter().map(|id| kernel.execute_in(id, "ok")).collect();
        assert_eq!(kernel.outcomes(&cells.iter().collect::<Vec<_>>()), vec![RAN; SHELLS]);
    }
}

#[test]
fn what_was_sent_before_a_failure_was_seen_is_aborted_and_what_was_sent_after_runs() {
    // More than any budget with which sockets are read.
    const BEHIND: usize = 500;
    let mut kernel = TestKernel::start();
    let (id, _) = used_subshell(&mut kernel);
    kernel.shell.peer.delay();
    let failing = kernel.execute_in(&id, "fail");
    let behind: Vec<Sent> = (0..BEHIND).map(|_| kernel.execute_in(&id, "print never")).collect();
    kernel.shell.peer.resume();
    assert_eq!(kernel.outcome(&failing), FAILED);
    for sent in &behind {
        assert_eq!(kernel.outcome(sent), ABORTED);
    }
    for _ in 0..300 {
        let failing = kernel.execute_in(&id, "fail");
        // Reply first: a client may read that only.
        assert_eq!(kernel.shell.replies(&[&failing]), ["error:Failure"]);
        let next = kernel.execute_in(&id, "ok");
        assert_eq!(
            kernel.iopub.stories(&[&failing], |last| last == "idle"),
            ["busy input error:Failure idle"]
        );
        assert_eq!(kernel.outcome(&next), RAN);
    }
}

#[test]
fn without_stop_on_error_the_next_cells_of_a_subshell_run() {
    let mut kernel = TestKernel::start();
    let (id, _) = used_subshell(&mut kernel);
    let (first, gate) = kernel.hold(Some(&id), "hold gate");
    let header = kernel.header_in(Some(&id), &MessageType::ExecuteRequest);
    let content = ExecuteRequest { stop_on_error: false, ..cell("fail") };
    let failing = kernel.send_as(Channel::Shell, ALICE, &header, &content);
    let behind = queued(&mut kernel, Some(&id), &["ok", "ok"]);
    kernel.release(&first, gate);
    ended(&mut kernel, &[failing], &[FAILED]);
    ended(&mut kernel, &behind, &[RAN, RAN]);
}

/// Sends a cell to a subshell, which goes on in the end.
fn stubborn(kernel: &mut TestKernel, id: &str, stop_on_error: bool, rest: &str) -> (Sent, support::Held) {
    let header = kernel.header_in(Some(id), &MessageType::ExecuteRequest);
    let content = ExecuteRequest { stop_on_error, ..cell(&format!("hold gate\n{rest}")) };
    let sent = kernel.send_as(Channel::Shell, ALICE, &header, &content);
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, &content.code);
    (sent, gate)
}

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
        // Its thread is in C code and goes on, but nobody waits for it for longer than the grace.
        cells.push(running);
        let mut cells: Vec<&Sent> = cells.iter().collect();
        assert_eq!(
            kernel.shell.replies(&cells),
            ["aborted", "aborted", "aborted", "error:UnknownSubshell", "error:SubshellDeleted"]
        );
        cells.extend([&deleted, &listed]);
        let published = kernel.iopub.stories(&cells, |last| last == "idle");
        assert_eq!(published[..3], ["busy idle"; 3]);
        assert_eq!(published[3..5], ["busy error:UnknownSubshell idle", "error:SubshellDeleted idle"]);
        assert_eq!(published[5..], ["busy idle"; 2]);
        // It ends as well as it can, which nobody is told: messages too many fail the test.
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
    // What it was given before it was told to stop is done.
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
            let refused = "busy error:UnknownSubshell idle; error:UnknownSubshell";
            assert!([RAN, FAILED, ABORTED, refused].contains(&&*outcome), "{outcome}");
            seen.insert(outcome);
        }
        kernel.next_ended();
    }
    assert!(seen.len() > 1, "the moment was never hit: {seen:?}");
}

#[test]
fn a_hundred_subshells_come_and_go_and_leave_nothing() {
    const COUNT: usize = 100;
    let mut kernel = TestKernel::start();
    for _ in 0..2 {
        let ids: Vec<String> = (0..COUNT).map(|_| kernel.create_subshell()).collect();
        assert_eq!(kernel.subshells(), ids);
        let cells: Vec<Sent> = ids.iter().map(|id| kernel.execute_in(id, "await all")).collect();
        let cells: Vec<&Sent> = cells.iter().collect();
        let gates: Vec<_> = (0..COUNT).map(|_| kernel.held("all")).collect();
        kernel.iopub.stories(&cells, |last| last == "input");
        drop(gates);
        assert_eq!(kernel.outcomes(&cells), [GOES_ON; COUNT]);
        for id in &ids {
            kernel.delete_subshell(id);
        }
        for _ in 0..COUNT {
            kernel.next_ended();
        }
        assert_eq!(kernel.subshells(), Vec::<String>::new());
    }
    assert_eq!(kernel.started().len(), 2 * COUNT);
    // Actors end some turns of their thread after they were last heard of.
    let left = || kernel.started().iter().filter(|started| started.inbox.strong_count() > 0).count();
    let mut turns = 0..100;
    let gone = loop {
        if left() == 0 || turns.next().is_none() {
            break left() == 0;
        }
        assert_eq!(kernel.kernel.subshells(), Some(Vec::new()));
    };
    assert!(gone, "the inboxes of {} subshells are still there", left());
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

#[test]
fn subshells_that_are_switched_off_are_refused() {
    let mut kernel = TestKernel::start_with(|options| options.facts.kernel_info.supported_features.clear());
    for channel in BOTH {
        let delete = DeleteSubshellRequest { subshell_id: "a".into() };
        let requests = [
            kernel.send(channel, ALICE, &CreateSubshellRequest {}),
            kernel.send(channel, ALICE, &ListSubshellRequest {}),
            kernel.send(channel, ALICE, &delete),
        ];
        for sent in &requests {
            kernel.iopub.busy(sent);
            kernel.iopub.idle(sent);
            let ErrorReply { ename, evalue, .. } = kernel.line(channel).reply(sent);
            assert_eq!(ename, "NoSubshells");
            assert!(evalue.contains("without --no-subshells"), "{evalue}");
        }
    }
    let sent = kernel.execute_in("a", "print never");
    assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshell");
    let sent = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    let sent = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
    assert_eq!(kernel.shell.reply::<KernelInfoReply>(&sent).supported_features, Vec::<String>::new());
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
}

#[test]
fn malformed_requests_for_subshells_are_refused() {
    let mut kernel = TestKernel::start();
    for channel in BOTH {
        for content in [serde_json::json!({}), serde_json::json!({"subshell_id": 3}), serde_json::json!([])] {
            let kind = MessageType::DeleteSubshellRequest;
            let header = serde_json::json!(kernel.session.header(&kind));
            let sent = kernel.send_raw(channel, kind, &header, &serde_json::json!({}), &content);
            assert_eq!(kernel.refused(channel, &sent), "InvalidRequest");
        }
    }
}

#[test]
fn two_clients_share_subshells_and_get_their_own_replies() {
    let mut kernel = TestKernel::start();
    let created = kernel.send(Channel::Control, "alice", &CreateSubshellRequest {});
    let id = kernel.control.reply::<CreateSubshellReply>(&created).subshell_id;
    kernel.iopub.busy(&created);
    kernel.iopub.idle(&created);
    let (first, gate) = kernel.hold(Some(&id), "hold gate");
    let send = |kernel: &mut TestKernel, identity: &str, code: &str| {
        let header = kernel.header_in(Some(&id), &MessageType::ExecuteRequest);
        kernel.send_as(Channel::Shell, identity, &header, &cell(code))
    };
    let cells = [
        send(&mut kernel, "alice", "print a"),
        send(&mut kernel, "bob", "print b"),
        send(&mut kernel, "bob", "fail"),
        send(&mut kernel, "alice", "print never"),
    ];
    kernel.all_has_arrived();
    let listed = kernel.send(Channel::Control, "bob", &ListSubshellRequest {});
    assert_eq!(kernel.control.reply::<ListSubshellReply>(&listed).subshell_id, [&*id]);
    kernel.iopub.busy(&listed);
    kernel.iopub.idle(&listed);
    kernel.release(&first, gate);
    // `outcome` checks whom each reply goes to.
    let (a, b) = ("busy input stdout:a idle; ok", "busy input stdout:b idle; ok");
    ended(&mut kernel, &cells, &[a, b, FAILED, ABORTED]);
    let deleted = kernel.send(Channel::Control, "bob", &DeleteSubshellRequest { subshell_id: id.clone() });
    kernel.control.reply::<DeleteSubshellReply>(&deleted);
    kernel.iopub.busy(&deleted);
    kernel.iopub.idle(&deleted);
    let late = send(&mut kernel, "alice", "print never");
    assert_eq!(kernel.cell_refused(Channel::Shell, &late).0, "UnknownSubshell");
}

/// Asks for a shutdown and reads what comes of it but what becomes of other requests.
#[track_caller]
fn shut_down(kernel: &mut TestKernel) {
    let sent = kernel.send(Channel::Control, ALICE, &ShutdownRequest { restart: false });
    kernel.control.reply::<ShutdownReply>(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    kernel.iopub.expect::<ShutdownReply>(&sent);
}

#[test]
fn a_shutdown_aborts_what_is_queued_anywhere_and_stops_every_thread() {
    let mut kernel = TestKernel::start();
    let ids = [kernel.create_subshell(), kernel.create_subshell()];
    let (used, _) = used_subshell(&mut kernel);
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for shell in [None, Some(&*ids[0]), Some(&*ids[1])] {
        running.push(kernel.hold(shell, "hold cell"));
        waiting.extend(queued(&mut kernel, shell, &["print never", "print never"]));
    }
    for code in ["# thread\nhold worker", "# thread\nhold worker", "# thread name=X\nhold X"] {
        running.push(kernel.hold(None, code));
    }
    // Behind what holds its thread, but not aborted: it is beside all queues.
    let behind = queued(&mut kernel, None, &["# thread name=X\nok", "# task\nok"]);
    shut_down(&mut kernel);
    assert_eq!(kernel.outcomes(&waiting.iter().collect::<Vec<_>>()), [ABORTED; 6]);
    // What comes later is answered, too.
    for shell in [None, Some(&*ids[0]), Some(&*used)] {
        let late = match shell {
            Some(id) => kernel.execute_in(id, "print never"),
            None => kernel.execute("print never"),
        };
        assert_eq!(kernel.outcome(&late), ABORTED);
    }
    let (sent, gates): (Vec<Sent>, Vec<_>) = running.into_iter().unzip();
    drop(gates);
    let sent: Vec<&Sent> = sent.iter().chain(&behind).collect();
    let outcomes = kernel.outcomes(&sent);
    assert_eq!(outcomes[..6], [GOES_ON; 6]);
    assert_eq!(outcomes[6..], [RAN; 2]);
    assert_eq!(kernel.started().len(), 6);
    kernel.python_ended();
}

#[test]
fn closing_does_not_wait_for_threads_that_are_held() {
    let mut kernel = TestKernel::start();
    let ids = [kernel.create_subshell(), kernel.create_subshell()];
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    for shell in [None, Some(&*ids[0]), Some(&*ids[1])] {
        held.push(kernel.hold(shell, "hold cell"));
        waiting.extend(queued(&mut kernel, shell, &["print never", "print never"]));
    }
    for code in ["# thread\nhold worker", "# thread name=X\nhold X"] {
        held.push(kernel.hold(None, code));
    }
    shut_down(&mut kernel);
    let inner = kernel.kernel.clone();
    // Its own patience would last for an hour.
    within_patience("the end of the kernel", move || inner.close(Duration::from_secs(3600)));
    assert!(PATIENCE < Duration::from_secs(3600));
    assert_eq!(kernel.outcomes(&waiting.iter().collect::<Vec<_>>()), [ABORTED; 6]);
    // Nobody hears of the cells that ran, but all threads end.
    drop(held);
    kernel.python_ended();
}

#[test]
fn closing_does_not_wait_for_a_deleted_subshell() {
    let mut kernel = TestKernel::start();
    let (id, _) = used_subshell(&mut kernel);
    let (_, gate) = stubborn(&mut kernel, &id, true, "ok");
    kernel.delete_subshell(&id);
    let inner = kernel.kernel.clone();
    within_patience("the end of the kernel", move || inner.close(Duration::from_secs(3600)));
    // Whether the cell was given up before the end is a matter of time.
    assert!(kernel.shell.rest().len() <= 1);
    kernel.iopub.rest();
    drop(gate);
}

#[test]
fn closing_waits_for_the_replies_of_subshells() {
    let log = Log::start();
    for _ in 0..20 {
        let mut kernel = TestKernel::without_python();
        let ids: Vec<String> = (0..4).map(|_| kernel.create_subshell()).collect();
        let starts = next_work(&kernel.kernel.control);
        let outcomes = [ReplyStatus::Ok, ReplyStatus::Error].repeat(2);
        let mut cells = Vec::new();
        for ((id, start), outcome) in ids.iter().zip(starts).zip(outcomes) {
            let Task::Start(caller) = start else {
                panic!("a thread was to be started");
            };
            let sent = kernel.execute_in(id, "ok");
            let Some(Task::Request(request)) = next_work(&caller.inbox).pop() else {
                panic!("a cell was to come");
            };
            assert!(request.begin());
            request.reply_error("Failure", "on purpose", Vec::new());
            cells.push((sent, request, outcome));
        }
        for (_, request, outcome) in &cells {
            request.finish(*outcome);
        }
        kernel.kernel.close(PATIENCE);
        let sent: Vec<&Sent> = cells.iter().map(|(sent, ..)| sent).collect();
        assert_eq!(kernel.outcomes(&sent), ["busy idle; error:Failure"; 4]);
    }
    // It has waited for them, and was not only lucky.
    assert!(!log.text().contains("may be lost"), "{}", log.text());
}
