//! Subshells (JEP 91): queues of cells beside that of the main shell, each with a thread of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod deletion;
mod queues;
mod requests;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;

use callboard::actors::caller::Role;
use callboard::delivery::job::Channel;
use callboard::wire::MessageType;
use callboard::wire::content::ExecuteRequest;
use support::{ALICE, RAN, Sent, Started, TestKernel, cell};

/// The outcome of a cell that has begun when the test reads on.
const GOES_ON: &str = "idle; ok";

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
