//! The order of cells, their threads, and what a failure aborts.

use super::{ended, queued, used_subshell};
use crate::support::{ABORTED, ALICE, FAILED, RAN, Sent, TestKernel, cell};
use callboard::delivery::job::Channel;
use callboard::wire::MessageType;
use callboard::wire::content::ExecuteRequest;

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
