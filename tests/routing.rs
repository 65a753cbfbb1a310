//! Which part of the kernel answers a request, and which client gets the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::sync::Arc;

use callboard::actors::caller::Task;
use callboard::actors::comms::CommEvent;
use callboard::delivery::job::Channel;
use callboard::delivery::request::ReplyStatus;
use callboard::wire::content::{
    CommClose, CommInfoReply, CommInfoRequest, CommOpen, CompleteRequest, ConnectReply, ConnectRequest,
    ExecuteReply, HistoryAccess, HistoryRequest, InspectRequest, IsCompleteRequest, KernelInfoReply,
    KernelInfoRequest, StreamName, UsageReply, UsageRequest, empty_object,
};
use callboard::wire::{Frame, MessageType, Outgoing, Parent};
use serde_json::Value;
use support::{ALICE, KEY, Line, Sent, TestKernel, cell, signed};

const BOTH: [Channel; 2] = [Channel::Shell, Channel::Control];

fn open(comm_id: &str, target_name: &str) -> CommOpen {
    CommOpen {
        comm_id: comm_id.into(),
        target_name: target_name.into(),
        target_module: None,
        data: empty_object(),
    }
}

fn complete() -> CompleteRequest {
    CompleteRequest { code: "pri".into(), cursor_pos: Some(3) }
}

#[test]
fn a_reply_goes_to_the_client_that_asked() {
    let mut kernel = TestKernel::start();
    for n in 0..20 {
        let one = kernel.send(Channel::Shell, "alice", &cell("ok"));
        let two = kernel.send(Channel::Shell, "bob", &cell("ok"));
        // Each `ran` checks the reply's identity.
        assert_eq!(kernel.ran(&one, "ok"), 2 * n + 1);
        assert_eq!(kernel.ran(&two, "ok"), 2 * n + 2);
    }
}

#[test]
fn all_identities_in_front_of_a_request_are_in_front_of_its_reply() {
    let mut kernel = TestKernel::without_python();
    let dicts = [r#"{"msg_id":"1","msg_type":"kernel_info_request"}"#, "{}", "{}", "{}"];
    let mut frames = signed(KEY, "alice", dicts);
    frames.insert(1, b"\xff\x00second".to_vec());
    kernel.shell.send(frames.into());
    let reply = kernel.shell.message("the reply");
    assert_eq!(reply.idents, [b"alice".to_vec(), b"\xff\x00second".to_vec()]);
    for _ in 0..2 {
        kernel.iopub.message("busy and idle");
    }
}

#[test]
fn the_header_of_a_request_comes_back_byte_for_byte() {
    let mut kernel = TestKernel::start();
    for kind in [MessageType::KernelInfoRequest, MessageType::CompleteRequest] {
        let header = format!(
            "{{ \"msg_type\" : \"{kind}\",\t\"msg_id\":\"m-{kind}\", \"version\":\"5.9\",\n \
             \"extra\": [1.0, 1e2, {{\"é\":\"\\u00fc\"}}], \"subshell_id\": null }}"
        );
        let content = if kind == MessageType::CompleteRequest { r#"{"code":"a"}"# } else { "{}" };
        kernel.shell.send_dicts(ALICE, [&header, "{}", "{}", content]);
        let sent =
            Sent { id: format!("m-{kind}"), kind, header: header.into_bytes(), identity: ALICE.to_owned() };
        kernel.shell.reply::<Value>(&sent);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
}

#[test]
fn kernel_info_needs_no_python() {
    let mut kernel = TestKernel::without_python();
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &KernelInfoRequest {});
        let reply: KernelInfoReply = kernel.line(channel).reply(&sent);
        assert_eq!(reply.implementation, "callboard");
        assert_eq!(reply.protocol_version, "5.5");
        assert_eq!(reply.language_info.name, "python");
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
}

#[test]
fn the_ports_need_no_python() {
    let mut kernel = TestKernel::without_python();
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &ConnectRequest {});
        let reply: ConnectReply = kernel.line(channel).reply(&sent);
        let ports = [reply.shell_port, reply.iopub_port, reply.stdin_port, reply.hb_port, reply.control_port];
        assert_eq!(ports, [1001, 1002, 1003, 1004, 1005]);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
}

#[test]
fn the_use_of_memory_needs_no_python() {
    let mut kernel = TestKernel::without_python();
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &UsageRequest {});
        let reply: UsageReply = kernel.line(channel).reply(&sent);
        assert_eq!(reply.pid, std::process::id());
        assert!(reply.kernel_memory > 0);
        assert!(reply.host_virtual_memory.total > reply.kernel_memory);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
}

/// The open comms as (id, target), in order of the ids.
#[track_caller]
fn comms(kernel: &mut TestKernel, channel: Channel, target: Option<&str>) -> Vec<(String, String)> {
    let request = CommInfoRequest { target_name: target.map(str::to_owned) };
    let sent = kernel.send(channel, ALICE, &request);
    let reply: CommInfoReply = kernel.line(channel).reply(&sent);
    kernel.iopub.busy(&sent);
    kernel.iopub.idle(&sent);
    reply.comms.into_iter().map(|(id, comm)| (id, comm.target_name)).collect()
}

#[test]
fn the_open_comms_need_no_python() {
    let mut kernel = TestKernel::without_python();
    let pair = |id: &str, target: &str| (id.to_owned(), target.to_owned());
    assert_eq!(comms(&mut kernel, Channel::Shell, None), []);

    // Opened by a client, and by Python.
    kernel.send(Channel::Shell, ALICE, &open("a", "slider"));
    kernel.send(Channel::Shell, ALICE, &open("b", "button"));
    kernel.kernel.comm(CommEvent::Opened { comm_id: "c".into(), target_name: "slider".into() });
    let all = [pair("a", "slider"), pair("b", "button"), pair("c", "slider")];
    assert_eq!(comms(&mut kernel, Channel::Shell, None), all);
    assert_eq!(comms(&mut kernel, Channel::Control, None), all);
    assert_eq!(comms(&mut kernel, Channel::Shell, Some("slider")), [all[0].clone(), all[2].clone()]);
    assert_eq!(comms(&mut kernel, Channel::Shell, Some("nothing")), []);

    // Closed by Python, and by a client.
    kernel.kernel.comm(CommEvent::Closed { comm_id: "a".into() });
    kernel.send(Channel::Shell, ALICE, &CommClose { comm_id: "c".into(), data: empty_object() });
    assert_eq!(comms(&mut kernel, Channel::Shell, None), [pair("b", "button")]);
}

/// The thread that has answered.
#[track_caller]
fn thread(line: &mut Line, sent: &Sent) -> String {
    line.reply::<Value>(sent)["thread"].as_str().unwrap().to_owned()
}

#[test]
fn the_control_thread_answers_completion_inspection_and_history_while_a_cell_runs() {
    let mut kernel = TestKernel::start();
    let running = kernel.execute("hold cell");
    let held = kernel.held("cell");
    kernel.iopub.busy(&running);
    kernel.iopub.input(&running, "hold cell");
    for channel in BOTH {
        let history = HistoryRequest { output: false, raw: true, access: HistoryAccess::Tail { n: Some(3) } };
        let requests = [
            kernel.send(channel, ALICE, &complete()),
            kernel.send(
                channel,
                ALICE,
                &InspectRequest {
                    code: "print".into(),
                    cursor_pos: Some(1),
                    detail_level: 0,
                    omit_sections: Vec::new(),
                },
            ),
            kernel.send(channel, ALICE, &IsCompleteRequest { code: "1".into() }),
            kernel.send(channel, ALICE, &history),
        ];
        for sent in &requests {
            assert_eq!(thread(kernel.line(channel), sent), "control");
            kernel.iopub.busy(sent);
            kernel.iopub.idle(sent);
        }
    }
    drop(held);
    kernel.iopub.idle(&running);
    kernel.shell.reply::<ExecuteReply>(&running);
}

#[test]
fn cells_and_comms_run_on_the_shell_thread_and_cells_of_control_on_the_control_thread() {
    let mut kernel = TestKernel::start();
    for (channel, thread) in [(Channel::Shell, "shell\n"), (Channel::Control, "control\n")] {
        let sent = kernel.send(channel, ALICE, &cell("where"));
        kernel.iopub.busy(&sent);
        kernel.iopub.input(&sent, "where");
        kernel.iopub.text(&sent, StreamName::Stdout, thread);
        kernel.iopub.idle(&sent);
        kernel.line(channel).reply::<ExecuteReply>(&sent);
    }
    for channel in BOTH {
        let sent = kernel.send(channel, ALICE, &open("a", "slider"));
        kernel.iopub.busy(&sent);
        kernel.iopub.text(&sent, StreamName::Stdout, "comm_open on shell\n");
        kernel.iopub.idle(&sent);
    }
}

#[test]
fn control_answers_while_cells_wait_for_each_other() {
    let mut kernel = TestKernel::start();
    let first = kernel.execute("hold cell");
    let second = kernel.execute("ok");
    let held = kernel.held("cell");
    kernel.iopub.busy(&first);
    kernel.iopub.input(&first, "hold cell");
    kernel.answers();
    let third = kernel.send(Channel::Control, ALICE, &cell("ok"));
    kernel.control.reply::<ExecuteReply>(&third);
    kernel.iopub.busy(&third);
    kernel.iopub.input(&third, "ok");
    kernel.iopub.idle(&third);
    drop(held);
    kernel.iopub.idle(&first);
    kernel.shell.reply::<ExecuteReply>(&first);
    kernel.ran(&second, "ok");
}

#[test]
fn a_subshell_that_does_not_exist_is_refused() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute_in("nowhere", "ok");
    assert_eq!(kernel.cell_refused(Channel::Shell, &sent).0, "UnknownSubshellError");
    let sent = kernel.execute("ok");
    kernel.ran(&sent, "ok");
}

#[test]
fn topics_on_iopub_name_the_kernel_and_the_type() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("print hello");
    let mut topics = Vec::new();
    for _ in 0..4 {
        let message = kernel.iopub.message("what the cell publishes");
        assert_eq!(message.idents.len(), 1);
        topics.push(String::from_utf8(message.idents[0].clone()).unwrap());
    }
    kernel.shell.reply::<ExecuteReply>(&sent);
    let id = kernel.kernel.publisher.session().id();
    for (topic, kind) in topics.iter().zip(["status", "execute_input", "stream.stdout", "status"]) {
        assert_eq!(*topic, format!("kernel.{id}.{kind}"));
    }
}

#[test]
fn a_request_that_python_has_claimed_waits_for_python_which_may_have_it_answered() {
    let mut kernel = TestKernel::without_python();
    for channel in BOTH {
        kernel.kernel.claim(channel, vec!["kernel_info_request".into(), "my_request".into()]);
        let inbox = if channel == Channel::Control { &kernel.kernel.control } else { &kernel.kernel.shell };
        let inbox = inbox.clone();
        let sent = kernel.send(channel, ALICE, &KernelInfoRequest {});
        inbox.wait().unwrap();
        let Some(Task::Request(request)) = inbox.drain().pop_front() else {
            panic!("the request is not there");
        };
        assert_eq!(request.job.channel, channel);
        assert!(request.begin());
        kernel.iopub.busy(&sent);
        kernel.kernel.answer(request.job.again());
        let reply: KernelInfoReply = kernel.line(channel).reply(&sent);
        assert_eq!(reply.implementation, "callboard");
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
        request.finish(ReplyStatus::Ok);
        kernel.iopub.idle(&sent);
        // Nothing is claimed any more.
        kernel.kernel.claim(channel, Vec::new());
        let sent = kernel.send(channel, ALICE, &KernelInfoRequest {});
        kernel.line(channel).reply::<KernelInfoReply>(&sent);
        kernel.iopub.busy(&sent);
        kernel.iopub.idle(&sent);
    }
}

#[test]
fn python_sends_messages_of_its_own_making_to_clients_and_to_iopub() {
    let mut kernel = TestKernel::without_python();
    let header = br#"{"msg_id":"own","msg_type":"my_reply","extra":1}"#.to_vec();
    let publisher = kernel.kernel.publisher.clone();
    let encode = |ident: &[u8]| {
        publisher.session().encode_with_raw_header(
            header.clone(),
            Outgoing {
                idents: &[ident.to_vec()],
                kind: &MessageType::parse("my_reply"),
                parent: b"{}",
                metadata: Frame::EMPTY_OBJECT,
                content: b"{}".to_vec(),
                buffers: Vec::new(),
            },
        )
    };
    for channel in BOTH {
        kernel.kernel.send(channel, encode(ALICE.as_bytes()));
        let message = kernel.line(channel).message("the message");
        assert_eq!((&*message.raw_header, &message.idents), (&*header, &vec![ALICE.as_bytes().to_vec()]));
    }
    publisher.encoded(&Arc::new(Parent::none()), &MessageType::parse("my_message"), encode(b"topic"));
    let message = kernel.iopub.message("the publication");
    assert_eq!((&*message.raw_header, &message.idents), (&*header, &vec![b"topic".to_vec()]));
}
