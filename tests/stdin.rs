//! Prompts and their answers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use callboard::actors::stdin::Withdraw;
use callboard::delivery::job::Channel;
use callboard::wire::content::{ExecuteReply, InputReply, InputRequest, StreamName};
use callboard::wire::{EMPTY_OBJECT, Frame, Incoming, MessageType, Outgoing};
use support::{ALICE, Sent, TestKernel, awaited, cell, read};

/// The next prompt: to this client, for this cell. Returns it, for the answer to name it.
#[track_caller]
fn prompt(kernel: &mut TestKernel, sent: &Sent, text: &str) -> Incoming {
    let message = kernel.stdin.message("a prompt");
    assert_eq!(message.kind, MessageType::InputRequest);
    assert_eq!(message.idents, [sent.identity.as_bytes()], "the prompt goes to the client of its cell");
    assert_eq!(&*message.parent, &*sent.header);
    assert_eq!(read::<InputRequest>(&message).prompt, text);
    message
}

/// Answers from a client, naming a prompt or not.
#[track_caller]
fn answer(kernel: &TestKernel, identity: &str, prompt: Option<&Incoming>, value: &str) {
    let frames = kernel.session.encode(Outgoing {
        idents: &[identity.as_bytes().to_vec()],
        kind: &MessageType::InputReply,
        parent: prompt.map_or(EMPTY_OBJECT, |prompt| &prompt.raw_header),
        metadata: Frame::EMPTY_OBJECT,
        content: serde_json::to_vec(&InputReply { value: value.to_owned() }).unwrap(),
        buffers: Vec::new(),
    });
    kernel.stdin.send(frames);
}

/// The cell has printed the answer and is idle.
#[track_caller]
fn told(kernel: &mut TestKernel, channel: Channel, sent: &Sent, text: &str) {
    kernel.iopub.text(sent, StreamName::Stdout, text);
    kernel.iopub.idle(sent);
    kernel.line(channel).reply::<ExecuteReply>(sent);
}

/// Sends a cell that asks and waits for its prompt.
#[track_caller]
fn asking(kernel: &mut TestKernel, channel: Channel, identity: &str, text: &str) -> (Sent, Incoming) {
    let code = format!("ask {text}");
    let sent = kernel.send(channel, identity, &cell(&code));
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, &code);
    let prompt = prompt(kernel, &sent, text);
    (sent, prompt)
}

#[test]
fn a_prompt_goes_to_the_client_of_its_cell_and_the_answer_to_the_prompt() {
    let mut kernel = TestKernel::start();
    for identity in ["alice", "bob"] {
        let (sent, prompt) = asking(&mut kernel, Channel::Shell, identity, "name");
        answer(&kernel, identity, Some(&prompt), "Ada");
        told(&mut kernel, Channel::Shell, &sent, "name=Ada\n");
    }
}

#[test]
fn an_answer_that_names_no_prompt_reaches_the_clients_prompt() {
    let mut kernel = TestKernel::start();
    let (sent, _) = asking(&mut kernel, Channel::Shell, ALICE, "name");
    answer(&kernel, ALICE, None, "Ada");
    told(&mut kernel, Channel::Shell, &sent, "name=Ada\n");
}

#[test]
fn two_prompts_at_once_get_their_own_answers_in_any_order() {
    let mut kernel = TestKernel::start();
    let (one, first) = asking(&mut kernel, Channel::Shell, ALICE, "one");
    let (two, second) = asking(&mut kernel, Channel::Control, ALICE, "two");
    answer(&kernel, ALICE, Some(&second), "2");
    told(&mut kernel, Channel::Control, &two, "two=2\n");
    answer(&kernel, ALICE, Some(&first), "1");
    told(&mut kernel, Channel::Shell, &one, "one=1\n");
}

#[test]
fn answers_that_name_no_prompt_go_to_the_clients_oldest_one() {
    let mut kernel = TestKernel::start();
    let (one, _) = asking(&mut kernel, Channel::Shell, "alice", "one");
    let (two, _) = asking(&mut kernel, Channel::Control, "bob", "two");
    let again = kernel.ask(&one.parent(), "three");
    kernel.stdin.expect::<InputRequest>(&one);
    // Bob's prompt is not the oldest of all, but the oldest of that client.
    answer(&kernel, "bob", None, "B");
    told(&mut kernel, Channel::Control, &two, "two=B\n");
    answer(&kernel, "alice", None, "A");
    told(&mut kernel, Channel::Shell, &one, "one=A\n");
    answer(&kernel, "alice", None, "C");
    assert_eq!(awaited(&again), "C");
}

#[test]
fn an_answer_without_a_prompt_is_dropped() {
    let mut kernel = TestKernel::start();
    answer(&kernel, ALICE, None, "unasked");
    let (sent, prompt) = asking(&mut kernel, Channel::Shell, ALICE, "name");
    answer(&kernel, "mallory", None, "not asked either");
    answer(&kernel, ALICE, Some(&prompt), "Ada");
    // The second answer to the same prompt has no prompt.
    answer(&kernel, ALICE, Some(&prompt), "too late");
    told(&mut kernel, Channel::Shell, &sent, "name=Ada\n");
    let (sent, prompt) = asking(&mut kernel, Channel::Shell, ALICE, "name");
    answer(&kernel, ALICE, Some(&prompt), "Grace");
    told(&mut kernel, Channel::Shell, &sent, "name=Grace\n");
}

#[test]
fn a_malformed_answer_leaves_the_prompt_open() {
    let mut kernel = TestKernel::start();
    let (sent, prompt) = asking(&mut kernel, Channel::Shell, ALICE, "name");
    let parent = String::from_utf8(prompt.raw_header.clone()).unwrap();
    for (n, content) in ["{}", r#"{"value": 1}"#, "[]", "nonsense", ""].iter().enumerate() {
        let header = format!(r#"{{"msg_id":"malformed {n}","msg_type":"input_reply"}}"#);
        kernel.stdin.send_dicts(ALICE, [&header, &parent, "{}", content]);
    }
    answer(&kernel, ALICE, Some(&prompt), "Ada");
    told(&mut kernel, Channel::Shell, &sent, "name=Ada\n");
}

#[test]
fn a_prompt_that_was_withdrawn_takes_no_answer() {
    let mut kernel = TestKernel::start();
    let sent = kernel.execute("hold gate");
    let gate = kernel.held("gate");
    kernel.iopub.busy(&sent);
    kernel.iopub.input(&sent, "hold gate");
    // As when an interrupt ends `input()` and the next cell asks again.
    let first = kernel.ask(&sent.parent(), "first");
    let withdrawn = prompt(&mut kernel, &sent, "first");
    kernel.kernel.withdraw(Withdraw(first.clone()));
    let second = kernel.ask(&sent.parent(), "second");
    let open = prompt(&mut kernel, &sent, "second");
    answer(&kernel, ALICE, Some(&withdrawn), "for the first");
    answer(&kernel, ALICE, Some(&open), "for the second");
    assert_eq!(awaited(&second), "for the second");
    assert_eq!(first.take(), None);
    drop(gate);
    kernel.iopub.idle(&sent);
    kernel.shell.reply::<ExecuteReply>(&sent);
}
