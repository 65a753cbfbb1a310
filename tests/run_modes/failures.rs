//! Modes that are refused, and cells that fail beside the queue.

use super::{BOTH, PLACES, ran_on, with_mode};
use crate::support::{ABORTED, FAILED, RAN, Sent, TestKernel, cell};
use callboard::actors::caller::CallerError;
use callboard::delivery::job::Channel;
use callboard::wire::content::{ErrorReply, ExecuteRequest};
use callboard::wire::run_mode::{Backend, RunMode};

#[test]
fn an_invalid_mode_is_refused_at_once_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    let bad = ["thread nam=x", "thread backend=curio", "thread name='x", "thread use_uvloop=maybe"];
    for subshell_id in [None, Some(&*subshell)] {
        let (first, gate) = kernel.hold(subshell_id, "hold gate");
        let queued: Vec<Sent> = (0..3)
            .map(|_| with_mode(&mut kernel, Channel::Shell, subshell_id, "no place", "", cell("ok")))
            .collect();
        for place in PLACES {
            // "# tomorrow" is a comment, and "tomorrow" a tag like others.
            let words: &[&str] =
                if ["header", "metadata"].contains(&place) { &["tomorrow", ""] } else { &[] };
            for mode in bad.iter().chain(words) {
                for channel in BOTH {
                    let sent = with_mode(&mut kernel, channel, subshell_id, place, mode, cell("print never"));
                    let (ename, evalue) = kernel.cell_refused(channel, &sent);
                    assert_eq!(ename, "RunModeError");
                    let told = RunMode::parse(mode).unwrap_err().to_string();
                    assert_eq!(evalue, told);
                }
            }
        }
        let behind = with_mode(&mut kernel, Channel::Shell, subshell_id, "no place", "", cell("ok"));
        kernel.release(&first, gate);
        for sent in queued.iter().chain([&behind]) {
            assert_eq!(kernel.outcome(sent), RAN);
        }
    }
    assert_eq!(kernel.started().len(), 1, "the subshell's only");
}

#[test]
fn a_silent_cell_that_is_refused_shows_no_error() {
    let mut kernel = TestKernel::start();
    let content = ExecuteRequest { silent: true, ..cell("print never") };
    let sent = with_mode(&mut kernel, Channel::Shell, None, "header", "tomorrow", content);
    assert_eq!(kernel.refused(Channel::Shell, &sent), "RunModeError");
}

#[test]
fn another_backend_than_the_caller_has_is_refused_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("# thread name=X\nwhere");
    ran_on(&mut kernel, Channel::Shell, &sent, "X");
    let (first, gate) = kernel.hold(None, "hold gate");
    let queued = kernel.execute("ok");
    let sent = kernel.execute("# thread name=X backend=trio\nprint never");
    let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
    let problem = CallerError::Backend { name: "X".into(), has: Backend::Asyncio, wanted: Backend::Trio };
    assert_eq!((&*ename, evalue), ("CallerError", problem.to_string()));
    // The one that it has may be named.
    let sent = kernel.execute("# thread name=X backend=asyncio\nwhere");
    ran_on(&mut kernel, Channel::Shell, &sent, "X");
    let sent = kernel.execute("# thread name=Y backend=trio\nwhere");
    ran_on(&mut kernel, Channel::Shell, &sent, "Y");
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&queued), RAN);
    let backends: Vec<_> = kernel.started().iter().map(|started| started.spec.backend).collect();
    assert_eq!(backends, [Backend::Asyncio, Backend::Trio]);
}

#[test]
fn a_task_or_thread_that_fails_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    for subshell_id in [None, Some(&*subshell)] {
        let (first, gate) = kernel.hold(subshell_id, "await gate");
        let plain = |kernel: &mut TestKernel| {
            with_mode(kernel, Channel::Shell, subshell_id, "no place", "", cell("ok"))
        };
        let mut queued = vec![plain(&mut kernel)];
        for mode in ["task", "thread", "thread name=X"] {
            let failing =
                with_mode(&mut kernel, Channel::Shell, subshell_id, "first line", mode, cell("fail"));
            queued.push(plain(&mut kernel));
            assert_eq!(kernel.outcome(&failing), FAILED, "{mode}");
        }
        kernel.release(&first, gate);
        for sent in &queued {
            assert_eq!(kernel.outcome(sent), RAN);
        }
    }
}

#[test]
fn a_failing_cell_aborts_no_task_and_no_thread() {
    let mut kernel = TestKernel::start();
    for _ in 0..20 {
        // All have arrived when the cell fails.
        kernel.shell.peer.delay();
        let failing = kernel.execute("fail");
        let queued = kernel.execute("print never");
        let task = kernel.execute("# task\nok");
        let thread = kernel.execute("# thread\nok");
        let last = kernel.execute("print never");
        kernel.shell.peer.resume();
        let outcomes = kernel.outcomes(&[&failing, &queued, &task, &thread, &last]);
        assert_eq!(outcomes, [FAILED, ABORTED, RAN, RAN, ABORTED]);
    }
}

#[test]
fn the_error_of_a_task_goes_to_the_client_that_sent_it() {
    let mut kernel = TestKernel::start();
    for code in ["# task\nfail", "# thread\nfail"] {
        let one = kernel.send(Channel::Shell, "alice", &cell("ok"));
        let two = kernel.send(Channel::Shell, "bob", &cell(code));
        // `outcomes` checks the client of each reply.
        assert_eq!(kernel.outcomes(&[&one, &two]), [RAN, FAILED]);
    }
}

#[test]
fn a_cell_whose_thread_forgets_it_is_answered_and_aborts_nothing() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "hold gate");
    let queued = kernel.execute("ok");
    let sent = kernel.execute("# thread\nvanish");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "# thread\nvanish");
    assert_eq!(kernel.iopub.stories(&[&sent], |last| last == "idle"), ["error:CallerStopped idle"]);
    assert_eq!(kernel.shell.reply::<ErrorReply>(&sent).ename, "CallerStopped");
    kernel.release(&first, gate);
    assert_eq!(kernel.outcome(&queued), RAN);
}
