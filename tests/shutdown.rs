//! Interrupts, and the end of a kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use callboard::actors::caller::Task;
use callboard::actors::caller::ThreadEnded;
use callboard::delivery::job::Channel;
use callboard::delivery::request::{Assignment, ReplyStatus};
use callboard::wire::Parent;
use callboard::wire::content::{
    CompleteRequest, Error, ErrorReply, ExecuteReply, ExecuteRequest, InterruptReply, InterruptRequest,
    KernelInfoReply, KernelInfoRequest, ShutdownReply, ShutdownRequest, Stream, StreamName,
};
use support::{ABORTED, ALICE, Act, DEADLINE, PATIENCE, Sent, TestKernel, cell, read, within_patience};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

fn complete() -> CompleteRequest {
    CompleteRequest { code: "pri".into(), cursor_pos: Some(3) }
}

/// Asks for a shutdown and reads its messages, not those of other requests.
#[track_caller]
fn shut_down(kernel: &mut TestKernel, channel: Channel, restart: bool) -> Sent {
    let sent = kernel.send(channel, ALICE, &ShutdownRequest { restart });
    let reply: ShutdownReply = kernel.line(channel).reply(&sent);
    assert_eq!(reply.restart, restart);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    let announced: ShutdownReply = kernel.iopub.expect(&sent);
    assert_eq!(announced.restart, restart);
    sent
}

/// The kernel has interrupted its process and set the deadline for its end.
#[track_caller]
fn process_is_told(kernel: &TestKernel) {
    assert_eq!(kernel.act(), Act::Interrupt);
    assert_eq!(kernel.act(), Act::ExitAfter(DEADLINE));
}

#[test]
fn a_shutdown_is_answered_and_announced_and_stops_python() {
    for channel in BOTH {
        for restart in [false, true] {
            let mut kernel = TestKernel::start();
            shut_down(&mut kernel, channel, restart);
            process_is_told(&kernel);
            kernel.python_ended();
            assert!(kernel.no_act());
        }
    }
}

#[test]
fn a_shutdown_stops_both_threads_even_if_one_of_them_is_busy() {
    let mut kernel = TestKernel::start();
    let sent = kernel.send(Channel::Control, ALICE, &cell("hold gate"));
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    shut_down(&mut kernel, Channel::Control, false);
    process_is_told(&kernel);
    drop(gate);
    kernel.control.reply::<ExecuteReply>(&sent);
    kernel.iopub.idle(&sent);
    kernel.python_ended();
}

#[test]
fn cells_that_wait_at_a_shutdown_are_aborted_and_answered() {
    let mut kernel = TestKernel::start();
    let running = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&running);
    kernel.iopub.input(&running, "hold gate");
    let waiting: Vec<_> = (0..20).map(|_| kernel.execute("print never")).collect();
    // Shell answers in order: the cells are queued when this is answered.
    let info = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
    kernel.shell.reply::<KernelInfoReply>(&info);
    kernel.iopub.busy(&info);
    kernel.iopub.idle(&info);
    shut_down(&mut kernel, Channel::Control, false);
    for sent in &waiting {
        kernel.aborted(sent);
    }
    // One that comes later is aborted as well, while the first one still runs.
    let late = kernel.execute("print never");
    kernel.aborted(&late);
    drop(gate);
    kernel.shell.reply::<ExecuteReply>(&running);
    kernel.iopub.idle(&running);
    kernel.python_ended();
}

#[test]
fn a_cell_that_the_shutdown_interrupts_is_answered() {
    let mut kernel = TestKernel::start();
    let running = kernel.execute("hold gate\nfail");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&running);
    kernel.iopub.input(&running, "hold gate\nfail");
    shut_down(&mut kernel, Channel::Control, false);
    process_is_told(&kernel);
    drop(gate);
    kernel.iopub.expect::<Error>(&running);
    kernel.shell.reply::<ErrorReply>(&running);
    kernel.iopub.idle(&running);
    kernel.python_ended();
}

#[test]
fn a_second_shutdown_is_answered_and_does_nothing_more() {
    let mut kernel = TestKernel::start();
    shut_down(&mut kernel, Channel::Control, false);
    process_is_told(&kernel);
    for channel in BOTH {
        let again = kernel.send(channel, ALICE, &ShutdownRequest { restart: true });
        assert!(kernel.line(channel).reply::<ShutdownReply>(&again).restart);
        kernel.iopub.busy(&again);
        kernel.iopub.idle(&again);
    }
    kernel.python_ended();
    assert!(kernel.no_act());
}

#[test]
fn the_kernel_answers_until_it_is_closed() {
    let mut kernel = TestKernel::start();
    shut_down(&mut kernel, Channel::Control, false);
    kernel.python_ended();
    kernel.answers();
}

#[test]
fn an_interrupt_reaches_the_process_while_a_cell_runs() {
    let mut kernel = TestKernel::start();
    let running = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&running);
    kernel.iopub.input(&running, "hold gate");
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &InterruptRequest {});
        kernel.line(channel).reply::<InterruptReply>(&sent);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
        assert_eq!(kernel.act(), Act::Interrupt);
        assert!(kernel.no_act());
    }
    drop(gate);
    kernel.shell.reply::<ExecuteReply>(&running);
    kernel.iopub.idle(&running);
    let next = kernel.execute("ok");
    kernel.ran(&next, "ok");
}

/// A kernel whose shell thread waits at a gate, with these cells behind it; all has arrived when the gate is
/// opened. Then the first of them has begun.
#[track_caller]
fn gated(behind: &[ExecuteRequest]) -> (TestKernel, Vec<Sent>) {
    let mut kernel = TestKernel::start();
    let first = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&first);
    kernel.iopub.input(&first, "hold gate");
    let cells: Vec<_> = behind.iter().map(|cell| kernel.send(Channel::Shell, ALICE, cell)).collect();
    kernel.answers();
    drop(gate);
    kernel.shell.reply::<ExecuteReply>(&first);
    kernel.iopub.idle(&first);
    kernel.iopub.busy(&cells[0]);
    kernel.iopub.input(&cells[0], &behind[0].code);
    (kernel, cells)
}

/// The outcome of a cell that has begun and that its thread forgets.
const FORGOTTEN: &str = "error:CallerStopped idle; error:CallerStopped";

/// A cell was answered, and has not run.
#[track_caller]
fn has_not_run(kernel: &mut TestKernel, sent: &Sent) {
    let refused = "busy error:CallerStopped idle; error:CallerStopped";
    let outcome = kernel.outcome(sent);
    assert!([ABORTED, refused].contains(&&*outcome), "{outcome}");
}

#[test]
fn a_cell_that_its_thread_forgets_is_answered_with_an_error() {
    let (mut kernel, cells) = gated(&[cell("vanish")]);
    assert_eq!(kernel.outcome(&cells[0]), FORGOTTEN);
}

#[test]
fn cells_behind_one_that_its_thread_forgets_are_answered() {
    for stop_on_error in [true, false] {
        let forgotten = ExecuteRequest { stop_on_error, ..cell("vanish") };
        let behind = || ExecuteRequest { stop_on_error, ..cell("print never") };
        let (mut kernel, cells) = gated(&[forgotten, behind(), behind(), behind()]);
        kernel.kernel.shell_caller.addr.do_send(ThreadEnded);
        assert_eq!(kernel.outcome(&cells[0]), FORGOTTEN);
        for sent in &cells[1..] {
            has_not_run(&mut kernel, sent);
        }
    }
}

#[test]
fn work_that_waits_when_its_thread_ends_is_answered() {
    let mut kernel = TestKernel::without_python();
    let cells: Vec<_> = (0..3).map(|_| kernel.execute("print never")).collect();
    let completions: Vec<_> = (0..3).map(|_| kernel.send(Channel::Shell, ALICE, &complete())).collect();
    kernel.answers();
    kernel.kernel.shell_caller.addr.do_send(ThreadEnded);
    for sent in &cells {
        has_not_run(&mut kernel, sent);
    }
    kernel.kernel.control_caller.addr.do_send(ThreadEnded);
    for sent in &completions {
        assert_eq!(kernel.refused(Channel::Shell, sent), "CallerStopped");
    }
}

#[test]
fn work_that_comes_when_its_thread_has_ended_is_refused() {
    let mut kernel = TestKernel::without_python();
    kernel.kernel.shell_caller.addr.do_send(ThreadEnded);
    kernel.kernel.control_caller.addr.do_send(ThreadEnded);
    for _ in 0..3 {
        let late = kernel.execute("print never");
        assert_eq!(kernel.cell_refused(Channel::Shell, &late).0, "CallerStopped");
        let late = kernel.send(Channel::Shell, ALICE, &complete());
        assert_eq!(kernel.refused(Channel::Shell, &late), "CallerStopped");
        let late = kernel.send(Channel::Control, ALICE, &cell("print never"));
        assert_eq!(kernel.cell_refused(Channel::Control, &late).0, "CallerStopped");
    }
}

/// Takes the next request from an inbox, as the thread that serves it does.
#[track_caller]
fn next(kernel: &TestKernel, channel: Channel) -> Assignment {
    let inbox = if channel == Channel::Shell { &kernel.kernel.shell } else { &kernel.kernel.control }.clone();
    let mut work = within_patience("work for a thread", move || {
        inbox.wait().unwrap();
        inbox.drain()
    });
    match work.pop_front() {
        Some(Task::Request(request)) => request,
        _ => panic!("a request was to come"),
    }
}

#[test]
fn what_was_published_before_the_end_is_delivered() {
    for _ in 0..50 {
        let mut kernel = TestKernel::without_python();
        let parent = Parent::none().into();
        for n in 0..100 {
            kernel.kernel.publisher.text(&parent, StreamName::Stdout, &format!("{n}\n"));
            kernel.kernel.publisher.text(&parent, StreamName::Stderr, &format!("{n}\n"));
        }
        kernel.kernel.publisher.idle(&parent);
        kernel.kernel.close(PATIENCE);
        kernel.kernel.publisher.text(&parent, StreamName::Stdout, "after the end\n");
        for n in 0..100 {
            for _ in 0..2 {
                let text: Stream = read(&kernel.iopub.message("text"));
                assert_eq!(text.text, format!("{n}\n"));
            }
        }
        kernel.iopub.message("the status");
    }
}

#[test]
fn what_was_answered_before_the_end_is_delivered() {
    for channel in BOTH {
        for outcome in [ReplyStatus::Ok, ReplyStatus::Error] {
            for _ in 0..50 {
                let mut kernel = TestKernel::without_python();
                let sent = kernel.send(channel, ALICE, &cell("ok"));
                let request = next(&kernel, channel);
                assert!(request.begin());
                request.reply_error("Failure", "on purpose", Vec::new());
                request.finish(outcome);
                kernel.kernel.close(PATIENCE);
                kernel.line(channel).reply::<ErrorReply>(&sent);
                kernel.iopub.busy(&sent);
                kernel.iopub.idle(&sent);
            }
        }
    }
}

#[test]
fn closing_closes_all_sockets_and_may_be_done_twice() {
    let mut kernel = TestKernel::start();
    shut_down(&mut kernel, Channel::Control, false);
    kernel.python_ended();
    kernel.kernel.close(PATIENCE);
    kernel.kernel.close(PATIENCE);
    let lines = [&kernel.shell, &kernel.control, &kernel.stdin, &kernel.iopub, &kernel.heartbeat];
    for line in lines {
        assert!(!line.peer.send(vec![b"hello".to_vec()].into()), "a socket is open still");
    }
}

#[test]
fn closing_does_not_wait_for_a_subscriber_that_does_not_read() {
    let mut kernel = TestKernel::without_python();
    kernel.iopub.peer.stall();
    kernel.kernel.publisher.idle(&std::sync::Arc::new(Parent::none()));
    kernel.kernel.close(Duration::from_millis(50));
    assert_eq!(kernel.iopub.rest(), Vec::<String>::new());
}

#[test]
fn the_end_of_the_parent_process_shuts_the_kernel_down() {
    let mut parent = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = libc::pid_t::try_from(parent.id()).unwrap();
    let mut kernel = TestKernel::start_with(|options| options.parent = Some(pid));
    kernel.answers();
    assert!(kernel.no_act());
    drop(parent.stdin.take());
    parent.wait().unwrap();
    let announced = kernel.iopub.message("the announcement");
    assert_eq!(&*announced.parent, b"{}");
    assert!(!read::<ShutdownReply>(&announced).restart);
    process_is_told(&kernel);
    kernel.python_ended();
}

#[test]
fn a_parent_process_that_has_ended_already_shuts_the_kernel_down() {
    let mut parent = Command::new("true").spawn().unwrap();
    let pid = libc::pid_t::try_from(parent.id()).unwrap();
    parent.wait().unwrap();
    let mut kernel = TestKernel::start_with(|options| options.parent = Some(pid));
    assert!(!read::<ShutdownReply>(&kernel.iopub.message("the announcement")).restart);
    process_is_told(&kernel);
    kernel.python_ended();
}
