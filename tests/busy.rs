//! The last status on iopub is busy as long as code runs, whatever else is answered, and each request keeps its own busy
//! and idle. Every other test checks it as well: see `Statuses` in `support/line.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use callboard::delivery::job::Channel;
use callboard::wire::content::{CompleteRequest, ExecutionState, KernelInfoReply, KernelInfoRequest, Status};
use callboard::wire::{Frame, Incoming, MessageType};
use serde_json::{Value, json};
use support::{ABORTED, ALICE, RAN, Sent, TestKernel, read};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

/// The next message says busy for a request. Returns its date.
#[track_caller]
fn busy(kernel: &mut TestKernel, parent: &Sent) -> String {
    let message = status(kernel, ExecutionState::Busy);
    assert_eq!(*message.parent, *parent.header, "busy of another request");
    message.header.date
}

/// The next message is a status.
#[track_caller]
fn status(kernel: &mut TestKernel, state: ExecutionState) -> Incoming {
    let message = kernel.iopub.message("a status");
    assert_eq!(message.kind, MessageType::Status);
    assert_eq!(read::<Status>(&message).execution_state, state);
    message
}

/// Starts a cell that waits in a thread of its own, and reads its busy and its input.
#[track_caller]
fn hold_in_thread(kernel: &mut TestKernel, name: &str) -> (Sent, support::Held) {
    kernel.hold(None, &format!("# thread\nhold {name}"))
}

#[test]
fn busy_comes_once_more_behind_everything_that_is_answered_while_a_cell_runs() {
    let mut kernel = TestKernel::start();
    kernel.iopub.shows_busy_again = true;
    let cell_sent = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    let date = busy(&mut kernel, &cell_sent);
    kernel.iopub.input(&cell_sent, "hold gate");
    for channel in BOTH {
        for kind in ["kernel_info_request", "complete_request", "comm_info_request", "no_such_request", "odd"]
        {
            let kind = MessageType::parse(kind);
            let content = if kind == MessageType::CompleteRequest { json!({"code": "a"}) } else { json!({}) };
            let header = json!(kernel.session.header(&kind));
            let sent = kernel.send_raw(channel, kind.clone(), &header, &json!({}), &content);
            kernel.iopub.busy(&sent);
            kernel.iopub.idle(&sent);
            assert_eq!(
                busy(&mut kernel, &cell_sent),
                date,
                "clients take the date for the start of the cell"
            );
            if kind.reply().is_some() {
                kernel.line(channel).reply::<Value>(&sent);
            }
        }
    }
    kernel.release(&cell_sent, gate);
    // Nothing runs any more.
    let sent = kernel.send(Channel::Shell, ALICE, &KernelInfoRequest {});
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<KernelInfoReply>(&sent);
}

#[test]
fn busy_comes_once_more_until_the_last_of_several_cells_has_ended() {
    let mut kernel = TestKernel::start();
    kernel.iopub.shows_busy_again = true;
    let subshell = kernel.create_subshell();
    let (first, first_gate) = kernel.hold(None, "hold first");
    let (second, second_gate) = kernel.hold(Some(&subshell), "hold second");
    let (third, third_gate) = hold_in_thread(&mut kernel, "third");
    // The oldest one that runs is named.
    kernel.release(&second, second_gate);
    busy(&mut kernel, &first);
    kernel.release(&first, first_gate);
    busy(&mut kernel, &third);
    let info = kernel.send(Channel::Control, ALICE, &KernelInfoRequest {});
    kernel.control.reply::<KernelInfoReply>(&info);
    kernel.iopub.busy(&info);
    kernel.iopub.idle(&info);
    busy(&mut kernel, &third);
    kernel.release(&third, third_gate);
}

#[test]
fn a_request_that_runs_no_code_of_the_user_s_does_not_keep_the_kernel_busy() {
    let mut kernel = TestKernel::without_python();
    kernel.iopub.shows_busy_again = true;
    // Begun on the thread of Control, which takes its time.
    let sent = kernel.send(Channel::Shell, ALICE, &CompleteRequest { code: "a".into(), cursor_pos: None });
    let work = support::next_work(&kernel.kernel.control);
    let [callboard::actors::caller::Task::Request(request)] = &work[..] else {
        panic!("a completion was to come");
    };
    assert!(request.begin());
    kernel.iopub.busy(&sent);
    kernel.answers();
    request.reply(json!({"status": "ok", "matches": []}).to_string().into_bytes(), None, Vec::new());
    request.finish(callboard::delivery::request::ReplyStatus::Ok);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<Value>(&sent);
}

#[test]
fn the_handler_of_a_comm_keeps_the_kernel_busy() {
    let mut kernel = TestKernel::without_python();
    kernel.iopub.shows_busy_again = true;
    for kind in ["comm_open", "comm_msg", "comm_close"] {
        let kind = MessageType::parse(kind);
        let header = json!(kernel.session.header(&kind));
        let content = json!({"comm_id": "a", "target_name": "t", "data": {}});
        let sent = kernel.send_raw(Channel::Shell, kind, &header, &json!({}), &content);
        let work = support::next_work(&kernel.kernel.shell);
        let [callboard::actors::caller::Task::Request(request)] = &work[..] else {
            panic!("a comm message was to come");
        };
        assert!(request.begin());
        kernel.iopub.busy(&sent);
        let info = kernel.send(Channel::Control, ALICE, &KernelInfoRequest {});
        kernel.control.reply::<KernelInfoReply>(&info);
        kernel.iopub.busy(&info);
        kernel.iopub.idle(&info);
        busy(&mut kernel, &sent);
        request.finish(callboard::delivery::request::ReplyStatus::Ok);
        kernel.iopub.idle(&sent);
    }
}

#[test]
fn a_cell_alone_has_one_busy_and_so_have_cells_one_after_the_other() {
    let mut kernel = TestKernel::start();
    kernel.iopub.shows_busy_again = true;
    let cells: Vec<Sent> = (0..50).map(|_| kernel.execute("ok")).collect();
    for sent in &cells {
        assert_eq!(kernel.outcome(sent), RAN);
    }
    let failed = kernel.execute("hold gate\nfail");
    let gate = kernel.held("gate");
    let aborted: Vec<Sent> = (0..50).map(|_| kernel.execute("ok")).collect();
    kernel.iopub.busy(&failed);
    kernel.iopub.input(&failed, "hold gate\nfail");
    kernel.all_has_arrived();
    busy(&mut kernel, &failed);
    drop(gate);
    assert_eq!(kernel.outcome(&failed), "error:Failure idle; error:Failure");
    for sent in &aborted {
        assert_eq!(kernel.outcome(sent), ABORTED);
    }
}

#[test]
fn a_status_of_python_code_does_not_hide_that_code_runs() {
    let mut kernel = TestKernel::start();
    kernel.iopub.shows_busy_again = true;
    let publish = |kernel: &TestKernel, state: &str| {
        let content = json!({"execution_state": state}).to_string().into_bytes();
        let parent = std::sync::Arc::new(callboard::wire::Parent::none());
        let publisher = &kernel.kernel.publisher;
        publisher.raw(&parent, &MessageType::Status, Frame::EMPTY_OBJECT, content, Vec::new());
    };
    publish(&kernel, "idle");
    status(&mut kernel, ExecutionState::Idle);
    let (sent, gate) = kernel.hold(None, "hold gate");
    publish(&kernel, "idle");
    status(&mut kernel, ExecutionState::Idle);
    busy(&mut kernel, &sent);
    kernel.release(&sent, gate);
}

#[test]
fn a_new_subscriber_learns_that_code_runs() {
    let mut kernel = TestKernel::start();
    kernel.iopub.shows_busy_again = true;
    let subscribe = |kernel: &mut TestKernel| {
        kernel.iopub.send(vec![vec![1]].into());
        assert_eq!(kernel.iopub.message("the greeting").kind, MessageType::IopubWelcome);
    };
    subscribe(&mut kernel);
    let (sent, gate) = kernel.hold(None, "hold gate");
    subscribe(&mut kernel);
    busy(&mut kernel, &sent);
    kernel.release(&sent, gate);
    subscribe(&mut kernel);
    kernel.answers();
}
