//! Cells behind one that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use callboard::delivery::job::Channel;
use callboard::wire::content::{
    CommMsg, Error, ErrorReply, ExecuteReply, ExecuteRequest, KernelInfoReply, KernelInfoRequest,
    empty_object,
};
use support::{ALICE, Held, Sent, TestKernel, cell};

/// A kernel whose shell thread is held by a cell, so that the next cells are queued.
#[track_caller]
fn held() -> (TestKernel, Sent, Held) {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("hold gate");
    let held = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    (kernel, sent, held)
}

/// Lets go of the first cell.
#[track_caller]
fn release(kernel: &mut TestKernel, sent: &Sent, held: Held) {
    drop(held);
    kernel.shell.reply::<ExecuteReply>(sent);
    kernel.iopub.idle(sent);
}

/// Waits until all that was sent on shell is queued: shell answers in order.
#[track_caller]
fn all_is_queued(kernel: &mut TestKernel) {
    let sent = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
    kernel.shell.reply::<KernelInfoReply>(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
}

#[test]
fn a_failing_cell_aborts_those_that_are_queued_behind_it() {
    let (mut kernel, first, gate) = held();
    let before = kernel.execute("ok");
    let failing = kernel.execute("fail");
    let behind: Vec<_> = (0..10).map(|_| kernel.execute("print never")).collect();
    all_is_queued(&mut kernel);
    release(&mut kernel, &first, gate);
    kernel.ran(&before, "ok");
    kernel.failed(&failing);
    for sent in &behind {
        kernel.aborted(sent);
    }
}

#[test]
fn cells_of_other_clients_are_aborted_too_and_told_so() {
    let (mut kernel, first, gate) = held();
    let failing = kernel.send(Channel::Shell, "alice", &cell("fail"));
    let other = kernel.send(Channel::Shell, "bob", &cell("print never"));
    all_is_queued(&mut kernel);
    release(&mut kernel, &first, gate);
    kernel.failed(&failing);
    kernel.aborted(&other);
}

#[test]
fn cells_sent_in_one_burst_with_the_failing_one_are_all_aborted() {
    // More than any budget with which sockets are read.
    const BEHIND: usize = 500;
    let mut kernel = TestKernel::start();
    for count in 0..2 {
        // All of it is there before the first cell is read.
        kernel.shell.peer.delay();
        let sent: Vec<_> =
            std::iter::once("fail").chain(["print never"; BEHIND]).map(|code| kernel.execute(code)).collect();
        kernel.shell.peer.resume();
        kernel.failed(&sent[0]);
        for aborted in &sent[1..] {
            kernel.aborted(aborted);
        }
        let next = kernel.execute("ok");
        assert_eq!(kernel.ran(&next, "ok"), 2 * count + 2);
    }
}

#[test]
fn a_cell_sent_once_the_failing_one_is_idle_runs() {
    let mut kernel = TestKernel::start();
    for count in 1..=300 {
        let failing = kernel.execute("fail");
        kernel.failed(&failing);
        let next = kernel.execute("ok");
        assert_eq!(kernel.ran(&next, "ok"), 2 * count);
    }
}

#[test]
fn a_cell_sent_once_the_aborted_ones_are_answered_runs() {
    let (mut kernel, first, gate) = held();
    let failing = kernel.execute("fail");
    let behind = kernel.execute("print never");
    all_is_queued(&mut kernel);
    release(&mut kernel, &first, gate);
    kernel.failed(&failing);
    kernel.aborted(&behind);
    kernel.answers();
    let next = kernel.execute("ok");
    kernel.ran(&next, "ok");
}

#[test]
fn without_stop_on_error_the_next_cells_run() {
    let (mut kernel, first, gate) = held();
    let request = ExecuteRequest { stop_on_error: false, ..cell("fail") };
    let failing = kernel.send(Channel::Shell, ALICE, &request);
    let behind: Vec<_> = (0..3).map(|_| kernel.execute("ok")).collect();
    all_is_queued(&mut kernel);
    release(&mut kernel, &first, gate);
    kernel.failed(&failing);
    for sent in &behind {
        kernel.ran(sent, "ok");
    }
}

#[test]
fn after_a_silent_failure_the_next_cells_run() {
    let (mut kernel, first, gate) = held();
    let request = ExecuteRequest { silent: true, ..cell("fail") };
    let failing = kernel.send(Channel::Shell, ALICE, &request);
    let behind = kernel.execute("ok");
    all_is_queued(&mut kernel);
    release(&mut kernel, &first, gate);
    let reply: ErrorReply = kernel.shell.reply(&failing);
    assert_eq!(reply.ename, "Failure");
    kernel.iopub.busy(&failing);
    kernel.iopub.expect::<Error>(&failing);
    kernel.iopub.idle(&failing);
    kernel.ran(&behind, "ok");
}

#[test]
fn a_failing_cell_on_control_aborts_nothing() {
    let (mut kernel, first, gate) = held();
    let behind = kernel.execute("ok");
    let failing = kernel.send(Channel::Control, ALICE, &cell("fail"));
    let reply: ErrorReply = kernel.control.reply(&failing);
    assert_eq!(reply.ename, "Failure");
    kernel.iopub.busy(&failing);
    kernel.iopub.input(&failing, "fail");
    kernel.iopub.expect::<Error>(&failing);
    kernel.iopub.idle(&failing);
    release(&mut kernel, &first, gate);
    kernel.ran(&behind, "ok");
}

#[test]
fn requests_that_are_no_cells_are_answered_behind_a_failing_cell() {
    let (mut kernel, first, gate) = held();
    let failing = kernel.execute("fail");
    let behind = kernel.execute("print never");
    // Answered at once: it needs no turn.
    kernel.answers();
    let comm = CommMsg { comm_id: "a".into(), data: empty_object() };
    let comm = kernel.send(Channel::Shell, ALICE, &comm);
    all_is_queued(&mut kernel);
    release(&mut kernel, &first, gate);
    // The comm's message is not a cell: it reaches Python, maybe while the cells are being aborted.
    let mut seen = Vec::new();
    for _ in 0..9 {
        let message = kernel.iopub.message("the messages of the two cells and of the comm");
        seen.push((message.parent.to_vec(), message.kind.to_string()));
    }
    let of = |sent: &Sent| -> Vec<&str> {
        seen.iter().filter(|(parent, _)| *parent == sent.header).map(|(_, kind)| &**kind).collect()
    };
    assert_eq!(of(&failing), ["status", "execute_input", "error", "status"]);
    assert_eq!(of(&behind), ["status", "status"]);
    assert_eq!(of(&comm), ["status", "stream", "status"]);
    kernel.shell.reply::<ErrorReply>(&failing);
    let reply: ExecuteReply = kernel.shell.reply(&behind);
    assert!(matches!(reply, ExecuteReply::Aborted { .. }), "{reply:?}");
}
