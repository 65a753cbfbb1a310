//! The Callers behind cells that run in threads.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use callboard::actors::caller::{Role, Stop, Task, ThreadEnded, WORKER};
use callboard::delivery::job::Channel;
use callboard::wire::content::{CreateSubshellRequest, ShutdownReply, ShutdownRequest};
use callboard::wire::run_mode::Backend;
use support::{ALICE, FAILED, KEPT, RAN, Sent, TestKernel, cell, within_patience};

/// The roles of all Callers whose threads were started.
fn roles(kernel: &TestKernel) -> Vec<Role> {
    kernel.started().iter().map(|started| started.spec.role.clone()).collect()
}

#[test]
fn a_named_caller_is_made_once_and_runs_its_cells_in_order() {
    let mut kernel = TestKernel::start();
    let subshell = kernel.create_subshell();
    for _ in 0..3 {
        // All are there at once, on both channels.
        kernel.shell.peer.delay();
        let code = "# thread name=X\nwhere";
        let mut cells = Vec::new();
        for client in ["alice", "bob"] {
            for _ in 0..10 {
                cells.push(kernel.send(Channel::Shell, client, &cell(code)));
                cells.push(kernel.execute_in(&subshell, code));
            }
        }
        kernel.shell.peer.resume();
        for sent in &cells {
            assert_eq!(kernel.outcome(sent), "busy input stdout:X idle; ok");
        }
    }
    assert_eq!(roles(&kernel), [Role::Subshell(subshell), Role::Named]);
}

#[test]
fn names_tell_callers_apart() {
    let mut kernel = TestKernel::start();
    let names = ["X", "x", "X ", "\u{1f980}", "shell", "Shell"];
    for name in names {
        let (sent, held) = kernel.hold(None, &format!("# thread name='{name}'\nhold {name}"));
        let other = kernel.execute("# thread name=other\nok");
        assert_eq!(kernel.outcome(&other), RAN);
        kernel.release(&sent, held);
    }
    let started: Vec<String> = kernel.started().iter().map(|started| started.spec.name.clone()).collect();
    assert_eq!(started, ["X", "other", "x", "X ", "\u{1f980}", "shell", "Shell"]);
}

#[test]
fn callers_are_children_of_the_shells_and_like_it() {
    let mut kernel = TestKernel::start_with(|options| options.backend = Backend::Trio);
    let subshell = kernel.create_subshell();
    for code in ["# thread\nok", "# thread name=X\nok", "# thread name=Y backend=asyncio use_uvloop=true\nok"]
    {
        let sent = kernel.execute_in(&subshell, code);
        assert_eq!(kernel.outcome(&sent), RAN);
    }
    let specs: Vec<_> = kernel.started().into_iter().map(|started| started.spec).collect();
    let shell = kernel.kernel.shell_caller.spec.id;
    assert!(specs.iter().all(|spec| spec.parent == Some(shell)));
    let like: Vec<_> = specs.iter().map(|spec| (spec.backend, spec.use_uvloop)).collect();
    let trio = (Backend::Trio, None);
    assert_eq!(like, [trio, trio, trio, (Backend::Asyncio, Some(true))]);
    assert_eq!(kernel.kernel.control_caller.spec.parent, Some(shell));
    assert_eq!(kernel.kernel.control_caller.spec.backend, Backend::Asyncio);
}

#[test]
fn the_control_caller_can_be_named() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("# thread name=Control\nwhere");
    assert_eq!(kernel.outcome(&sent), "busy input stdout:control idle; ok");
    assert_eq!(roles(&kernel), []);
}

#[test]
fn a_worker_is_used_again_after_any_end_of_its_cell() {
    let mut kernel = TestKernel::start();
    for (code, outcome) in [("ok", RAN), ("fail", FAILED)].repeat(20) {
        let sent = kernel.execute(&format!("# thread\n{code}"));
        assert_eq!(kernel.outcome(&sent), outcome);
    }
    assert_eq!(roles(&kernel), [Role::Worker]);
}

#[test]
fn a_busy_worker_is_left_alone_and_one_too_many_ends() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "# thread\nhold gate");
    for _ in 0..10 {
        let sent = kernel.execute("# thread\nok");
        assert_eq!(kernel.outcome(&sent), RAN);
    }
    assert_eq!(roles(&kernel), [Role::Worker, Role::Worker]);
    kernel.release(&first, gate);
    assert_eq!(KEPT, 1);
    assert_eq!(kernel.next_ended(), WORKER);
    let sent = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    assert_eq!(kernel.started().len(), 2);
}

#[test]
fn a_worker_is_no_named_caller_even_by_its_name() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "# thread\nhold gate");
    let sent = kernel.execute(&format!("# thread name={WORKER}\nwhere"));
    assert_eq!(kernel.outcome(&sent), format!("busy input stdout:{WORKER} idle; ok"));
    kernel.release(&first, gate);
    assert_eq!(roles(&kernel), [Role::Worker, Role::Named]);
}

#[test]
fn a_worker_whose_thread_ends_is_not_used_again() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("# thread\nvanish");
    assert_eq!(kernel.outcome(&sent), "busy input error:CallerStopped idle; error:CallerStopped");
    assert_eq!(kernel.next_ended(), WORKER);
    let sent = kernel.execute("# thread\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    assert_eq!(kernel.started().len(), 2);
}

#[test]
fn what_waits_for_a_thread_that_ends_is_answered_and_the_next_cell_gets_a_new_one() {
    let mut kernel = TestKernel::start();
    let code = "# thread name=X\nhold gate\nvanish";
    for round in 1..=3 {
        let first = kernel.execute(code);
        let gate = kernel.held("gate");
        kernel.iopub.busy(&first);
        kernel.iopub.input(&first, code);
        let waiting: Vec<Sent> = (0..3).map(|_| kernel.execute("# thread name=X\nprint never")).collect();
        // They are in the inbox: the main shell's cell has come after them to the same actor.
        let queued = kernel.execute("ok");
        assert_eq!(kernel.outcome(&queued), RAN);
        drop(gate);
        assert_eq!(kernel.outcome(&first), "error:CallerStopped idle; error:CallerStopped");
        for sent in &waiting {
            assert_eq!(kernel.cell_refused(Channel::Shell, sent).0, "CallerStopped");
        }
        assert_eq!(kernel.next_ended(), "X");
        let sent = kernel.execute("# thread name=X\nwhere");
        assert_eq!(kernel.outcome(&sent), "busy input stdout:X idle; ok");
        assert_eq!(kernel.started().len(), 2 * round);
        let again = kernel.execute("# thread name=X\nvanish");
        kernel.outcome(&again);
        assert_eq!(kernel.next_ended(), "X");
    }
}

#[test]
fn threads_that_cannot_be_started_are_refused() {
    let mut kernel = TestKernel::without_python();
    kernel.kernel.control_caller.addr.do_send(ThreadEnded);
    for code in ["# thread\nprint never", "# thread name=X\nprint never"].repeat(3) {
        let sent = kernel.execute(code);
        assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "CallerStopped");
    }
    let sent = kernel.send(Channel::Control, ALICE, &CreateSubshellRequest {});
    assert_eq!(kernel.refused(Channel::Control, &sent), "CallerError");
    assert_eq!(kernel.subshells(), Vec::<String>::new());
}

#[test]
fn cells_of_a_thread_that_was_not_started_in_time_are_answered() {
    let mut kernel = TestKernel::without_python();
    let sent = kernel.execute("# thread\nprint never");
    let inbox = kernel.kernel.control.clone();
    within_patience("the start of a thread", move || inbox.wait().unwrap());
    kernel.kernel.control_caller.addr.do_send(ThreadEnded);
    assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "CallerStopped");
}

#[test]
fn a_kernel_that_ends_starts_no_threads() {
    let mut kernel = TestKernel::without_python();
    let sent = kernel.send(Channel::Control, ALICE, &ShutdownRequest { restart: false });
    kernel.control.reply::<ShutdownReply>(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    kernel.iopub.expect::<ShutdownReply>(&sent);
    // Both inboxes have a stop: all actors know.
    for inbox in [&kernel.kernel.shell, &kernel.kernel.control] {
        let work = support::next_work(inbox);
        assert!(matches!(work[..], [Task::Stop]));
    }
    for code in ["# thread\nprint never", "# thread name=X\nprint never"] {
        let sent = kernel.execute(code);
        let (ename, evalue) = kernel.cell_refused(Channel::Shell, &sent);
        assert_eq!(ename, "CallerError");
        assert!(evalue.contains("\"Shell\" is stopping"), "{evalue}");
    }
    for channel in [Channel::Control, Channel::Shell] {
        let sent = kernel.send(channel, ALICE, &CreateSubshellRequest {});
        assert_eq!(kernel.refused(channel, &sent), "CallerError");
    }
    assert!(kernel.kernel.control.is_empty());
}

#[test]
fn cells_for_a_caller_that_stops_are_answered() {
    let mut kernel = TestKernel::start();
    let (first, gate) = kernel.hold(None, "# thread name=X\nhold gate");
    let shell = &kernel.kernel.shell_caller;
    let options = callboard::wire::run_mode::CallerOptions { name: Some("X".into()), ..Default::default() };
    let (caller, made) = support::get_child(shell, options, false).unwrap();
    assert!(!made);
    caller.addr.do_send(Stop);
    let late: Vec<Sent> = (0..3).map(|_| kernel.execute("# thread name=X\nok")).collect();
    kernel.all_has_arrived();
    kernel.release(&first, gate);
    assert_eq!(kernel.next_ended(), "X");
    for sent in &late {
        assert_eq!(kernel.cell_refused(Channel::Shell, sent).0, "CallerStopped");
    }
    let sent = kernel.execute("# thread name=X\nok");
    assert_eq!(kernel.outcome(&sent), RAN);
    assert_eq!(kernel.started().len(), 2);
}
